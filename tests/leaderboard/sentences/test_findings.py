"""The sentences under a table rest on what the record says of a model, not on its name."""

from __future__ import annotations

import pytest
from support.hand_record import likelihood, model, record

from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers.registry import draw
from llmbench.leaderboard.sentences.findings import notes
from llmbench.storage import write_lines

WARNINGS = (
    "tokenizer of BLEU parts words at spaces",
    "ROUGE sees only a to z",
    "TER parts words at spaces",
    "F1 parts words at spaces",
)
SENTENCE = "The byte n-gram, which only counts, is significantly better than net."


@pytest.mark.parametrize(
    ("name", "facts", "is_said"),
    [
        ("counter", {"family": "n-gram", "tokenizer": "bytes"}, True),
        ("byte-ngram", {"family": "transformer", "tokenizer": "bytes"}, False),
        ("word-ngram", {"family": "n-gram", "tokenizer": "words"}, False),
    ],
)
def test_the_byte_ngram_is_known_by_family_and_tokenizer(name, facts, is_said):
    found = record(
        models=[model(name, 0, **facts), model("net", 3, training={"seconds": 1.0})],
        scores=[*likelihood(name, 2.0, 0.1, [1, 1]), *likelihood("net", 3.0, 0.1, [2, 2])],
        notes={"tasks": {"likelihood": {"better_than": {name: ["net"]}}}},
    )
    headline = [score for score in found.scores if score.metric == "bits_per_byte"]
    assert (SENTENCE in notes(found, "likelihood", headline)) is is_said


def written(metric, **facts):
    unit = "BLEU" if metric == "bleu" else "share"
    row = {"model": "net", "task": "translation", "metric": metric, "value": 0.5, "unit": unit}
    return {**row, "better": "higher", "n": 9, "signature": "s", "empty": 0, **facts}


def test_a_metric_that_does_not_see_the_script_is_warned_of_once():
    found = record(
        models=[model("net", 3)],
        scores=[
            written("bleu", blind=9),
            written("rouge1", blind=4),
            written("rougeL", blind=4),
            written("ter", blind=3),
            written("f1", blind=2),
            written("chrf"),
        ],
    )
    said = notes(found, "translation", [found.scores[0]])
    warnings = [sentence for sentence in said if sentence.startswith("Warning")]
    counts = ("9 of 9", "4 of 9", "3 of 9", "2 of 9")
    for sentence, words, count in zip(warnings, WARNINGS, counts, strict=True):
        assert words in sentence
        assert f"net {count}" in sentence


def test_ties_of_both_columns_and_candidates_that_stand_twice_are_counted():
    row = {"model": "net", "task": "quiz", "metric": "accuracy", "value": 0.5, "unit": "share"}
    row |= {"better": "higher", "n": 9, "signature": "s", "repeated": 4}
    scores = [{**row, "norm": "none", "tied": 2}, {**row, "norm": "byte", "tied": 3}]
    found = record(models=[model("net", 3)], scores=scores)
    said = notes(found, "quiz", [found.scores[0]])
    assert "Ties, resolved in favour of the first answer: net 2." in said
    assert "Ties by bits per byte, resolved in favour of the first answer: net 3." in said
    assert "Questions in which a candidate stands twice: net 4." in said


def test_all_metrics_of_what_was_written_stand_in_one_table():
    found = record(
        models=[model("net", 3)],
        scores=[written(name) for name in ("bleu", "chrf", "exact_match", "accuracy")],
    )
    tables = build(found).tables
    assert [(table.task, table.headline) for table in tables] == [("translation", "bleu")]
    assert {"bleu", "chrf", "exact_match", "accuracy"} <= {c.key for c in tables[0].columns}


def test_prompts_that_were_not_read_as_they_stand_are_counted_of_all():
    both = {"decoding": "sampled", "variant": ""}
    found = record(
        models=[model("net", 3), model("t5", 4), model("old", 1)],
        scores=[
            written("bleu", prompts=100, misread=3, cut=2, decoding="greedy"),
            written("bleu", prompts=100, misread=3, cut=2, **both),
            written("bleu", prompts=100, misread=0, cut_sources=7, **both) | {"model": "t5"},
            written("bleu", cut=1, **both) | {"model": "old"},
        ],
    )
    said = notes(found, "translation", [found.scores[0]])
    for sentence in (
        "Prompts that the tokenizer cannot hold, read as it reads them: net 3 of 100.",
        "Prompts longer than the context, cut to their end: net 2 of 100 and old 1.",
        "Sources longer than the context, cut to their beginning: t5 7 of 100.",
    ):
        assert sentence in said


def test_prompts_of_a_task_without_scores_are_counted_from_its_samples(tmp_path):
    asked = {
        "input": "h\u00e9",
        "output": "x",
        "statistics": {},
        "lost": "byte 1 does not come back",
    }
    rows = [{**asked, "id": "0 greedy"}, {**asked, "id": "0 sampled"}]
    rows.append({"id": "1", "input": "the tap", "output": "x", "statistics": {}})
    write_lines(tmp_path / "samples" / "net" / "said.jsonl", rows)
    board = build(record(models=[model("net", 3)], scores=[]), tmp_path)
    sentence = "Prompts that the tokenizer cannot hold, read as it reads them: net 1 of 2."
    for form in ("table", "md", "html"):
        assert sentence in " ".join(draw(form, board).split())


def test_the_noise_of_an_engine_is_said_under_the_table():
    rounded = [{**row, "noise": 0.0016} for row in likelihood("rounded", 2.0, 0.1, [1, 1])]
    found = record(
        models=[model("rounded", 5), model("net", 3)],
        scores=[*rounded, *likelihood("net", 3.0, 0.1, [2, 2])],
    )
    headline = [score for score in found.scores if score.metric == "bits_per_byte"]
    said = [line for line in notes(found, "likelihood", headline) if "engine noise" in line]
    assert len(said) == 1
    assert said[0].startswith("rounded: the interval holds 0.0016 bits a byte")
