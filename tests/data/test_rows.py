"""The same documents come from every format, and a wrong file is one line."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest

import llmbench
from llmbench.data.loading import load
from llmbench.errors import UsageError

TEXTS = ["one\nof two lines", 'a "quoted", separated one', "größer\ttab", "{braces}"]


def write_all(folder):
    """The documents of TEXTS in each format that is read, by file name."""
    rows = [{"text": text} for text in TEXTS]
    lines = "\n".join(json.dumps(row) for row in rows)
    files = {
        "a.jsonl": lines,
        "a.JSONL": lines,
        "a.ndjson": lines,
        "mark.jsonl": "\ufeff" + lines,
        "a.json": json.dumps(rows, indent=1),
        "mark.json": "\ufeff" + json.dumps(rows),
    }
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t"), ("A.CSV", ",")):
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerows([["n", "text"], *([str(i), text] for i, text in enumerate(TEXTS))])
        files[name] = out.getvalue()
    for name, content in files.items():
        (folder / name).write_bytes(content.encode())
        (folder / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    return [*files, *(f"{name}.gz" for name in files)]


def test_every_format_gives_the_same_documents(tmp_path):
    names = write_all(tmp_path)
    found = {name: load("t", tmp_path / name) for name in names}
    assert {
        name: [d.text for d in text.documents] for name, text in found.items()
    } == dict.fromkeys(names, TEXTS)
    assert len({text.sha256 for text in found.values()}) == 1


def test_a_gzipped_text_is_one_document(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"some\ntext"))
    assert [d.text for d in load("t", tmp_path / "a.txt.gz").documents] == ["some\ntext"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.json", b'{"text": "a"}', r"a.json:1:1: a .json file must be an array of objects"),
        ("a.json", b'[{"text": "a"},\n {"text": }]', "a.json:2:11: not JSON"),
        ("a.json", b'[{"text": "a"}\n {"text": "b"}]', "a.json:2:2: not JSON: expected , or ]"),
        ("a.json", b'[{"text": "a"},\n\n 3]', "a.json:3:2: a row must be an object"),
        (
            "a.jsonl",
            b'{"text": "a", "id": "\\ud800"}',
            "a.jsonl:1:1: the id holds half a surrogate",
        ),
        ("a.json", b'[{"text": "a"}]\n[]', "a.json:2:1: not JSON: something follows"),
        ("a.json", b'[{"text": "a"},]', "a.json:1:16: not JSON"),
        ("a.json", b"[]", "a.json: the text is empty"),
        ("a.json", b"[" * 100_000, "not JSON"),
        ("a.csv", b"text,text\na,b\n", "a.csv:1:1: the first line must name each column once"),
        ("a.csv", b'text,n\n"a\nb",1\nc\n', "a.csv:4:1: 1 cells in a row of 2 columns"),
        ("a.csv", b'text,n\n"a"b,1\n', "a.csv:2:1: not ','-separated values"),
        ("a.csv", b'text\n"a', "a.csv:2:1: not ','-separated values"),
        ("a.csv", b"n,body\n1,a\n", r"a.csv:2:1: a row must .* `text`.*fields: {text: n}"),
        ("a.jsonl", b'{"content": "a"}', r"a.jsonl:1:1: .* --field text=content"),
        ("a.jsonl", b'{"m": {"n": 1, "body": "a"}}', r"it has m\.body; name the one"),
        ("a.jsonl", '{"text": "a"}'.encode("utf-16"), "a.jsonl:1:1: not UTF-8.* like UTF-16"),
        ("a.jsonl.gz", b"plain", "not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}', mtime=0)[:-6], "not a whole gzip file"),
        ("a.parquet", b"PAR1", "a .parquet file cannot be read: it holds rows"),
        ("a.jsonl.zst", b"", "a .zst file cannot be read: it holds compressed"),
    ],
)
def test_a_wrong_file_is_placed(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        load("t", tmp_path / name)


def test_a_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("llmbench.limits.UNPACKED_BYTES", 1 << 20)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(UsageError, match="unpacks to more than"):
        load("t", tmp_path / "a.txt.gz")


def test_a_pipe_is_no_text(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(UsageError, match="not a regular file"):
        load("t", tmp_path / "a.jsonl")


def test_a_field_of_an_object_is_the_text(tmp_path):
    (tmp_path / "a.json").write_text('[{"data": {"body": "x"}}, {"data": {"body": "y"}}]')
    text = load("t", tmp_path / "a.json", fields={"text": "data.body"})
    assert [d.text for d in text.documents] == ["x", "y"]


def test_fields_of_a_plain_text_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UsageError, match="`fields` needs a file of rows"):
        load("t", tmp_path / "a.txt", fields={"text": "body"})


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("array.json", {}),
        ("bom.jsonl", {}),
        ("lines.ndjson", {}),
        ("text.csv", {}),
        ("text.jsonl.gz", {}),
        ("content.jsonl", {"text": "content"}),
        ("nested.jsonl", {"text": "data.text"}),
    ],
)
def test_forty_texts_cost_the_same_in_every_format(cases, name, fields):
    found = llmbench.score("byte-ngram", cases / "files" / name, fields=fields)
    assert round(found["bits_per_byte"], 4) == 3.4673
    assert found["documents"] == 40
