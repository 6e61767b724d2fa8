"""Rows that are no whole pair or question: refused at their place, with a hint that helps."""

from __future__ import annotations

import json

import pytest

from llmbench.data.loading import load
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.tasks.prompts import check_template


def read(tmp_path, *rows, **options):
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return load("t", tmp_path / "a.jsonl", **options).documents


@pytest.mark.parametrize(
    ("row", "fields", "complaint"),
    [
        ({"given": "q"}, {}, r"`text` \(it has given; a pair has its answer in `text`, which"),
        ({"given": "q", "text": None}, {}, r"it has given; a pair has its answer in `text`"),
        ({"given": "q", "answer": "a"}, {}, "the one with the answer: `fields: {text: answer}`"),
        (
            {"question": "a long one", "answer": "a"},
            {"given": "question"},
            "it has question, answer; name the one with the answer: `fields: {text: answer}`",
        ),
        ({"given": "q", "answers": [{"text": "a"}]}, {}, "`fields: {text: answers.text}`"),
        (
            {"given": "q", "answers": [{"text": "a"}]},
            {"text": "answers"},
            r"a list of objects; name their strings: `fields: {text: answers.text}`",
        ),
        ({"given": "q", "answers": ["a"]}, {}, "`fields: {text: answers}`"),
        ({"given": "q", "text": 3}, {}, r"`text` \(its int is 3\)"),
        ({"given": 3, "text": "a"}, {}, r"`given` \(its int is 3\)"),
        (
            {"text": "a", "question": "q"},
            {"given": "context"},
            r"no field `context`, which `fields` names as `given` \(it has text, question\)",
        ),
        ({"text": "a"}, {"given": ["q", "m.q"]}, "no field `q` or `m.q`, which `fields` names"),
        ({"text": "a"}, {"choices": "options"}, "no field `options`, .* as `choices`"),
        ({"given": "", "text": ""}, {}, "the fields `given` and `text` are both empty"),
        ({"q": "", "text": ""}, {"given": "q"}, "the fields `q` and `text` are both empty"),
    ],
)
def test_a_row_that_is_no_pair_is_refused_with_a_hint(tmp_path, row, fields, complaint):
    with pytest.raises(UsageError, match=complaint) as caught:
        read(tmp_path, row, fields=fields)
    assert caught.value.where.endswith("a.jsonl:1:1")
    assert "text: given" not in str(caught.value)


def test_a_field_of_a_list_of_objects_is_the_list_of_theirs(tmp_path):
    row = {"given": "q", "answers": [{"text": "a", "n": 1}, {"text": "b"}]}
    none = {"given": "r", "answers": []}
    found = read(tmp_path, row, none, fields={"text": "answers.text"})
    assert [document.references for document in found] == [("a", "b"), ("",)]
    options = [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]
    names = {"choices": "options.text", "labels": "options.label"}
    (asked,) = read(tmp_path, {"given": "q", "options": options, "gold": "B"}, fields=names)
    assert (asked.text, asked.choices) == ("y", ("x", "y"))


@pytest.mark.parametrize("null", ["q", "m.q"])
def test_a_question_that_is_null_is_none(tmp_path, null):
    row = {"text": "a", "q": None, "m": {"q": None}}
    assert [d.context for d in read(tmp_path, row, fields={"given": null})] == [""]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "text;given\na;b\n", "separated by ';', and a .csv .* commas .*convert it to"),
        ("a.csv", "text\tgiven\na\tb\n", r"separated by a tab, .* \(name it .tsv\)"),
        ("a.csv", "text|given\na|b\n", r"separated by '\|'"),
        ("a.tsv", "text,given\na,b\n", r"separated by ',', and a .tsv .* tabs \(name it .csv\)"),
    ],
)
def test_columns_that_something_else_separates_are_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=f"{name}:1:1: .*{complaint}"):
        load("t", tmp_path / name)


def test_a_hint_names_each_field_once():
    text = Text("t", (Document("a", "b", "c", fields={"given": "c", "other": "d"}),))
    with pytest.raises(UsageError, match=r"known: given, other\)$"):
        check_template("{wrong} {given}", text)
