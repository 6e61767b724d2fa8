"""CORE's three kinds of questions: the same answers are right as by nanochat's protocol, item by
item, on a drawn network and on real ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support import small_checkpoints
from support.core_reference import Reference
from support.core_rows import make_rows, write_rows
from support.known import quiet
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmbench.data import loading
from llmbench.plan import task_registry

FIELDS = {
    "multiple_choice": {"given": "query"},
    "schema": {"contexts": "context_options", "choices": "context_options", "text": "continuation"},
    "language_modeling": {"given": "context", "text": "continuation"},
}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CASES = [
    (kind, shots, join)
    for kind in FIELDS
    for shots, join in ((0, " "), (3, " "), (2, "\nAnswer: "))
]


def ask(adapter, place, kind, shots, join):
    """What llmbench finds right of each row of a file."""
    text = loading.load("test", place, fields=FIELDS[kind])
    given = "{given|strip}" if kind == "language_modeling" else "{given}"
    entry = {
        "task": "greedy-match" if kind == "language_modeling" else "multiple-choice",
        "template": given + join.rstrip(),
        "join": join[len(join.rstrip()) :],
        "bos": "always",
        "shots": shots,
        "shots_from": "test",
        "draw": "nanochat",
        "shots_seed": 1234,
        "baseline": 0.25,
    }
    if kind != "language_modeling":
        entry["cost"] = "own-tokens"
    task = task_registry.build(task_registry.read_settings(entry), {"test": text}, 0)
    outcome = task.run(adapter, quiet)
    return [bool(row["statistics"]["accuracy"][0]) for row in outcome.samples], outcome


def make_sayable(reference, rows, shots, join):
    """Give every second row the word that the model would write, where it would write one. Rows are
    examples of others, so this is done a few times.
    """
    for _ in range(4):
        for row, before in list(zip(rows, reference.list_examples(rows, shots), strict=True))[::2]:
            prompt, _ = reference.list_prompts(row, before, join)
            ids = reference.encode(prompt)
            both = (ids, [*ids, int(reference.read(ids)[1][-1])])
            bare, whole = map(reference.tokenizer.decode, both)
            word = whole[len(bare) :]
            if word.startswith(" ") and word.strip().isalnum():
                row["continuation"] = word.strip()


def assert_as_nanochat(folder, adapter, tmp_path, kind, shots, join, count, is_drawn=False):
    reference = Reference(
        AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    )
    rows = make_rows(kind, count)
    if kind == "language_modeling":
        make_sayable(reference, rows, shots, join)
    wanted = reference.run(rows, shots, join)
    found, outcome = ask(adapter, write_rows(tmp_path / "rows.jsonl", rows), kind, shots, join)
    assert found == wanted
    assert not is_drawn or 0 < sum(wanted) < count  # both happen
    accuracy, centred = outcome.scores[0], outcome.scores[-1]
    assert centred["metric"] == "centred_accuracy"
    for end in ("value", "low", "high"):
        assert centred[end] == pytest.approx((accuracy[end] - 0.25) / 0.75)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = small_checkpoints.gpt2(tmp_path_factory.mktemp("drawn"), context=320)
    return folder, small_checkpoints.load(folder)


@pytest.mark.parametrize(("kind", "shots", "join"), CASES)
def test_a_drawn_network_is_right_where_nanochat_finds_it_right(drawn, tmp_path, kind, shots, join):
    assert_as_nanochat(*drawn, tmp_path, kind, shots, join, 32, is_drawn=True)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "shots", "join"), CASES)
def test_real_weights_are_right_where_nanochat_finds_them_right(tmp_path, kind, shots, join):
    folder = SHARED / "stories260K-hf"
    if not folder.is_dir():
        pytest.skip("needs the weights of stories260K")
    assert_as_nanochat(folder, small_checkpoints.load(folder), tmp_path, kind, shots, join, 40)
