"""The task `divergence`: sums by hand on a board and in `compare`, and what cannot be compared."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from support.fake_engine import FakeEngine
from support.run_helpers import llmbench as call
from support.run_helpers import run_json

import llmbench
from llmbench.adapter import Passage
from llmbench.adapters.gguf.gguf import GGUF
from llmbench.config.plugins import load_object
from llmbench.errors import UsageError
from llmbench.inference.divergence import ROWS, diverge
from llmbench.plan.plan import Options, plan
from llmbench.results.signature import Signature

LETTERS = "ab\n"
PARENT = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.2, 0.4, 0.4]]
CHILD = [[0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]]
TEXTS = ["abba", "bb\nab", "a", "baba\n" * 9]
SUITE = """\
name: near
version: 1
texts: {test: {source: test.jsonl}}
tasks:
  - {task: likelihood, text: test}
  - {task: divergence, text: test, parent: "table.py:Parent"}
"""
MODELS = f"""\
import torch
from llmbench import TokenAdapter, Tokens

LETTERS = {LETTERS!r}


class Table(TokenAdapter):
    context, bos_ids, table = None, (2,), None

    def __init__(self):
        self.net = torch.nn.Embedding.from_pretrained(torch.tensor(self.table).log())

    def encode(self, text):
        return Tokens.of([LETTERS.index(c) for c in text], [c.encode() for c in text])

    def decode(self, ids):
        return "".join(LETTERS[i] for i in ids).encode()

    def logits(self, ids):
        return self.net(ids)


class Parent(Table):
    table = {PARENT}


class Child(Table):
    table = {CHILD}


class Short(Child):
    context = 8
