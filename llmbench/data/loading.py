"""Load texts: built in, generated, and from .txt and .jsonl files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from llmbench.data import fields as data_fields
from llmbench.data.splitting import cut_fraction
from llmbench.data.storyworld import stories
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError, did_you_mean

BUILT_IN = {
    "fables": ("fables.jsonl", "a0cf577a3c01626724432bfdf5f2a0fedaa64d268c7f31b8bfd7200ee0433657")
}


STORYWORLD = "storyworld"  # generated: see storyworld/


STORIES = {"train": 800, "valid": 60, "test": 120}  # stories of each split


SOURCES = (*BUILT_IN, STORYWORLD)


def load(
    name: str,
    source: str | Path,
    split: Mapping[str, Any] | None = None,
    select: Mapping[str, str] | None = None,
    join: bool = False,
    fields: data_fields.Fields | None = None,
) -> Text:
    """The text `name` from a built-in source or a .txt or .jsonl file, cut by `split`, reduced to
    the lines whose fields match `select`.

    `fields`: what the fields of a pair or a question are called in the file: see data/fields.py.
    `join`: the documents are the pieces of a single one, with nothing between them; they are joined
    before the text is cut. Raises UsageError with file:line:column where the bytes are not UTF-8, a
    line is no JSON object, or nothing is left; and where pairs or questions are to be cut or
    joined.
    """
    if str(source) == STORYWORLD:
        where, documents = STORYWORLD, _stories(**(select or {}))
    elif str(source) in BUILT_IN:
        where, raw = str(source), _built_in(str(source))
        documents = list(_json_lines(raw, where, select))
    else:
        path = Path(source)
        where, raw = str(path), _read(path)
        if path.suffix == ".jsonl":
            documents = list(_json_lines(raw, where, select, fields))
        elif select:
            raise UsageError("`select` needs fields, and only a .jsonl file has them", where=where)
        else:
            documents = [Document(name, _decode(raw, where))]
    if join or split:
        _check_plain(documents, "joined" if join else "cut", where)
    if join:
        documents = [Document(name, "".join(document.text for document in documents))]
    if split:
        documents = list(_cut(documents, split, where))
    documents = [document for document in documents if document.text]
    if not documents:
        raise UsageError("the text is empty", where=where, hint=f"it was to be the text {name!r}")
    return Text(name, tuple(documents))


def _stories(part: str = "stories", split: str = "test", **more: str) -> list[Document]:
    """The stories of a split, questions about them, or their translations as pairs. No story of one
    split stands in another.
    """
    if more or part not in ("stories", "questions", "pairs") or split not in STORIES:
        asked = ", ".join(
            f"{key}={value}" for key, value in {"part": part, "split": split, **more}.items()
        )
        raise UsageError(
            f"there is no {asked}",
            where=STORYWORLD,
            hint=f"part: stories, questions or pairs; split: {', '.join(STORIES)}",
        )
    told: list[stories.Story] = []
    for number, (name, count) in enumerate(STORIES.items()):
        new = stories.make(count, number, frozenset(story.text for story in told))
        if name == split:
            break
        told += new
    if part == "stories":
        return [
            Document(f"{split}-{i:04d}", story.text, truth=story.bits)
            for i, story in enumerate(new)
        ]
    rows = (stories.question_rows if part == "questions" else stories.pair_rows)(new)
    return [Document(f"{split}-{row['id']}", row["text"], row["given"]) for row in rows]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the text: {error.strerror}", where=str(path)) from None


def _built_in(name: str) -> bytes:
    file, sha256 = BUILT_IN[name]
    raw = resources.files("llmbench.data").joinpath("texts", file).read_bytes()
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise UsageError(
            "the built-in text does not have its checksum",
            where=file,
            hint="install llmbench again",
        )
    return raw


def _decode(raw: bytes, where: str) -> str:
    if not raw:
        raise UsageError("the text is empty", where=f"{where}:1:1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise UsageError(
            f"not UTF-8: byte 0x{raw[error.start]:02x}",
            where=f"{where}:{line}:{column}",
            hint="convert the file to UTF-8 first",
        ) from None


def _json_lines(
    raw: bytes,
    where: str,
    select: Mapping[str, str] | None,
    fields: data_fields.Fields | None = None,
) -> Iterator[Document]:
    seen: set[str] = set()
    for number, line in enumerate(_decode(raw, where).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"not JSON: {error.msg}", where=f"{where}:{number}:{error.colno}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"not JSON that can be read: {error}", where=f"{where}:{number}:1"
            ) from None
        asked = data_fields.fields_of(row, fields or {})
        choices = data_fields.choices(asked, f"{where}:{number}:1")
        (text_field, text), (given_field, given) = asked["text"], asked["given"]
        text, given = choices[0] if choices else text, "" if given is None else given
        for field, value in (
            (text_field, text),
            (given_field, given),
            *((asked["choices"][0], choice) for choice in choices[1:]),
        ):
            if not isinstance(value, str) or not isinstance(row, dict):
                raise UsageError(
                    f"a line must be an object with a string in the field `{field}`",
                    where=f"{where}:{number}:1",
                )
            try:
                value.encode()
            except UnicodeEncodeError:
                raise UsageError(
                    f"the field `{field}` holds half a surrogate pair, which no UTF-8 text has",
                    where=f"{where}:{number}:1",
                ) from None
        for key in select or {}:
            if key not in row:
                raise UsageError(
                    f"no field {key!r}", where=f"{where}:{number}:1", hint=did_you_mean(key, row)
                )
        if select and any(str(row[key]) != value for key, value in select.items()):
            continue
        identity = str(row["id"]) if "id" in row else f"line-{number}"
        if identity in seen:
            raise UsageError(
                f"the id {identity!r} stands here a second time", where=f"{where}:{number}:1"
            )
        seen.add(identity)
        yield Document(identity, str(text), str(given), choices[1:])


def _check_plain(documents: Sequence[Document], done: str, where: str) -> None:
    """UsageError where what is to be cut or joined is a pair or a question, which would lose its
    source and its candidates.
    """
    for document in documents:
        if not document.is_plain:
            hint = "leave out `split` and `join`; `select` chooses among them"
            raise UsageError(
                f"{document.id!r} is a pair or a question, which cannot be {done}",
                where=where,
                hint=hint,
            )


def _cut(documents: Sequence[Document], split: Mapping[str, Any], where: str) -> Iterator[Document]:
    (kind, value), *more = split.items()
    if more or kind not in ("separator", "regex", "fraction"):
        raise UsageError("a split is one of separator, regex, fraction", where=where)
    found = False
    for document in documents:
        if kind == "fraction":
            part = cut_fraction(document.text, *value)
            if not part:
                raise UsageError(
                    f"too short to split: {len(document.text.encode())} bytes have nothing between"
                    f" {value[0]} and {value[1]}",
                    where=where,
                )
            yield Document(document.id, part)
            continue
        if kind == "separator":
            parts = [part for part in document.text.split(value) if part]
            found |= len(parts) > 1
        else:
            starts = _starts(document.text, value, where)
            parts = [
                document.text[a:b]
                for a, b in zip([0, *starts[1:]], [*starts[1:], len(document.text)], strict=True)
            ]
            found |= bool(starts)
        width = len(str(len(parts)))
        for number, part in enumerate(parts, 1):
            yield Document(
                f"{document.id}-{number:0{width}d}" if len(parts) > 1 else document.id, part
            )
    if kind != "fraction" and not found:
        raise UsageError(
            f"too short to split: {kind} {value!r} occurs nowhere inside the text", where=where
        )


def _starts(text: str, pattern: str, where: str) -> list[int]:
    """Where documents start: at the pattern's matches. What stands before the first is a document
    too, unless it is white space.
    """
    try:
        starts = [match.start() for match in re.finditer(pattern, text, re.MULTILINE)]
    except re.error as error:
        raise UsageError(f"the regex {pattern!r} is wrong: {error}", where=where) from None
    return [0, *starts] if starts and text[: starts[0]].strip() else starts
