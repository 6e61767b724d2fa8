"""Suites of answers, translations, choices and last words: planned, refused and run."""

from __future__ import annotations

import json
import math

import pytest
from support.known import Known, quiet
from support.run_helpers import folder, llmbench, run_json

from llmbench.data import loading
from llmbench.errors import UsageError
from llmbench.metrics.facts import FACTS
from llmbench.metrics.registry import NAMES
from llmbench.plan.plan import Options, plan
from llmbench.plan.suite import read
from llmbench.tasks.reference_based import Translation


def values(outcome):
    return {row["metric"]: row["value"] for row in outcome.scores}


SUITE = """
name: asked
version: 1
texts:
  train: {source: train.txt}
  pairs: {source: pairs.jsonl}
  examples: {source: examples.jsonl}
  quiz: {source: quiz.jsonl, fields: {given: query}}
  test: {source: test.jsonl}
tasks:
  - {task: translation, text: pairs}
  - {task: answer, text: pairs, template: "Q: {given} A:", shots: 2, shots_from: examples}
  - {task: multiple-choice, text: quiz}
  - {task: last-word, text: test}
models: [uniform-bytes, byte-ngram]
"""


def written(tmp_path):
    import json

    place = folder(tmp_path)
    (place / "asked.yaml").write_text(SUITE)
    rows = [{"given": f"Was ist {i}?", "text": f"The answer is {i}."} for i in range(6)]
    for name in ("pairs", "examples"):
        (place / f"{name}.jsonl").write_text(
            "".join(json.dumps({"id": f"{name} {i}", **row}) + "\n" for i, row in enumerate(rows))
        )
    quiz = [
        {"query": f"Question {i}:", "choices": ["kettle", "tap", "spoon"], "gold": i % 3}
        for i in range(9)
    ]
    (place / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in quiz))
    return place


def test_a_suite_asks_all_of_it_and_what_a_model_cannot_do_is_a_row(tmp_path):
    place = written(tmp_path)
    done = llmbench("run", "asked.yaml", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    record = run_json(place / "out")
    found = {(score["model"], score["task"], score["metric"]) for score in record["scores"]}
    for metric in ("bleu", "chrf", "ter"):
        assert ("byte-ngram", "translation", metric) in found
    assert {
        ("byte-ngram", "answer", "exact_match"),
        ("byte-ngram", "answer", "f1"),
        ("byte-ngram", "last-word", "accuracy"),
    } <= found
    assert {
        ("byte-ngram", "multiple-choice", "accuracy"),
        ("uniform-bytes", "multiple-choice", "accuracy"),
    } <= found
    assert {(f["model"], f["task"], f["reason"]) for f in record["failures"]} == {
        ("uniform-bytes", task, "unsupported") for task in ("translation", "answer", "last-word")
    }
    uniform = next(
        s
        for s in record["scores"]
        if (s["model"], s["task"], s.get("norm", ""))
        == ("uniform-bytes", "multiple-choice", "none")
    )
    assert uniform["value"] == pytest.approx(1 / 3)  # the shortest candidate, always
    assert 0 < uniform["low"] < uniform["value"] < uniform["high"] < 1
    assert math.isclose(uniform["chance"], 1 / 3)
    board = (place / "out/leaderboard.md").read_text()
    for words in (
        "Chance level: 33.3 %",
        "Not significantly different from chance",
        "BLEU",
        "exact match",
        "accuracy",
    ):
        assert words in board


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("{task: translation, text: pairs}", "{task: translation, text: test}", "has no source"),
        (
            "{task: multiple-choice, text: quiz}",
            "{task: multiple-choice, text: pairs}",
            "has no candidates",
        ),
        ("shots_from: examples", "shots_from: nowhere", "unknown text"),
        ('"Q: {given} A:"', '"Q: A:"', "no {given}"),
        ("text: pairs}", "text: pairs, metrics: [blue]}", "did you mean 'bleu'"),
        (
            "text: pairs}",
            'text: pairs, stop: [a, ""]}',
            "asked.yaml:11:48: stop: must not be empty",
        ),
    ],
)
def test_what_a_text_cannot_give_is_said_before_anything_runs(tmp_path, old, new, what):
    place = written(tmp_path)
    (place / "asked.yaml").write_text(SUITE.replace(old, new))
    with pytest.raises(UsageError) as error:
        read(str(place / "asked.yaml")).load_texts({})
    assert what in str(error.value)
    assert "asked.yaml:" in error.value.where


