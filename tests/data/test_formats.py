"""What a file holds is told by its name, and by its bytes if the name misleads; else refused."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pytest

from llmbench.data.loading import load
from llmbench.errors import UsageError

LINES = '{"text": "one"}\n{"text": "two"}\n'
ARRAY = '[{"text": "one"},\n {"text": "two"}]\n'
PROSE = [
    "plain words\n",
    "{not json}\n",
    '{"a": 1} and more words\n',
    '{"a": 1}\nand then prose\n',
    '{\n "a": 1\n}\n',
    "[1, 2, 3]\n",
    "[{braces}]\n",
    '["one"]\n["two"]\n',
    '[{"a": 1}] is an array\n'.replace("]", ")"),
    "{",
]


def texts(path):
    return [document.text for document in load("t", path).documents]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonlines", "a.ndjson", "a.JSONLINES"])
def test_json_lines_have_several_endings(tmp_path, name):
    (tmp_path / name).write_text(LINES)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(LINES.encode()))
    assert texts(tmp_path / name) == texts(tmp_path / f"{name}.gz") == ["one", "two"]


@pytest.mark.parametrize("name", ["a", "a.data", "a.jsonl~", "a.log", "a.gz", "a.jl.gz"])
@pytest.mark.parametrize(
    ("content", "kind", "ending"),
    [
        (LINES, "JSON lines", ".jsonl"),
        ("\ufeff" + LINES, "JSON lines", ".jsonl"),
        ("\n" + LINES.rstrip(), "JSON lines", ".jsonl"),
        ('{"text": "one"}', "JSON lines", ".jsonl"),
        (ARRAY, "JSON", ".json"),
        ('[{"text": "one"}]', "JSON", ".json"),
    ],
)
def test_rows_under_another_name_are_no_prose(tmp_path, name, content, kind, ending):
    raw = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    asked = f"{ending}.gz" if name.endswith(".gz") else ending
    complaint = rf"{name}: looks like {kind}, and would be one text \(name it {asked}, or"
    with pytest.raises(UsageError, match=complaint):
        load("t", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("a.jsonl.bak", "a .jsonl file with .bak after its name"),
        ("a.csv.old", "a .csv file with .old after its name"),
        ("a.json.orig.gz", "a .json file with .orig after its name"),
        ("a.jsonl.txt", "looks like JSON lines"),
    ],
)
def test_rows_with_another_ending_behind_theirs_are_refused(tmp_path, name, complaint):
    raw = LINES.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    with pytest.raises(UsageError, match=complaint):
        load("t", tmp_path / name)


@pytest.mark.parametrize("content", PROSE)
def test_other_texts_stay_one_text_under_any_name(tmp_path, content):
    for name in ("a", "a.gz", "a.log"):
        raw = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        assert texts(tmp_path / name) == [content]


def test_a_txt_file_is_one_text_whatever_it_holds(tmp_path):
    for name in ("a.txt", "a.txt.gz"):
        raw = LINES.encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        assert texts(tmp_path / name) == [LINES]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.json", "a"])
@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (gzip.compress(LINES.encode(), mtime=0), "it is gzip; name it .gz"),
        (lzma.compress(LINES.encode()), "it is xz"),
        (bz2.compress(LINES.encode()), "it is bzip2"),
        (LINES.encode("utf-16"), "it looks like UTF-16"),
        (b"(\xb5/\xfd\x04\x00", "it is zstd"),
        (LINES.encode() + b"\xff", "convert the file to UTF-8 first"),
    ],
)
def test_bytes_that_are_not_utf8_are_called_by_their_name(tmp_path, name, raw, what):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(UsageError, match=f"not UTF-8: byte 0x.*{what}"):
        load("t", tmp_path / name)


def test_a_byte_order_mark_is_none_of_a_text(tmp_path):
    (tmp_path / "with.txt").write_bytes(b"\xef\xbb\xbfa\xef\xbb\xbfb")
    (tmp_path / "without.txt").write_bytes(b"a\xef\xbb\xbfb")
    found, other = load("t", tmp_path / "with.txt"), load("t", tmp_path / "without.txt")
    assert found.documents[0].text == "a\ufeffb"
    assert found.sha256 == other.sha256
    (tmp_path / "only.txt").write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(UsageError, match="the text is empty"):
        load("t", tmp_path / "only.txt")


@pytest.mark.parametrize(
    ("row", "where"),
    [('{"text": "a", "text": "b"}', "2:1"), ('{"text": "a", "m": [{"k": 1, "k": 1}]}', "2:1")],
)
def test_a_key_that_stands_twice_in_an_object_is_refused(tmp_path, row, where):
    key = "text" if "b" in row else "k"
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' + row)
    (tmp_path / "a.json").write_text('[{"text": "a"},\n' + row + "]")
    for name in ("a.jsonl", "a.json"):
        with pytest.raises(UsageError, match=f"{name}:{where}: .*{key!r} stands twice"):
            load("t", tmp_path / name)


def test_an_id_that_is_null_is_the_number_of_the_line(tmp_path):
    rows = [{"id": None, "text": "a"}, {"id": None, "text": "b"}, {"id": 7, "text": "c"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load("t", tmp_path / "a.jsonl").documents
    assert [document.id for document in found] == ["line-1", "line-2", "7"]
    for id in (True, [1], {"a": 1}):
        (tmp_path / "a.jsonl").write_text(json.dumps({"id": id, "text": "a"}))
        with pytest.raises(UsageError, match=r"a.jsonl:1:1: the id must be a string or a number"):
            load("t", tmp_path / "a.jsonl")