"""


def divergence_of(row):
    return sum(p * math.log(p / q) for p, q in zip(PARENT[row], CHILD[row], strict=True))


def sum_up(text):
    """Nats, tokens with the same likeliest, and tokens of a text, by hand."""
    before = [LETTERS.index(c) for c in "\n" + text[:-1]]
    same = [np.argmax(PARENT[i]) == np.argmax(CHILD[i]) for i in before]
    return sum(map(divergence_of, before)), sum(same), len(before)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "near.yaml").write_text(SUITE)
    (tmp_path / "table.py").write_text(MODELS)
    rows = [json.dumps({"id": f"d{i}", "text": text}) for i, text in enumerate(TEXTS)]
    (tmp_path / "test.jsonl").write_text("\n".join(rows))
    return tmp_path


def run(place, *names, **more):
    made = {name: load_object(f"{place}/table.py:{name}")() for name in names}
    return llmbench.run("near.yaml", {**made, **more}, out=place / "out")


def scores(run, metric="divergence"):
    return {score.model: score for score in run.record.scores if score.metric == metric}


def test_values_are_sums_by_hand_and_the_parent_s_own_is_zero(place):
    found = run(place, "Child", "Parent")
    assert found.record.failures == []
    nats, same, tokens = (sum(column) for column in zip(*map(sum_up, TEXTS), strict=True))
    near, agreed = scores(found), scores(found, "top_token_agreement")
    assert near["Child"].value == pytest.approx(nats / tokens, rel=1e-6)
    assert agreed["Child"].value == pytest.approx(same / tokens)
    assert (near["Parent"].value, agreed["Parent"].value) == (0.0, 1.0)
    assert near["Child"].low < near["Child"].value < near["Child"].high
    assert near["Child"].signature == near["Parent"].signature
    samples = {sample.key: sample for sample in found.samples("divergence", "Child")}
    for i, text in enumerate(TEXTS):
        want, _, count = sum_up(text)
        assert samples[f"d{i}"].statistics["divergence"] == pytest.approx([want, count], rel=1e-6)


def test_compare_shows_it_beside_the_bits_and_the_board_has_its_table(place):
    found = run(place, "Child", "Parent")
    rows = {row.metric: row for row in found.compare("Child", "Parent").result.rows}
    nats, _, tokens = (sum(column) for column in zip(*map(sum_up, TEXTS), strict=True))
    assert rows["divergence"].difference == pytest.approx(nats / tokens, rel=1e-6)
    assert rows["divergence"].n == len(TEXTS)
    assert {"bits_per_byte", "top_token_agreement"} <= rows.keys()
    page = (place / "out" / "leaderboard.md").read_text()
    assert "divergence, nats/token" in page
    assert "same likeliest token" in page


def test_the_nearest_to_its_parent_is_not_called_the_best(place):
    board = run(place, "Child", "Parent").board
    assert {table.headline: table.better for table in board.tables} == {
        "bits_per_byte": "lower",
        "divergence": None,
    }
    assert not [said for said in (*board.summary, board.verdict) if "best divergence" in said]


def test_models_without_logits_are_unsupported_in_it_alone(place):
    found = run(place, "Child", floor="uniform-bytes")
    (row,) = found.record.failures
    assert (row.model, row.task, row.reason) == ("floor", "divergence", "unsupported")
    assert "show the logits" in row.message
    assert set(scores(found)) == {"Child"}
    assert set(scores(found, "bits_per_byte")) == {"Child", "floor"}


@pytest.mark.slow
def test_another_parent_or_a_cut_of_windows_has_another_signature(place):
    first = scores(run(place, "Child", "Short"))
    parts = {name: Signature.parse(score.signature).values() for name, score in first.items()}
    assert "context" not in parts["Child"]
    assert parts["Short"]["context"] == "8"
    assert first["Short"].value == pytest.approx(first["Child"].value)  # of one letter before
    (place / "near.yaml").write_text(SUITE.replace("table.py:Parent", "table.py:Child"))
    other = llmbench.run("near.yaml", ["table.py:Parent"], out=place / "other")
    parted = Signature.parse(scores(other)["Parent"].signature).values()
    assert parted["parent"] != parts["Child"]["parent"]


@pytest.mark.slow
def test_in_a_worker_the_parent_is_loaded_beside_the_model(place):
    done = call("run", "near.yaml", "--model", "table.py:Child", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    nats, _, tokens = (sum(column) for column in zip(*map(sum_up, TEXTS), strict=True))
    (row,) = [r for r in run_json(place / "out")["scores"] if r["metric"] == "divergence"]
    assert row["value"] == pytest.approx(nats / tokens, rel=1e-6)


def make_key(place):
    made = plan("near.yaml", Options(models=("zlib",), out=place / "out"))
    return made.keys["zlib", "divergence"], made.keys["zlib", "likelihood"]


def test_a_cell_is_filled_again_if_the_parent_s_code_changed_and_no_other_is(place):
    before = make_key(place)
    assert make_key(place) == before
    (place / "table.py").write_text(MODELS.replace("0.75", "0.5"))
    after = make_key(place)
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize(
    ("parent", "said"),
    [("smolm2-135m", "unknown model"), ("hf:", "needs a hub id"), ("gguf:none.gguf", "no such")],
)
def test_a_wrong_parent_is_refused_where_it_stands(place, parent, said):
    (place / "near.yaml").write_text(SUITE.replace("table.py:Parent", parent))
    with pytest.raises(UsageError, match=said) as caught:
        plan("near.yaml", Options(models=("zlib",), out=place / "out"))
    assert "near.yaml:6:" in caught.value.where or caught.value.where == parent


def test_a_parent_that_is_not_on_this_machine_makes_its_cells_unavailable(place, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "empty"))
    monkeypatch.setenv("LLMBENCH_CACHE", str(place / "empty"))
    (place / "near.yaml").write_text(SUITE.replace("table.py:Parent", "smollm2-135m"))
    made = plan("near.yaml", Options(models=("zlib",), out=place / "out", offline=True))
    assert set(made.lacks) == {("zlib", "divergence")}
    assert ("zlib", "likelihood") in made.keys


@pytest.mark.parametrize("size", [5, ROWS, ROWS + 1, 700])
def test_an_engine_that_gives_logits_in_portions_has_those_of_whole_passes(size):
    """Two of them, 512 tokens a call, beside each other."""
    text = ("The kettle said nothing at all, since Tuesday. " * 20)[:size]
    model, parent = (GGUF(__file__, FakeEngine(2048, noise=noise)) for noise in (0.5, 0.0))
    (found,) = diverge(model, parent, [Passage(text)])
    ids = torch.tensor([[*model.bos_ids, *text.encode()]])
    mine, others = (m.logits(ids[:, :-1])[0].double().log_softmax(-1) for m in (model, parent))
    want = (others.exp() * (others - mine)).sum(-1)
    np.testing.assert_allclose(found.nats, want, rtol=1e-5, atol=1e-9)
    assert found.nats.mean() > 0.001
    targets = ids[0, 1:, None]
    np.testing.assert_allclose(found.bits, -mine.gather(1, targets)[:, 0] / math.log(2), rtol=1e-6)
