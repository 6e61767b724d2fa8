"""The bit ledger: for each document the charges (start, end, bits, kind) of a model, and every
number that follows from them.

bits_per_byte = sum of bits / sum of bytes (over documents: the ratio of sums), byte_perplexity =
2^bits_per_byte, word_perplexity = 2^(bits/words), token_perplexity = 2^(token bits/tokens).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

KINDS = ("token", "spelling", "code", "end", "pseudo")
TOKEN, SPELLING, CODE, END, PSEUDO = range(5)
PIECE = 1 << 16  # charges of a long document that are held at a time

WORD_COUNTER = (  # the named word counter: maximal runs of characters that are no white space
    "whitespace"
)
_WORD = re.compile(r"\S+")


def count_words(text: str) -> int:
    """Words of `text` by the counter named WORD_COUNTER."""
    return sum(1 for _ in _WORD.finditer(text))


def count_bytes(text: str) -> int:
    """Bytes of `text` in UTF-8, without a copy of a long one that is ASCII."""
    return len(text) if text.isascii() else len(text.encode())


def count_block_words(text: str, edges: Sequence[int]) -> list[int]:
    """How many words start in each block [edges[i], edges[i+1]) of the text's bytes; edges are
    borders of characters.
    """
    raw, found, inside = text.encode("utf-8", "surrogatepass"), [], False
    for a, b in zip(edges, edges[1:], strict=False):
        block = raw[a:b].decode("utf-8", "surrogatepass")
        cut = inside and bool(_WORD.match(block))  # it started in the block before
        found.append(count_words(block) - cut)
        inside = bool(_WORD.match(block[-1:])) if block else inside
    return found


class LedgerError(ValueError):
    """A ledger that breaks a rule; the message says which charge and which rule."""


class Charges(NamedTuple):
    """Some charges of a document, in the order of the text; see Ledger."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    bits: NDArray[np.float64]
    kind: NDArray[np.uint8]


