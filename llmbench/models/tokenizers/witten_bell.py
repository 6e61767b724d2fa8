"""Interpolated Witten-Bell n-gram model over integer symbols, counted and asked with sorted arrays.

p(w | h) = (c(h w) + N1+(h) * p(w | h')) / (c(h) + N1+(h)), h' being h without its oldest symbol,
N1+(h) the number of different symbols seen after h; a history never seen passes straight on; the
last step is uniform. (Witten & Bell 1991; Chen & Goodman 1998, eq. 24-26)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int64]


@dataclass(frozen=True)
class _Counts:
    """For one length of history: the histories, how often each was seen and before how many
    symbols, and the same for pairs.
    """

    histories: Symbols
    seen: NDArray[np.float64]
    followers: NDArray[np.float64]
    pairs: Symbols
    pair_seen: NDArray[np.float64]


class WittenBell:
    """`order`: how many symbols of history are looked at (an (order+1)-gram model). Sequences start
    with no history.
    """

    def __init__(
        self,
        sequences: Iterable[Sequence[int] | Symbols],
        order: int,
        symbols: int,
        weights: Sequence[int] | None = None,
    ):
        """`symbols`: the alphabet is 0 .. symbols-1. `weights`: how often each sequence counts
        (default once).
        """
        if symbols ** (order + 1) >= 2**62:
            raise ValueError(f"order {order} over {symbols} symbols does not fit 62 bits")
        self.order, self.symbols = order, symbols
        arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        times = np.ones(len(arrays)) if weights is None else np.asarray(weights, dtype=np.float64)
        self._counts = [self._count(arrays, times, length) for length in range(order + 1)]

    def _count(self, arrays: list[Symbols], times: NDArray[np.float64], length: int) -> _Counts:
        keys = [
            self._histories(array, length)[length:] * self.symbols + array[length:]
            for array in arrays
        ]
        each = np.repeat(times, [len(key) for key in keys]) if keys else np.empty(0)
        pairs, where = np.unique(
            np.concatenate(keys) if keys else np.empty(0, dtype=np.int64), return_inverse=True
        )
        pair_seen = np.bincount(where, weights=each, minlength=len(pairs)).astype(np.float64)
        histories, where, followers = np.unique(
            pairs // self.symbols, return_inverse=True, return_counts=True
        )
        seen = np.bincount(where, weights=pair_seen, minlength=len(histories)).astype(np.float64)
        return _Counts(histories, seen, followers.astype(np.float64), pairs, pair_seen)

    def _histories(self, sequence: Symbols, length: int) -> Symbols:
        """For each position the `length` symbols before it as one number; meaningless at the first
        `length` positions.
        """
        code = np.zeros(len(sequence), dtype=np.int64)
        for back in range(length, 0, -1):
            code *= self.symbols
            code[back:] += sequence[: max(0, len(sequence) - back)]
        return code

    def probabilities(self, sequence: Sequence[int] | Symbols) -> NDArray[np.float64]:
        """(T,) symbols -> (T,) p of each after all before it."""
        symbols = np.asarray(sequence, dtype=np.int64)
        p = np.full(len(symbols), 1.0 / self.symbols)
        for length, counts in enumerate(self._counts):
            if length >= len(symbols):
                break
            code = self._histories(symbols, length)[length:]
            p[length:] = self._refine(counts, code, symbols[length:], p[length:])
        return p

    def conditional(
        self, histories: Symbols, known: Symbols, symbols: Symbols
    ) -> NDArray[np.float64]:
        """(N, order) last symbols, of which the last `known` (N,) exist -> (N,) p of each of
        `symbols` (N,).
        """
        p = np.full(len(symbols), 1.0 / self.symbols)
        code, scale = np.zeros(len(symbols), dtype=np.int64), 1
        for length, counts in enumerate(self._counts):
            if length:
                code = code + histories[:, self.order - length] * scale
                scale *= self.symbols
            some = np.flatnonzero(known >= length)
            if not some.size:
                break
            p[some] = self._refine(counts, code[some], symbols[some], p[some])
        return p

    def distributions(self, histories: Symbols, known: Symbols) -> NDArray[np.float64]:
        """(B, order) last symbols, of which the last `known` (B,) exist -> (B, symbols)
        distributions over the next one.
        """
        rows = len(histories)
        each = np.tile(np.arange(self.symbols), rows)
        p = self.conditional(
            np.repeat(histories, self.symbols, axis=0), np.repeat(known, self.symbols), each
        )
        return p.reshape(rows, self.symbols)

    @property
    def size(self) -> int:
        """How many different (history, symbol) pairs were counted."""
        return sum(len(counts.pairs) for counts in self._counts)

    def digest(self) -> bytes:
        """Bytes that differ where the counts differ."""
        return b"".join(
            counts.pairs.tobytes() + counts.pair_seen.tobytes() for counts in self._counts
        )

    def _refine(
        self, counts: _Counts, code: Symbols, symbol: Symbols, p: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        at = _find(counts.histories, code)
        pair = _find(counts.pairs, code * self.symbols + symbol)
        followers = (
            np.where(at >= 0, counts.followers[at], 1.0)
            if len(counts.histories)
            else np.ones(len(code))
        )
        seen = (
            np.where(at >= 0, counts.seen[at], 0.0)
            if len(counts.histories)
            else np.zeros(len(code))
        )
        together = (
            np.where(pair >= 0, counts.pair_seen[pair], 0.0)
            if len(counts.pairs)
            else np.zeros(len(code))
        )
        refined: NDArray[np.float64] = (together + followers * p) / (seen + followers)
        return refined


def _find(table: Symbols, keys: Symbols) -> Symbols:
    """Index of each key in the sorted table, -1 where it is not there."""
    if not len(table):
        return np.full(len(keys), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where(table[at] == keys, at, -1)
