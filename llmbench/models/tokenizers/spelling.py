"""What unknown pieces cost. A closed vocabulary V pays for a piece w outside it: the bits of
"unknown", and then the bits of its bytes, -log2 [q(w) / (1 - sum of q(v) over v in V or empty)], so
that all pieces together have probability 1.

q is a byte-level Witten-Bell 5-gram with an end symbol, down to uniform over 257 symbols, trained
on the training types outside V; where there are none, on the types seen once.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmbench.models.tokenizers.witten_bell import WittenBell

END = 256  # the symbol after a piece's last byte
ORDER = 4  # bytes of history: a 5-gram


class Speller:
    """Probabilities of pieces as byte strings, the known ones and the empty one ruled out."""

    def __init__(self, examples: Collection[bytes], known: Iterable[bytes]):
        """`examples`: the types q is trained on. `known`: the pieces of V, which never need
        spelling.
        """
        self._model = WittenBell([[*piece, END] for piece in sorted(examples)], ORDER, END + 1)
        self._sorted = sorted({*known, b""})
        self.known = frozenset(self._sorted)
        q = 2.0 ** self._log2(self._sorted)
        self._sums = np.concatenate(([0.0], np.cumsum(q)))
        self._log_rest = math.log2(1.0 - math.fsum(q))
        self._bits: dict[bytes, float] = {}

    def _log2(self, pieces: Sequence[bytes]) -> NDArray[np.float64]:
        """log2 q of each piece, its end included: all symbols of all pieces asked for at once."""
        sizes = np.array([len(piece) + 1 for piece in pieces])
        symbols = np.concatenate([[*piece, END] for piece in pieces]).astype(np.int64)
        ends = np.cumsum(sizes)
        known = np.arange(len(symbols)) - np.repeat(ends - sizes, sizes)
        padded = np.concatenate([np.zeros(ORDER, dtype=np.int64), symbols[:-1]])
        histories = np.lib.stride_tricks.sliding_window_view(padded, ORDER)
        logs = np.log2(self._model.conditional(histories, np.minimum(known, ORDER), symbols))
        return np.add.reduceat(logs, ends - sizes)

    def probability(self, piece: bytes) -> float:
        """q(piece), its end included."""
        return float(2.0 ** self._log2([piece])[0])

    def next_byte(self, taken: bytes) -> NDArray[np.float64]:
        """(257,): q of what follows these bytes of a piece, END among it; known pieces not ruled
        out.
        """
        history = np.frombuffer(taken[-ORDER:].rjust(ORDER, b"\0"), dtype=np.uint8).astype(np.int64)
        p: NDArray[np.float64] = self._model.distributions(
            history[None], np.array([min(len(taken), ORDER)])
        ).reshape(-1)
        return p

    def exclude(self, beginning: bytes) -> float:
        """Sum of q over the known pieces that begin so."""
        first = bisect_left(self._sorted, beginning)
        last = bisect_left(self._sorted, beginning + b"\xff" * 8)  # no UTF-8 text holds that byte
        return float(self._sums[last] - self._sums[first])

    def bits(self, piece: bytes) -> float:
        """Bits of spelling `piece`, given that it is in need of spelling."""
        if piece not in self._bits:
            self._bits[piece] = self._log_rest - float(self._log2([piece])[0])
        return self._bits[piece]


class SpellReader:
    """The same probabilities byte by byte, so that pieces can be coded: what may follow the bytes
    taken so far, END after the last.
    """

    def __init__(self, speller: Speller):
        self.speller, self.taken = speller, b""
        self._inside = 1.0  # q of all pieces that begin with `taken`

    def distribution(self) -> NDArray[np.float64]:
        """(257,): q of each next byte and of END, if the piece is neither known nor empty."""
        speller, taken = self.speller, self.taken
        q = self._inside * speller.next_byte(taken)
        for byte in range(END):
            q[byte] -= speller.exclude(taken + bytes([byte])) if speller.exclude(taken) else 0.0
        q[END] = 0.0 if taken in speller.known else q[END]
        q = np.maximum(q, 0.0)
        total = float(q.sum())
        return np.asarray(q / total, dtype=np.float64)

    def take(self, index: int) -> None:
        """One more byte; END is not taken."""
        self._inside *= float(self.speller.next_byte(self.taken)[index])
        self.taken += bytes([index])


def spelling_examples(counts: Mapping[bytes, int], known: Collection[bytes]) -> list[bytes]:
    """The types a speller learns from: the training types outside V, else those seen once, else all
    of them.
    """
    members = set(known)
    for chosen in (
        [p for p in counts if p not in members],
        [p for p, n in counts.items() if n == 1],
    ):
        if chosen:
            return sorted(chosen)
    return sorted(counts)


def escape_probability(counts: Counter[Any]) -> float:
    """(n1 + 1)/(N + 2): what a model without an unknown symbol sets aside; n1 of N training pieces
    were seen once.
    """
    return (sum(1 for n in counts.values() if n == 1) + 1) / (counts.total() + 2)