def test_other_examples_are_another_question_to_the_task_that_shows_them(tmp_path):
    place = written(tmp_path)
    options = Options(only=("byte-ngram",), out=place / "out", device="cpu", offline=True)
    before = plan(str(place / "asked.yaml"), options).keys
    (place / "examples.jsonl").write_text(
        (place / "examples.jsonl").read_text().replace("The answer", "It")
    )
    after = plan(str(place / "asked.yaml"), options).keys
    assert [task for (_, task), key in before.items() if after["byte-ngram", task] != key] == [
        "answer"
    ]


def test_a_task_whose_examples_cannot_be_had_lacks_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    place = written(tmp_path)
    (place / "asked.yaml").write_text(
        SUITE.replace("{source: examples.jsonl}", "{source: hub:nobody/nothing}")
    )
    found = plan(
        str(place / "asked.yaml"),
        Options(
            only=("byte-ngram",),
            out=place / "out",
            device="cpu",
            offline=True,
            cache=tmp_path / "cache",
        ),
    )
    assert list(found.lacks) == [("byte-ngram", "answer")]


def test_a_metric_that_compares_with_the_training_text_needs_one_and_gets_it(tmp_path):
    place = written(tmp_path)
    asked = SUITE.replace("text: pairs}", "text: pairs, metrics: [longest_copy_bytes, chrf]}")
    (place / "asked.yaml").write_text(asked.replace("  train: {source: train.txt}\n", ""))
    with pytest.raises(UsageError, match="compares with a text"):
        read(str(place / "asked.yaml"))
    (place / "asked.yaml").write_text(asked)
    suite = read(str(place / "asked.yaml"))
    suite.load_texts({})
    task = Translation.from_settings(suite.tasks[0], suite.texts, 0)
    outcome = task.run(
        Known({d.context: "the kettle counted" for d in suite.texts["pairs"].documents}), quiet
    )
    assert values(outcome)["longest_copy_bytes"] == len("the kettle counted")


def test_every_metric_of_text_has_its_row_of_facts():
    assert set(NAMES) <= FACTS.keys()
    assert all(metric.help for metric in FACTS.values())


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ('{"query": "a", "choices": ["b"], "gold": 0}', "two or more"),
        ('{"query": "a", "choices": ["b", 3], "gold": 0}', "two or more"),
        ('{"query": "a", "choices": ["b", "c"], "gold": 2}', "0 to 1"),
        ('{"query": "a", "choices": ["b", "c"]}', "0 to 1"),
        ('{"query": "a", "choices": ["b", "c"], "gold": "C"}', "0 to 1"),
    ],
)
def test_a_wrong_question_is_refused_with_its_line(tmp_path, row, what):
    place = written(tmp_path)
    (place / "quiz.jsonl").write_text(
        '{"query": "a", "choices": ["b", "c"], "gold": 1}\n' + row + "\n"
    )
    with pytest.raises(UsageError, match=what) as error:
        read(str(place / "asked.yaml")).load_texts({})
    assert error.value.where.endswith("quiz.jsonl:2:1")


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        (
            {
                "question": "q",
                "choices": {"text": ["b", "c"], "label": ["A", "B"]},
                "answerKey": "B",
            },
            {},
        ),
        ({"query": "q", "choices": ["b", "c"], "gold": 1}, {}),
        ({"query": "q", "choices.text": ["b", "c"], "gold": 1}, {}),
    ],
)
def test_a_question_is_found_in_nested_fields_and_under_one_name_or_another(tmp_path, row, fields):
    names = {
        "given": ["question", "query"],
        "choices": ["choices.text", "choices"],
        "gold": ["answerKey", "gold"],
        "labels": "choices.label",
    }
    (tmp_path / "quiz.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = loading.load("test", tmp_path / "quiz.jsonl", fields=names).documents
    assert (found.context, found.text, found.choices) == ("q", "c", ("b", "c"))


@pytest.mark.parametrize("gold", ["C", 0, None])
def test_a_right_candidate_that_has_no_label_is_refused(tmp_path, gold):
    row = {"given": "q", "choices": ["b", "c"], "labels": ["A", "B"], "gold": gold}
    (tmp_path / "quiz.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match="one of the labels in `labels`") as error:
        loading.load("test", tmp_path / "quiz.jsonl")
    assert error.value.where.endswith("quiz.jsonl:1:1")
