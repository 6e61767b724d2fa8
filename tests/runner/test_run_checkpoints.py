"""Whole runs over checkpoints of every kind, and over the shipped suites for them. Each test starts
real workers.
"""

from __future__ import annotations

import json
import math

import pyarrow.parquet as pq
import pytest
from support import small_checkpoints
from support.run_helpers import llmbench, run_json

from llmbench.adapter import BuildContext, Passage
from llmbench.ledger import END
from llmbench.plan.resolved_model import make_adapter, resolve_model

SUITE = """\
name: kinds
version: 1
texts:
  test: {source: test.jsonl}
  pairs: {source: pairs.jsonl, fields: {text: answer, given: question}}
tasks:
  - {task: likelihood, text: test, pseudo_positions: 40}
  - {task: conditional, text: pairs}
  - {task: continuation, prompts: ["The tap "], max_bytes: 12}
models: [uniform-bytes, zlib]
"""
TEXTS = [
    "The kettle said nothing.",
    "Tuesday, said the tap.",
    "It was 7 o'clock and the kettle hummed.",
    "Nothing is as old as a new tap.",
]
PAIRS = [
    ("Who hums?", "the kettle"),
    ("When?", "Tuesday"),
    ("How?", "aloud"),
    ("What came?", "the new tap"),
]
PAGES = (
    " = One = \n \n The kettle @-@ tap said nothing . \n = = Part = = \n It hummed . \n = Two = \n"
    " \n A tap ( new ) dripped . \n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the suite, its texts, and a checkpoint of every kind, named my-KIND."""
    where = tmp_path_factory.mktemp("kinds")
    (where / "kinds.yaml").write_text(SUITE)
    (where / "test.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS))
    )
    (where / "pairs.jsonl").write_text(
        "".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in PAIRS)
    )
    (where / "pages.txt").write_text(PAGES)
    for kind in ("gpt2", "bert", "roberta", "t5"):
        small_checkpoints.MAKERS[kind](where / f"my-{kind}")
    return where


@pytest.fixture(scope="module")
def kinds(place):
    models = [
        part for kind in ("gpt2", "bert", "roberta", "t5") for part in ("--model", f"hf:my-{kind}")
    ]
    return llmbench("run", "kinds.yaml", *models, "--out", "kinds", "--offline", cwd=place)


@pytest.mark.slow
def test_each_kind_has_the_metric_that_it_can_have(place, kinds):
    assert kinds.returncode == 0, kinds.stderr
    record = run_json(place / "kinds")
    found = {
        (s["model"], s["metric"]) for s in record["scores"] if s["metric"].endswith("bits_per_byte")
    }
    plain = {(name, "bits_per_byte") for name in ("uniform-bytes", "zlib", "my-gpt2")}
    conditional = {(name, "conditional_bits_per_byte") for name in ("my-gpt2", "my-t5")}
    assert found == plain | conditional | {
        ("my-bert", "pseudo_bits_per_byte"),
        ("my-roberta", "pseudo_bits_per_byte"),
    }
    said = {(f["model"], f["task"]): f for f in record["failures"]}
    assert {f["reason"] for f in said.values()} == {"unsupported"}
    assert "needs a source" in said["my-t5", "likelihood"]["message"]
    assert {task for model, task in said if model == "my-bert"} == {"conditional", "continuation"}
    assert {
        s["value"]
        for s in record["scores"]
        if s["model"] == "uniform-bytes" and s["metric"] == "bits_per_byte"
    } == {8.0}


def test_a_masked_model_is_never_ranked_with_causal_ones(place, kinds):
    scores = [
        s for s in run_json(place / "kinds")["scores"] if s["metric"] == "pseudo_bits_per_byte"
    ]
    assert {s["model"] for s in scores if s.get("rank") is not None} <= {"my-roberta", "my-bert"}
    assert all(";protocol=pseudo-likelihood/1;positions=40@0;" in s["signature"] for s in scores)
    lossy = {s["model"]: s.get("lossy") for s in scores}
    assert "loses" in lossy["my-bert"]
    assert not lossy["my-roberta"]
    parts = (place / "kinds" / "leaderboard.md").read_text().split("\n## ")
    (pseudo,) = (part for part in parts if "| pseudo-bits/byte |" in part)
    assert "my-roberta" in pseudo
    assert "my-gpt2" not in pseudo
    assert "my-bert: its tokenizer loses part of the text" in pseudo
    assert not any("my-roberta" in part for part in parts if "| bits/byte |" in part)


def test_conditional_bits_are_those_of_targets_and_their_ends_over_the_targets_bytes(place, kinds):
    scores = {
        s["model"]: s
        for s in run_json(place / "kinds")["scores"]
        if s["metric"] == "conditional_bits_per_byte"
    }
    for name in ("my-gpt2", "my-t5"):
        model = make_adapter(resolve_model(f"hf:{place / name}"), BuildContext())
        ledgers = list(
            model.score(
                [
                    Passage(answer, context=question, id=question, score_eos=True)
                    for question, answer in PAIRS
                ]
            )
        )
        bits = math.fsum(ledger.total() + ledger.total(END) for ledger in ledgers)
        assert all((ledger.kind == END).sum() == 1 for ledger in ledgers)
        assert scores[name]["value"] == pytest.approx(
            bits / sum(len(answer) for _, answer in PAIRS), rel=1e-6
        )
        assert scores[name]["n"] == len(PAIRS)


