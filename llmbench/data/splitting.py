"""Where a text is cut: at fractions of its bytes, and into blocks at natural breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import regex

from llmbench import limits
from llmbench.data.documents import Document
from llmbench.errors import UsageError

LEAST_BLOCKS, BLOCK_BYTES, LEAST_BLOCK_BYTES = 30, 4096, 200


def cut_fraction(text: str, low: float, high: float) -> str:
    """The bytes from low to high, both ends moved forward to a character's first byte."""
    raw = text.encode()
    ends = []
    for share in (low, high):
        at = int(len(raw) * share + 1e-9)
        while at < len(raw) and raw[at] & 0xC0 == 0x80:
            at += 1
        ends.append(at)
    return raw[ends[0] : ends[1]].decode()


def block_edges(text: str) -> list[int]:
    """Byte offsets that cut one long text into items: at least 30 blocks, of at least 4 KB where
    the text allows it, at blank lines, else line ends, else spaces near the even places. [0, n]
    where the text is too short for two blocks of 200 bytes.
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
        places = [
            at + len(mark) for at in (before, after) if at >= 0 and low <= at + len(mark) < high
        ]
        if places:
            return min(places, key=lambda at: abs(at - ideal))
    while raw[ideal] & 0xC0 == 0x80:
        ideal += 1
    return ideal


def cut(documents: Sequence[Document], split: Mapping[str, Any], where: str) -> Iterator[Document]:
    """Yield the parts of the documents by the rule of `split`. UsageError if nothing is cut."""
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
        re.compile(pattern)
        patient = regex.compile(pattern, regex.MULTILINE)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise UsageError(f"the regex {pattern!r} is wrong: {error}", where=where) from None
    seconds = limits.REGEX_SECONDS * (1 + len(text) // limits.REGEX_BYTES)
    try:
        starts = [match.start() for match in patient.finditer(text, timeout=seconds)]
    except TimeoutError:
        raise UsageError(
            f"the regex {pattern!r} takes longer than {seconds:g} s on this text",
            where=where,
            hint="make it simpler: without a repetition inside a repetition, as in (a+)+",
        ) from None
    return [0, *starts] if starts and text[: starts[0]].strip() else starts