@dataclass(frozen=True)
class Ledger:
    """The charges of one document of `bytes` bytes, in the order of the text.

    `start`, `end`: int64, byte offsets, start inclusive and end exclusive; `bits`: float64, >= 0 or
    +inf;
    `kind`: uint8, an index into KINDS. Charges of kind token and spelling (or one of kind code)
    tile [0, bytes) exactly; spans may be empty. A charge of kind end stands at [bytes, bytes). A
    ledger of kind pseudo (what a model that looks ahead pays for gaps) stands alone: it may be of a
    sample of the tokens, so it need not tile. `loss`: what its tokenizer lost of the text, where
    that is allowed. `context_bytes`: bytes at the end of the context that the first charge covers,
    too, since no token border falls where the text begins.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    bits: NDArray[np.float64]
    kind: NDArray[np.uint8]
    bytes: int
    id: str = field(default="")
    loss: str = ""
    context_bytes: int = 0

    @classmethod
    def build(
        cls,
        start: Iterable[int],
        end: Iterable[int],
        bits: Iterable[float],
        kind: Iterable[int],
        bytes: int,
        id: str = "",
    ) -> Ledger:
        """From any sequences; checked (see `check`)."""

        # three dtypes, one helper
        def array(values: Iterable[float], dtype: type) -> NDArray:  # type: ignore[type-arg]
            return np.asarray(
                values if isinstance(values, np.ndarray | Sequence) else list(values), dtype=dtype
            )

        ledger = cls(
            array(start, np.int64),
            array(end, np.int64),
            array(bits, np.float64),
            array(kind, np.uint8),
            bytes,
            id,
        )
        ledger.check()
        return ledger

    def check(self) -> None:
        """Raise LedgerError unless lengths agree, bits are >= 0 (no NaN), and the spans tile the
        document exactly.
        """
        if self._is_plain():
            return
        n = len(self.start)
        if not len(self.end) == len(self.bits) == len(self.kind) == n:
            raise LedgerError(f"{self.id}: start, end, bits and kind differ in length")
        wrong = np.flatnonzero(~(self.bits >= 0))
        if wrong.size:
            raise LedgerError(
                f"{self.id}: charge {wrong[0]} has {self.bits[wrong[0]]} bits; bits are >= 0 or"
                " +inf"
            )
        if n and int(self.kind.max()) >= len(KINDS):
            raise LedgerError(f"{self.id}: unknown kind of charge {int(self.kind.max())}")
        text = self.kind != END
        if (self.kind == PSEUDO).any():
            self._check_gaps()
            return
        start, end = self.start[text], self.end[text]
        edges = np.concatenate(([0], end))
        gaps = np.flatnonzero(start != edges[:-1])
        if gaps.size:
            i = gaps[0]
            raise LedgerError(
                f"{self.id}: charge {i} starts at byte {start[i]}, the one before it ended at"
                f" {edges[i]}"
            )
        if int(edges[-1]) != self.bytes or bool((end < start).any()):
            raise LedgerError(f"{self.id}: charges end at byte {edges[-1]} of {self.bytes}")
        if bool((self.start[~text] != self.bytes).any()):
            raise LedgerError(f"{self.id}: a charge of kind end stands before the end")

    def _is_plain(self) -> bool:
        """Whether all is well in the commonest way, asked with as little as it takes: there are
        thousands of short texts.
        """
        start, end, bits, kind = self.start, self.end, self.bits, self.kind
        if (
            not 0 < len(start) == len(end) == len(bits) == len(kind)
            or kind.max() > CODE
            or not bits.min() >= 0
        ):
            return False
        return bool(
            start[0] == 0
            and end[-1] == self.bytes
            and (start[1:] == end[:-1]).all()
            and (start <= end).all()
        )

    def _check_gaps(self) -> None:
        if (self.kind != PSEUDO).any():
            raise LedgerError(
                f"{self.id}: pseudo-bits stand beside bits of the chain rule, with which they"
                " cannot be added"
            )
        if (
            bool((self.start[1:] < self.end[:-1]).any() or (self.end < self.start).any())
            or int(self.end.max()) > self.bytes
        ):
            raise LedgerError(f"{self.id}: the spans of pseudo-bits overlap or leave the text")

    def check_pieces(self) -> Iterator[Charges]:
        """Check the ledger, and yield all its charges, at most PIECE at a time."""
        self.check()
        for a in range(0, len(self.start), PIECE):
            b = a + PIECE
            yield Charges(self.start[a:b], self.end[a:b], self.bits[a:b], self.kind[a:b])

    def total(self, *kinds: int) -> float:
        """Bits of the given kinds; without any, of everything that tiles the text: neither of its
        end nor of gaps.
        """
        chosen = np.isin(self.kind, kinds) if kinds else (self.kind != END) & (self.kind != PSEUDO)
        return math.fsum(self.bits[chosen])

    @property
    def bytes_charged(self) -> int:
        """Bytes of the charged spans: all of the text's, but for a sample of gaps."""
        return int((self.end - self.start).sum())

    @property
    def tokens(self) -> int:
        """Charges of kind token: one for each symbol of the model, unknown ones included."""
        return int(np.count_nonzero(self.kind == TOKEN))

    @property
    def unknown(self) -> int:
        """Symbols that the model had to spell."""
        return int(np.count_nonzero(self.kind == SPELLING))

    def bits_between(self, edges: Sequence[int]) -> NDArray[np.float64]:
        """Bits of each stretch [edges[i], edges[i+1]) of the text. A charge that crosses an edge is
        shared in proportion to its bytes, so that models with different tokens have items of the
        same bytes; an empty charge goes to the next byte's stretch.
        """
        text = self.kind != END
        blocks = Blocks(edges, self.bytes, self.id)
        blocks.add(self.start[text], self.end[text], self.bits[text])
        return blocks.bits


class ByteLedger(Ledger):
    """The ledger of a long document that pays for each byte by a charge of kind token. The bits of
    bytes first .. last-1 are computed by `bits_of(first, last)` when `check_pieces` comes to them;
    who asks for `start`, `end`, `bits` or `kind` gets them whole.
    """

    def __init__(
        self, bits_of: Callable[[int, int], NDArray[np.float64]], bytes: int, id: str = ""
    ):
        vars(self).update(bytes=bytes, id=id, _bits_of=bits_of)

    @cached_property
    def start(self) -> NDArray[np.int64]:
        return np.arange(self.bytes, dtype=np.int64)

    @cached_property
    def end(self) -> NDArray[np.int64]:
        return self.start + 1

    @cached_property
    def bits(self) -> NDArray[np.float64]:
        pieces = [self._piece(first).bits for first in range(0, self.bytes, PIECE)]
        return np.concatenate(pieces) if pieces else np.empty(0)

    @cached_property
    def kind(self) -> NDArray[np.uint8]:
        return np.full(self.bytes, TOKEN, dtype=np.uint8)

    def _piece(self, first: int) -> Charges:
        last = min(first + PIECE, self.bytes)
        if "bits" in vars(self):  # somebody has them, and may have changed them
            bits = self.bits[first:last]
        else:
            bits = vars(self)["_bits_of"](first, last)
        at = np.arange(first, last, dtype=np.int64)
        return Charges(at, at + 1, bits, np.full(last - first, TOKEN, dtype=np.uint8))

    def check_pieces(self) -> Iterator[Charges]:
        """Yield its charges, each piece checked as soon as it is computed."""
        for first in range(0, self.bytes, PIECE):
            piece = self._piece(first)
            moved = Charges(piece.start - first, piece.end - first, piece.bits, piece.kind)
            try:
                Ledger(*moved, bytes=len(piece.start), id=self.id).check()
            except LedgerError as error:
                raise LedgerError(f"{error} (from byte {first} on)") from None
            yield piece


