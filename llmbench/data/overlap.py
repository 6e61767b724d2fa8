"""How much of one text occurs word for word in another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from llmbench.data.text import Text

OVERLAP_BYTES = 50
FACTOR = 0x9E3779B97F4A7C15  # of the polynomial
PORTION = 1 << 18  # bytes that are hashed at a time
MOST_HELD = 1 << 25  # hashes that are held: of more, a part after the other is looked for
FILTER_BITS = 23

Hashes = NDArray[np.uint64]


def overlap_share(test: Text, train: Text, length: int = OVERLAP_BYTES) -> float | None:
    """Share of the test's substrings of `length` bytes that also occur in the training text; None
    where the test has none so long.

    Substrings are compared by a 64-bit polynomial hash: a false match is a matter of 1e-7 even for
    a gigabyte of text.
    """
    sizes = np.diff(test.columns.texts.find_ends(), prepend=0)
    total = int(np.maximum(sizes - length + 1, 0).sum())
    if not total:
        return None
    parts = 1 + min(test.bytes, train.bytes) // MOST_HELD
    count = _count_in_test if test.bytes < train.bytes else _count_in_train
    return sum(count(test, train, length, parts, part) for part in range(parts)) / total


def _count_in_train(test: Text, train: Text, length: int, parts: int, part: int) -> int:
    """How many of the test's hashes occur in the training text, whose hashes are held."""
    table = _Table(np.unique(_gather(train, length, parts, part)))
    chosen = (_choose(hashes, parts, part) for hashes in _hashes(test, length))
    return sum(len(table.find(hashes)) for hashes in chosen)


def _count_in_test(test: Text, train: Text, length: int, parts: int, part: int) -> int:
    """The same, where the test's hashes are held."""
    known, counts = np.unique(_gather(test, length, parts, part), return_counts=True)
    table, seen = _Table(known), np.zeros(len(known), dtype=bool)
    for hashes in _hashes(train, length):
        seen[table.find(_choose(hashes, parts, part))] = True
    return int(counts[seen].sum())


class _Table:
    """Different hashes in order, with a filter before them that most others do not pass."""

    def __init__(self, known: Hashes):
        self._known = known
        self._filter = np.zeros(1 << FILTER_BITS, dtype=bool)
        self._filter[known >> np.uint64(64 - FILTER_BITS)] = True

    def find(self, hashes: Hashes) -> NDArray[np.int64]:
        """The places of these hashes, without those that are not there."""
        hashes = hashes[self._filter[hashes >> np.uint64(64 - FILTER_BITS)]]
        if not len(hashes):
            return np.empty(0, dtype=np.int64)
        at = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        found: NDArray[np.int64] = at[self._known[at] == hashes]
        return found


def _gather(text: Text, length: int, parts: int, part: int) -> Hashes:
    found = [_choose(hashes, parts, part) for hashes in _hashes(text, length)]
    return np.concatenate([np.empty(0, dtype=np.uint64), *found])


def _choose(hashes: Hashes, parts: int, part: int) -> Hashes:
    return hashes if parts == 1 else hashes[hashes % np.uint64(parts) == part]


def _hashes(text: Text, length: int) -> Iterator[Hashes]:
    """The hashes of all substrings of documents, about PORTION at a time."""
    texts = text.columns.texts
    data, ends = np.frombuffer(texts.frames()[0], dtype=np.uint8), texts.find_ends()
    for first in range(0, len(data) - length + 1, PORTION):
        piece = data[first : first + PORTION + length - 1]
        hashes = _hash_all(piece, length)
        inside = np.ones(len(piece), dtype=bool)
        low, high = np.searchsorted(ends, (first, first + len(piece)), side="right")
        near = ends[low:high] - first
        for back in range(1, length):  # a substring that begins there leaves its document
            inside[near[near >= back] - back] = False
        yield hashes[inside[: len(hashes)]]


def _hash_all(data: NDArray[np.uint8], length: int) -> Hashes:
    """The hashes of all substrings: of bytes b the sum of (b_i + 1) FACTOR^(length - 1 - i), modulo
    2^64.
    """
    power, width = data.astype(np.uint64) + np.uint64(1), 1  # hashes of `width` bytes each
    found, done = power[:0], 0  # hashes of `done` bytes each
    rest = length
    while rest:
        if rest & 1:
            found = _join(found, done, power, width) if done else power
            done += width
        rest >>= 1
        if rest:
            power, width = _join(power, width, power, width), 2 * width
    return found


def _join(one: Hashes, size: int, other: Hashes, more: int) -> Hashes:
    """Hashes of `size` + `more` bytes, from those of `size` bytes and those of `more`."""
    count = min(len(one), len(other) - size)
    factor = np.uint64(pow(FACTOR, more, 1 << 64))
    joined: Hashes = one[:count] * factor + other[size : size + count]
    return joined
