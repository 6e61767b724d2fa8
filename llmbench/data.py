"""Texts: built in, and from files. A text is its bytes; nothing is normalised, re-encoded or stripped."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmbench import questions, storyworld
from llmbench.errors import UsageError, did_you_mean

BUILT_IN = {"fables": ("fables.jsonl", "a0cf577a3c01626724432bfdf5f2a0fedaa64d268c7f31b8bfd7200ee0433657")}
STORYWORLD = "storyworld"  # generated: see storyworld.py
STORIES = {"train": 800, "valid": 60, "test": 120}  # stories of each split
SOURCES = (*BUILT_IN, STORYWORLD)
OVERLAP_BYTES = 50
PARTED = 1 << 63  # before the parts of a pair or a question; no text is so long
LEAST_BLOCKS, BLOCK_BYTES, LEAST_BLOCK_BYTES = 30, 4096, 200


@dataclass(frozen=True)
class Document:
    """One text with its own context, after `given` where it is a pair. `id` is unique within its Text. `choices`: of a question with candidates
    all of them, the right one, which is the text, included. `truth`: the bits that the source itself needs for the text, where they are known.
    """

    id: str
    text: str
    given: str = ""
    choices: tuple[str, ...] = ()
    truth: float | None = None

    @property
    def whole(self) -> str:
        """What a model that goes on with a text reads to learn the text: of a pair the source before it, with nothing between them."""
        return self.given + self.text

    @property
    def is_plain(self) -> bool:
        """Whether it is neither a pair nor a question."""
        return not self.given and not self.choices


@dataclass(frozen=True)
class Text:
    """Documents under a name, identified by the sha256 of their bytes (of the file's bytes where the file is one document), each after its length; of
    pairs and questions each after the number of their parts, too.
    """

    name: str
    documents: tuple[Document, ...]
    sampled: str = "none"  # N@seed where only a sample is left

    @cached_property
    def sha256(self) -> str:
        if len(self.documents) == 1 and self.documents[0].is_plain:
            return hashlib.sha256(self.documents[0].text.encode()).hexdigest()
        digest = hashlib.sha256()
        for document in self.documents:
            parts = [document.text] if document.is_plain else [document.text, document.given, *document.choices]
            if not document.is_plain:
                digest.update((PARTED + len(parts)).to_bytes(8, "big"))
            for data in (part.encode() for part in parts):
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    @cached_property
    def bytes(self) -> int:
        return sum(len(document.text.encode()) for document in self.documents)

    def sample(self, limit: int | None, seed: int) -> Text:
        """A seeded sample of `limit` documents in their old order; the whole text where it has no more than that."""
        if limit is None or limit >= len(self.documents):
            return self
        chosen = sorted(random.Random(seed).sample(range(len(self.documents)), limit))
        return Text(self.name, tuple(self.documents[i] for i in chosen), f"{limit}@{seed}")

    def hold_out(self, share: float) -> tuple[Text, Text]:
        """(the rest, the tail): the last documents making up `share` of the bytes, or the tail of a single document.

        Raises UsageError where the single document is a pair or a question, which has no tail.
        """
        if len(self.documents) == 1:
            only = self.documents[0]
            if not only.is_plain:
                hint = "add more of them, or a validation text"
                raise UsageError("nothing can be held out of a single pair or question", where=f"the text {self.name!r}", hint=hint)
            head, tail = (_fraction(only.text, a, b) for a, b in ((0.0, 1 - share), (1 - share, 1.0)))
            return Text(self.name, (Document(only.id, head),)), Text(self.name, (Document(only.id, tail),))
        wanted, size, first = share * self.bytes, 0, len(self.documents)
        while first > 1 and size < wanted:
            first -= 1
            size += len(self.documents[first].text.encode())
        return Text(self.name, self.documents[:first]), Text(self.name, self.documents[first:])


def passage(text: Text, seed: int | None, *sizes: int) -> tuple[str, ...]:
    """Pieces of so many bytes that follow one another in a text, from the beginning of a document that the seed draws (of the first, without a
    seed); after the last document comes the first. Borders move to those of characters. A text that is too short gives shorter pieces, the last
    ones empty.
    """
    first = 0 if seed is None else random.Random(seed).randrange(len(text.documents))
    documents = [document.text for document in (*text.documents[first:], *text.documents[:first])]
    raw, found, at = "\n\n".join(documents).encode(), [], 0
    for size in sizes:
        piece = raw[at : at + size].decode(errors="ignore")
        found.append(piece)
        at += len(piece.encode())
    return tuple(found)


def load(
    name: str,
    source: str | Path,
    split: Mapping[str, Any] | None = None,
    select: Mapping[str, str] | None = None,
    join: bool = False,
    fields: questions.Fields | None = None,
) -> Text:
    """The text `name` from a built-in source or a .txt or .jsonl file, cut by `split`, reduced to the lines whose fields match `select`.

    `fields`: what the fields of a pair or a question are called in the file: see questions.py.
    `join`: the documents are the pieces of a single one, with nothing between them; they are joined before the text is cut.
    Raises UsageError with file:line:column where the bytes are not UTF-8, a line is no JSON object, or nothing is left; and where pairs or questions
    are to be cut or joined.
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
    """The stories of a split, questions about them, or their translations as pairs. No story of one split stands in another."""
    if more or part not in ("stories", "questions", "pairs") or split not in STORIES:
        asked = ", ".join(f"{key}={value}" for key, value in {"part": part, "split": split, **more}.items())
        raise UsageError(f"there is no {asked}", where=STORYWORLD, hint=f"part: stories, questions or pairs; split: {', '.join(STORIES)}")
    told: list[storyworld.Story] = []
    for number, (name, count) in enumerate(STORIES.items()):
        new = storyworld.make(count, number, frozenset(story.text for story in told))
        if name == split:
            break
        told += new
    if part == "stories":
        return [Document(f"{split}-{i:04d}", story.text, truth=story.bits) for i, story in enumerate(new)]
    rows = (storyworld.question_rows if part == "questions" else storyworld.pair_rows)(new)
    return [Document(f"{split}-{row['id']}", row["text"], row["given"]) for row in rows]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the text: {error.strerror}", where=str(path)) from None


def _built_in(name: str) -> bytes:
    file, sha256 = BUILT_IN[name]
    raw = resources.files("llmbench").joinpath("texts", file).read_bytes()
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise UsageError("the built-in text does not have its checksum", where=file, hint="install llmbench again")
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
            f"not UTF-8: byte 0x{raw[error.start]:02x}", where=f"{where}:{line}:{column}", hint="convert the file to UTF-8 first"
        ) from None