class Blocks:
    """The bits of each stretch [edges[i], edges[i+1]) of a document of `size` bytes, from charges
    that come a piece at a time. A charge that crosses an edge is shared in proportion to its bytes;
    an empty one goes to the next byte's stretch. LedgerError unless edges run from 0 to `size`.
    """

    def __init__(self, edges: Sequence[int], size: int, id: str = ""):
        self._marks = np.asarray(edges, dtype=np.int64)
        if len(edges) < 2 or edges[0] != 0 or edges[-1] != size:
            raise LedgerError(f"{id}: edges must run from 0 to {size}")
        self._inside = np.zeros(len(edges) - 1)
        self._crossing: list[tuple[int, int, float, int, int]] = []

    def add(
        self, start: NDArray[np.int64], end: NDArray[np.int64], bits: NDArray[np.float64]
    ) -> None:
        """Take in the next charges of the text; none of its end."""
        most = len(self._marks) - 2
        first = np.clip(np.searchsorted(self._marks, start, side="right") - 1, 0, most)
        tail = np.maximum(end - 1, start)
        last = np.clip(np.searchsorted(self._marks, tail, side="right") - 1, 0, most)
        whole = first == last
        np.add.at(self._inside, first[whole], bits[whole])
        self._crossing += [
            (int(start[i]), int(end[i]), float(bits[i]), int(first[i]), int(last[i]))
            for i in np.flatnonzero(~whole)
        ]

    @property
    def bits(self) -> NDArray[np.float64]:
        """Bits of each stretch, so far. Those of crossing charges are added last, in their order,
        so that the sums do not depend on the pieces.
        """
        out, marks = self._inside.copy(), self._marks
        for start, end, bits, first, last in self._crossing:
            for b in range(first, last + 1):
                share = min(end, marks[b + 1]) - max(start, marks[b])
                out[b] += bits * share / (end - start)
        return out


@dataclass(frozen=True)
class Totals:
    """Sums over documents, and the conversions. Infinite bits stay infinite."""

    bits: float
    token_bits: float
    spelling_bits: float
    bytes: int
    words: int
    tokens: int
    unknown: int
    documents: int

    @classmethod
    def of(cls, ledgers: Sequence[Ledger], words: int) -> Totals:
        """`words`: of exactly the texts that the ledgers charge."""
        return cls(
            bits=math.fsum(ledger.total() for ledger in ledgers),
            token_bits=math.fsum(ledger.total(TOKEN) for ledger in ledgers),
            spelling_bits=math.fsum(ledger.total(SPELLING) for ledger in ledgers),
            bytes=sum(ledger.bytes for ledger in ledgers),
            words=words,
            tokens=sum(ledger.tokens for ledger in ledgers),
            unknown=sum(ledger.unknown for ledger in ledgers),
            documents=len(ledgers),
        )

    @classmethod
    def add(cls, totals: Sequence[Totals]) -> Totals:
        """Of all documents together; the same numbers as `of` gives for their ledgers."""
        return cls(
            bits=math.fsum(one.bits for one in totals),
            token_bits=math.fsum(one.token_bits for one in totals),
            spelling_bits=math.fsum(one.spelling_bits for one in totals),
            bytes=sum(one.bytes for one in totals),
            words=sum(one.words for one in totals),
            tokens=sum(one.tokens for one in totals),
            unknown=sum(one.unknown for one in totals),
            documents=sum(one.documents for one in totals),
        )

    @property
    def bits_per_byte(self) -> float | None:
        return self.bits / self.bytes if self.bytes else None

    @property
    def byte_perplexity(self) -> float | None:
        return _power(self.bits_per_byte)

    @property
    def word_perplexity(self) -> float | None:
        return _power(self.bits / self.words) if self.words else None

    @property
    def token_perplexity(self) -> float | None:
        """Of the model's own symbols, their spelling left out; never compared across tokenisers."""
        return _power(self.token_bits / self.tokens) if self.tokens else None

    @property
    def spelling_share(self) -> float | None:
        """Share of all bits that went into spelling unknown pieces."""
        return self.spelling_bits / self.bits if self.tokens and 0 < self.bits < math.inf else None

    @property
    def unknown_share(self) -> float | None:
        """Share of the model's symbols that it had to spell."""
        return self.unknown / self.tokens if self.tokens else None


def two_to(exponent: float) -> float:
    """2^exponent; +inf where a float cannot hold it."""
    return 2.0**exponent if exponent < 1024 else math.inf


def _power(exponent: float | None) -> float | None:
    return None if exponent is None else two_to(exponent)