def test_the_record_says_where_weights_are_from(place, kinds):
    origin = {m["name"]: m.get("origin") for m in run_json(place / "kinds")["models"]}
    assert origin["uniform-bytes"] is None
    assert origin["my-gpt2"]["trust_remote_code"] is False
    assert len(origin["my-gpt2"]["weights_sha256"]) == 64
    assert origin["my-gpt2"]["weights_sha256"] != origin["my-t5"]["weights_sha256"]


def test_every_charge_of_every_kind_is_kept(place, kinds):
    for name, task in (
        ("my-gpt2", "likelihood"),
        ("my-roberta", "likelihood"),
        ("my-t5", "conditional"),
    ):
        table = pq.read_table(place / "kinds" / "charges" / name / f"{task}.parquet").to_pydict()
        assert sum(table["bits"]) > 0


@pytest.mark.slow
def test_the_suite_of_pretrained_models_runs_on_what_is_here_and_says_how_to_fetch_the_rest(place):
    done = llmbench(
        "run",
        "pretrained",
        "--model",
        "hf:my-gpt2",
        "--model",
        "hf:my-roberta",
        "--limit",
        "2",
        "--out",
        "pre",
        "--offline",
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    record = run_json(place / "pre")
    unavailable = {
        f["model"]: f["hint"] for f in record["failures"] if f["reason"] == "unavailable"
    }
    assert set(unavailable) == {
        "gpt2",
        "distilgpt2",
        "bert-base-cased",
        "bert-base-uncased",
        "smollm2-135m",
        "tinyllama",
    }
    assert unavailable.pop("smollm2-135m") == "run `llmbench fetch smollm2`"
    assert all("hf download" in hint for hint in unavailable.values())
    assert "hf download google-bert/bert-base-cased" in unavailable["bert-base-cased"]
    measured = {
        (s["model"], s["task"])
        for s in record["scores"]
        if s["metric"] in ("bits_per_byte", "pseudo_bits_per_byte")
    }
    assert measured == {
        (m, t)
        for m in ("uniform-bytes", "bz2", "my-gpt2", "my-roberta")
        for t in ("tales", "target-domain")
    }


@pytest.mark.slow
def test_the_suite_of_wikitext_takes_a_file_and_has_both_protocols(place):
    only = [part for name in ("uniform-bytes", "my-gpt2") for part in ("--only", name)]
    done = llmbench(
        "run",
        "wikitext2",
        "--data",
        "wikitext=pages.txt",
        "--model",
        "hf:my-gpt2",
        *only,
        "--out",
        "wiki",
        "--offline",
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    scores = {
        (s["model"], s["task"]): s
        for s in run_json(place / "wiki")["scores"]
        if s["metric"] == "bits_per_byte"
    }
    assert {task for _, task in scores} == {"likelihood", "rolling", "wikitext-lm-eval"}
    assert {s["n"] for s in scores.values()} == {2}  # the page of "One" holds a second-level title
    assert {
        task: scores["my-gpt2", task]["signature"].split(";")[1]
        for task in ("likelihood", "wikitext-lm-eval")
    } == {"likelihood": "protocol=likelihood/1", "wikitext-lm-eval": "protocol=wikitext-lm-eval/1"}
    assert (
        scores["uniform-bytes", "wikitext-lm-eval"]["value"] < 8.0
    )  # fewer bytes are charged than are counted


def test_my_model_against_gpt2_is_one_line_and_gpt2_may_be_missing(place):
    (place / "my_model.py").write_text(
        "from llmbench.adapters.trivial import UniformBytes\n\n\nclass MyModel(UniformBytes):\n   "
        " pass\n"
    )
    command = (
        "run",
        "quick",
        "--model",
        "my_model.py:MyModel",
        "--model",
        "gpt2",
        "--only",
        "MyModel",
        "--only",
        "gpt2",
        "--offline",
        "--out",
        "mine",
    )
    done = llmbench(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    record = run_json(place / "mine")
    assert {s["model"] for s in record["scores"]} == {"MyModel"}
    gone = [f for f in record["failures"] if f["model"] == "gpt2"]
    assert {f["reason"] for f in gone} == {"unavailable"}
    assert all("hf download openai-community/gpt2" in f["hint"] for f in gone)
    board = (place / "mine" / "leaderboard.md").read_text()
    assert board.count("openai-community/gpt2: the weights") == 1  # one row for all tasks


@pytest.mark.slow
def test_weights_in_16_bits_are_said_on_the_board(place, kinds):
    done = llmbench(
        "run",
        "kinds.yaml",
        "--model",
        "hf:my-gpt2",
        "--only",
        "my-gpt2",
        "--dtype",
        "bfloat16",
        "--out",
        "half",
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    record = run_json(place / "half")
    assert {m["dtype"] for m in record["models"]} == {"bfloat16"}
    assert "Weights in 16 bits, log-softmax in 32 bits: my-gpt2." in (
        place / "half" / "leaderboard.md"
    ).read_text().replace("\\", "")
    whole, half = (
        next(
            s["value"]
            for s in run_json(place / out)["scores"]
            if (s["model"], s["metric"]) == ("my-gpt2", "bits_per_byte")
        )
        for out in ("kinds", "half")
    )
    assert half == pytest.approx(whole, rel=0.02)
    assert half != whole
