"""Numbers from bit ledgers: bits per byte and its re-expressions, each with an interval over items
of text.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from llmbench.data.strings import Strings
from llmbench.ledger import (
    CODE,
    END,
    KINDS,
    PSEUDO,
    SPELLING,
    TOKEN,
    Blocks,
    Charges,
    Ledger,
    Totals,
    two_to,
)
from llmbench.metrics.facts import BITS_PER_BYTE
from llmbench.stats import Interval, ratio_interval


@dataclass(frozen=True)
class Item:
    """What one document or block contributes."""

    id: str
    bits: float
    bytes: int
    words: int


class Items(Sequence[Item]):
    """Many items, as columns of 8 bytes a number."""

    def __init__(self) -> None:
        self._ids, self._bits, self._bytes, self._words = (
            Strings(),
            array("d"),
            array("q"),
            array("q"),
        )

    @classmethod
    def of(cls, items: Sequence[Item]) -> Items:
        """These items, as they are if they are columns already."""
        if isinstance(items, Items):
            return items
        columns = cls()
        for item in items:
            columns.add(item.id, item.bits, item.bytes, item.words)
        return columns

    def add(self, id: str, bits: float, bytes: int, words: int) -> None:
        """Add an item at the end."""
        self._ids.append(id)
        self._bits.append(bits)
        self._bytes.append(bytes)
        self._words.append(words)

    @property
    def bits(self) -> NDArray[np.float64]:
        return np.asarray(self._bits, dtype=np.float64)

    @property
    def bytes(self) -> NDArray[np.int64]:
        return np.asarray(self._bytes, dtype=np.int64)

    @property
    def words(self) -> NDArray[np.int64]:
        return np.asarray(self._words, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._bits)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        return Item(self._ids[at], self._bits[at], self._bytes[at], self._words[at])


class Sum:
    """A sum as `math.fsum` has it, of numbers that come a few at a time: rounded once, at its end.
    `parts`: few numbers of exactly that sum.
    """

    def __init__(self) -> None:
        self.parts: list[float] = []

    def add(self, numbers: Sequence[float]) -> None:
        """Add these."""
        rest, parts = [*self.parts, *numbers], list[float]()
        while part := math.fsum(rest):
            parts.append(part)
            if math.isinf(part):
                break
            rest.append(-part)
        self.parts = parts

    @property
    def value(self) -> float:
        return math.fsum(self.parts)


class Tally:
    """What the charges of a document come to, taken in piece by piece: bits of each kind, tokens
    and unknown symbols; with `edges`, also the bits of each block of the text.
    """

    def __init__(self, ledger: Ledger, edges: Sequence[int] | None = None):
        self.tokens, self.unknown = 0, 0
        self._sums: dict[int, Sum] = {}
        self._blocks = None if edges is None else Blocks(edges, ledger.bytes, ledger.id)

    def add(self, charges: Charges) -> None:
        """Take in the next charges."""
        start, end, bits, kind = charges
        if not kind.any():  # as nearly all are: of kind token
            self.tokens += len(kind)
            self._sum(TOKEN, bits)
            if self._blocks:
                self._blocks.add(start, end, bits)
            return
        counts = np.bincount(kind, minlength=len(KINDS))
        self.tokens += int(counts[TOKEN])
        self.unknown += int(counts[SPELLING])
        for number in np.flatnonzero(counts).tolist():
            self._sum(number, bits[kind == number])
        if self._blocks:
            text = kind != END
            self._blocks.add(start[text], end[text], bits[text])

    def _sum(self, kind: int, bits: NDArray[np.float64]) -> None:
        self._sums.setdefault(kind, Sum()).add(bits.tolist())

    def total(self, *kinds: int) -> float:
        """As `Ledger.total`."""
        chosen = kinds or (TOKEN, SPELLING, CODE)
        return math.fsum(part for k in chosen if k in self._sums for part in self._sums[k].parts)

    @property
    def kinds(self) -> Sequence[int]:
        """The kinds of charges that there are."""
        return tuple(self._sums)

    @property
    def block_bits(self) -> list[float]:
        """Bits of each block, where edges were given."""
        return [] if self._blocks is None else self._blocks.bits.tolist()


@dataclass
class Count:
    """What the documents of a text come to, taken in one by one: the items, and the sums over all.
    `by_kind`: bits of each kind of charge; `words`: of exactly the texts that were charged.
    """

    items: Items = field(default_factory=Items)
    bits: Sum = field(default_factory=Sum)
    by_kind: list[Sum] = field(default_factory=lambda: [Sum() for _ in KINDS])
    bytes: int = 0
    words: int = 0
    tokens: int = 0
    unknown: int = 0
    documents: int = 0

    def add(self, tally: Tally, size: int, words: int) -> None:
        """Take in a document of `size` bytes; its items are the caller's to add."""
        self.bits.add([tally.total()])
        for kind in tally.kinds:
            self.by_kind[kind].add([tally.total(kind)])
        self.bytes += size
        self.words += words
        self.tokens += tally.tokens
        self.unknown += tally.unknown
        self.documents += 1

    @property
    def totals(self) -> Totals:
        """The same as `Totals.of` all their ledgers."""
        return Totals(
            bits=self.bits.value,
            token_bits=self.by_kind[TOKEN].value,
            spelling_bits=self.by_kind[SPELLING].value,
            bytes=self.bytes,
            words=self.words,
            tokens=self.tokens,
            unknown=self.unknown,
            documents=self.documents,
        )

    @property
    def charges(self) -> dict[str, float]:
        """Kind of charge -> bits, of all kinds but pseudo-bits."""
        return {name: self.by_kind[i].value for i, name in enumerate(KINDS) if i != PSEUDO}


def intervals(items: Sequence[Item], totals: Totals) -> dict[str, Interval]:
    """Metric name -> value and interval. Perplexities are transformed intervals of the ratio in
    their exponent; shares have none.
    """
    columns = Items.of(items)
    bits = columns.bits
    per_byte = ratio_interval(bits, columns.bytes)
    found = {BITS_PER_BYTE: per_byte, "byte_perplexity": _power(per_byte)}
    if totals.words:
        found["word_perplexity"] = _power(ratio_interval(bits, columns.words))
    counted = {
        "token_perplexity": totals.token_perplexity,
        "spelling_share": totals.spelling_share,
        "unknown_share": totals.unknown_share,
    }
    for name, value in counted.items():
        if value is not None:
            found[name] = Interval(value, None, None, len(items))
    return found


def _power(interval: Interval) -> Interval:
    low, high = (None if end is None else two_to(end) for end in (interval.low, interval.high))
    return Interval(two_to(interval.value), low, high, interval.n)