def _json_lines(raw: bytes, where: str, select: Mapping[str, str] | None, fields: questions.Fields | None = None) -> Iterator[Document]:
    seen: set[str] = set()
    for number, line in enumerate(_decode(raw, where).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"not JSON: {error.msg}", where=f"{where}:{number}:{error.colno}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"not JSON that can be read: {error}", where=f"{where}:{number}:1") from None
        asked = questions.fields_of(row, fields or {})
        choices = questions.choices(asked, f"{where}:{number}:1")
        (text_field, text), (given_field, given) = asked["text"], asked["given"]
        text, given = choices[0] if choices else text, "" if given is None else given
        for field, value in ((text_field, text), (given_field, given), *((asked["choices"][0], choice) for choice in choices[1:])):
            if not isinstance(value, str) or not isinstance(row, dict):
                raise UsageError(f"a line must be an object with a string in the field `{field}`", where=f"{where}:{number}:1")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise UsageError(f"the field `{field}` holds half a surrogate pair, which no UTF-8 text has", where=f"{where}:{number}:1") from None
        for key in select or {}:
            if key not in row:
                raise UsageError(f"no field {key!r}", where=f"{where}:{number}:1", hint=did_you_mean(key, row))
        if select and any(str(row[key]) != value for key, value in select.items()):
            continue
        identity = str(row["id"]) if "id" in row else f"line-{number}"
        if identity in seen:
            raise UsageError(f"the id {identity!r} stands here a second time", where=f"{where}:{number}:1")
        seen.add(identity)
        yield Document(identity, str(text), str(given), choices[1:])


def _check_plain(documents: Sequence[Document], done: str, where: str) -> None:
    """UsageError where what is to be cut or joined is a pair or a question, which would lose its source and its candidates."""
    for document in documents:
        if not document.is_plain:
            hint = "leave out `split` and `join`; `select` chooses among them"
            raise UsageError(f"{document.id!r} is a pair or a question, which cannot be {done}", where=where, hint=hint)


def _cut(documents: Sequence[Document], split: Mapping[str, Any], where: str) -> Iterator[Document]:
    (kind, value), *more = split.items()
    if more or kind not in ("separator", "regex", "fraction"):
        raise UsageError("a split is one of separator, regex, fraction", where=where)
    found = False
    for document in documents:
        if kind == "fraction":
            part = _fraction(document.text, *value)
            if not part:
                raise UsageError(
                    f"too short to split: {len(document.text.encode())} bytes have nothing between {value[0]} and {value[1]}", where=where
                )
            yield Document(document.id, part)
            continue
        if kind == "separator":
            parts = [part for part in document.text.split(value) if part]
            found |= len(parts) > 1
        else:
            starts = _starts(document.text, value, where)
            parts = [document.text[a:b] for a, b in zip([0, *starts[1:]], [*starts[1:], len(document.text)], strict=True)]
            found |= bool(starts)
        width = len(str(len(parts)))
        for number, part in enumerate(parts, 1):
            yield Document(f"{document.id}-{number:0{width}d}" if len(parts) > 1 else document.id, part)
    if kind != "fraction" and not found:
        raise UsageError(f"too short to split: {kind} {value!r} occurs nowhere inside the text", where=where)


def _starts(text: str, pattern: str, where: str) -> list[int]:
    """Where documents start: at the pattern's matches. What stands before the first is a document too, unless it is white space."""
    try:
        starts = [match.start() for match in re.finditer(pattern, text, re.MULTILINE)]
    except re.error as error:
        raise UsageError(f"the regex {pattern!r} is wrong: {error}", where=where) from None
    return [0, *starts] if starts and text[: starts[0]].strip() else starts


def _fraction(text: str, low: float, high: float) -> str:
    """The part of the bytes from low to high, both ends moved forward to a character's first byte."""
    raw = text.encode()
    ends = []
    for share in (low, high):
        at = int(len(raw) * share + 1e-9)
        while at < len(raw) and raw[at] & 0xC0 == 0x80:
            at += 1
        ends.append(at)
    return raw[ends[0] : ends[1]].decode()


def block_edges(text: str) -> list[int]:
    """Byte offsets that cut one long text into items: at least 30 blocks, of at least 4 KB where the text allows it, at blank
    lines, else line ends, else spaces near the even places. [0, n] where the text is too short for two blocks of 200 bytes.
    """
    raw = text.encode()
    n = len(raw)
    count = min(max(LEAST_BLOCKS, n // BLOCK_BYTES), n // LEAST_BLOCK_BYTES)
    edges = [0]
    for i in range(1, count):
        ideal, reach = n * i // count, n // count // 3
        edges.append(_natural_break(raw, ideal, max(edges[-1] + 1, ideal - reach), ideal + reach))
    return [*edges, n]


def _natural_break(raw: bytes, ideal: int, low: int, high: int) -> int:
    for mark in (b"\n\n", b"\n", b" "):
        after = raw.find(mark, ideal - len(mark), high - len(mark))
        before = raw.rfind(mark, low - len(mark), ideal)
        places = [at + len(mark) for at in (before, after) if at >= 0 and low <= at + len(mark) < high]
        if places:
            return min(places, key=lambda at: abs(at - ideal))
    while raw[ideal] & 0xC0 == 0x80:
        ideal += 1
    return ideal


def overlap_share(test: Text, train: Text, length: int = OVERLAP_BYTES) -> float | None:
    """Share of the test's substrings of `length` bytes that also occur in the training text; None where the test has none so long.

    Substrings are compared by a 64-bit polynomial hash: a false match is a matter of 1e-7 even for a gigabyte of text.
    """
    wanted = _hashes(test, length)
    if not wanted.size:
        return None
    return float(np.isin(wanted, np.unique(_hashes(train, length))).mean())


def _hashes(text: Text, length: int) -> NDArray[np.uint64]:
    parts = []
    for document in text.documents:
        data = np.frombuffer(document.text.encode(), dtype=np.uint8).astype(np.uint64)
        if len(data) < length:
            continue
        windows = np.zeros(len(data) - length + 1, dtype=np.uint64)
        for offset in range(length):
            windows = windows * np.uint64(0x9E3779B97F4A7C15) + data[offset : offset + len(windows)] + np.uint64(1)
        parts.append(windows)
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
