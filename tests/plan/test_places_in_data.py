"""An error in a row is told at the row; one that all rows share, at the task that asks for it."""

from __future__ import annotations

import json

import pytest

from llmbench.errors import UsageError
from llmbench.plan.suite import read

GOOD = {"given": "question", "text": "an answer", "topic": "sea"}
QUESTION = {"given": "question", "choices": ["a", "b"], "gold": 0}
SUITE = """
name: own
version: 1
texts:
  rows: {{source: {}}}
  others: {{source: others.jsonl}}
tasks:
  - {{{}}}
models: [uniform-bytes]
"""


def refuse(folder, task, *rows, name="rows.jsonl"):
    """The error of a suite that asks about these rows."""
    raw = json.dumps(rows) if name.endswith("json") else "\n".join(map(json.dumps, rows))
    (folder / name).write_text(raw)
    others = [{"given": f"other {at}", "text": f"{at}", "topic": "air"} for at in range(2)]
    (folder / "others.jsonl").write_text("\n".join(map(json.dumps, others)))
    (folder / "own.yaml").write_text(SUITE.format(name, f"{task}, text: rows"))
    with pytest.raises(UsageError) as caught:
        read(str(folder / "own.yaml")).load_texts({})
    return caught.value


@pytest.mark.parametrize(
    ("task", "good", "wrong", "complaint"),
    [
        ("task: answer", GOOD, {"text": "prose"}, "has no source"),
        ("task: likelihood", {"text": "prose"}, GOOD, "is a pair or a question"),
        ("task: last-word", GOOD, {**GOOD, "text": " "}, "has an empty answer"),
        ("task: last-word", GOOD, {"text": "one"}, "has no two words"),
        ("task: greedy-match", GOOD, {**GOOD, "text": ""}, "has an empty answer"),
        ("task: greedy-match", GOOD, QUESTION, "is a question with candidates"),
        ("task: multiple-choice", QUESTION, GOOD, "has no candidates"),
        ("task: multiple-choice", QUESTION, {**QUESTION, "choices": ["a", "a"]}, "the same cand"),
        ("task: answer, template: '{topic} {given}'", GOOD, {**GOOD, "topic": 5}, "no field `top"),
        ("task: answer, template: '{given} {choices}'", QUESTION, GOOD, "has no candidates, which"),
        (
            "task: answer, shots: 1, shots_from: others, shots_by: topic",
            {**GOOD, "topic": "air"},
            {**GOOD, "topic": "zoo"},
            "has the `topic` 'zoo', and so have 0 documents of the text 'others'",
        ),
    ],
)
def test_a_wrong_row_is_told_at_its_own_line(tmp_path, task, good, wrong, complaint):
    error = refuse(tmp_path, task, good, good, wrong)
    assert complaint in error.what
    assert error.where == f"{tmp_path / 'rows.jsonl'}:3:1"


def test_what_every_row_lacks_is_told_at_the_task_and_at_the_first_row(tmp_path):
    error = refuse(tmp_path, "task: answer, template: '{topik}: {given}'", GOOD, GOOD)
    assert error.where == f"{tmp_path / 'own.yaml'}:8:5"
    assert "did you mean 'topic'?" in error.hint
    assert error.hint.endswith(f"it stands at {tmp_path / 'rows.jsonl'}:1:1")


def test_a_row_of_an_array_and_one_with_an_id_of_its_own_are_found(tmp_path):
    error = refuse(tmp_path, "task: last-word", GOOD, {**GOOD, "text": ""}, name="rows.json")
    assert error.where == f"{tmp_path / 'rows.json'}:1:{len(json.dumps(GOOD)) + 4}"
    named = {"id": "x7", **GOOD, "text": ""}
    assert refuse(tmp_path, "task: last-word", GOOD, named).where.endswith("rows.jsonl:2:1")


def test_what_every_row_of_a_shipped_suite_lacks_is_told_at_the_file(tmp_path):
    file = tmp_path / "mine.jsonl"
    row = {"title": "A", "contxt": "B", "question": "C?", "answers": {"text": ["D"]}}
    file.write_text(json.dumps(row))
    with pytest.raises(UsageError) as caught:
        read("squad").load_texts({"squad": str(file)}, fetch=False)
    assert caught.value.where == f"{file}:1:1"
    assert "no field `context`" in caught.value.what


def test_an_example_without_candidates_has_no_letter(tmp_path):
    task = "task: multiple-choice, candidates: letters, shots: 1, shots_from: others"
    error = refuse(tmp_path, task, QUESTION)
    assert error.what == "'line-1' of the text 'others' has no candidates"


def test_the_text_of_examples_that_is_not_named_is_asked_for(tmp_path):
    error = refuse(tmp_path, "task: answer, shots: 1", GOOD)
    assert (error.what, error.hint) == (
        "unknown text 'train'",
        "`shots_from` names another one; known: others, rows",
    )


def test_an_object_is_told_with_what_it_holds(tmp_path):
    row = {"given": "q", "text": {"answers": ["a"], "at": 5}}
    hint = "it is an object with answers; name one of them: `fields: {text: text.answers}`"
    assert refuse(tmp_path, "task: answer", row).hint == hint


def test_a_piece_of_a_plain_text_is_found_in_its_file(tmp_path):
    (tmp_path / "book.txt").write_text("two words\n--\nand more\n--\nalone\n")
    (tmp_path / "own.yaml").write_text(
        "name: own\nversion: 1\ntexts:\n"
        '  rows: {source: book.txt, split: {separator: "\\n--\\n"}}\n'
        "tasks: [{task: last-word, text: rows}]\n"
    )
    with pytest.raises(UsageError, match="has no two words") as caught:
        read(str(tmp_path / "own.yaml")).load_texts({})
    assert caught.value.where == f"{tmp_path / 'book.txt'}:5:1"
