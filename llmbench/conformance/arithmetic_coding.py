"""Arithmetic coding with a model's probabilities: what proves that its bits are bits. Numbers only.

Witten, Neal & Cleary 1987, in whole numbers of any length: 62 bits of interval, carries by bits
that wait. Frequencies are integers that sum to 2^48, at least 1 for each symbol that can be coded,
so that encoder and decoder agree as soon as their probabilities do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOTAL = 1 << 48
WIDTH = 62
TOP, HALF, QUARTER = 1 << WIDTH, 1 << (WIDTH - 1), 1 << (WIDTH - 2)


def frequencies(p: ArrayLike) -> NDArray[np.int64]:
    """Cumulated whole numbers, (K + 1,), from 0 to TOTAL, for the probabilities of K symbols.
    ValueError where they are none.
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1 or not len(p) or not np.isfinite(p).all() or (p < 0).any() or p.sum() <= 0:
        raise ValueError(
            "not a distribution: its numbers must be finite, at least 0, and not all 0"
        )
    shares = np.floor(p / p.sum() * (TOTAL - len(p))).astype(np.int64) + 1
    shares[int(shares.argmax())] += TOTAL - int(shares.sum())
    return np.concatenate(([0], np.cumsum(shares)))


class Encoder:
    """Symbols, each as an index into its own distribution -> bits."""

    def __init__(self) -> None:
        self._low, self._range, self._waiting = 0, TOP, 0
        self.bits: list[int] = []

    def put(self, index: int, p: ArrayLike) -> None:
        """Code symbol number `index` of the distribution `p`."""
        edges = frequencies(p)
        low, high = int(edges[index]), int(edges[index + 1])
        self._low, self._range = (
            self._low + self._range * low // TOTAL,
            self._range * high // TOTAL - self._range * low // TOTAL,
        )
        while True:
            if self._low + self._range <= HALF:
                self._emit(0)
            elif self._low >= HALF:
                self._emit(1)
                self._low -= HALF
            elif self._low >= QUARTER and self._low + self._range <= HALF + QUARTER:
                self._waiting += 1
                self._low -= QUARTER
            else:
                return
            self._low, self._range = 2 * self._low, 2 * self._range

    def finish(self) -> list[int]:
        """All bits; as many as point into the last interval, whatever follows them."""
        self._waiting += 1
        self._emit(0 if self._low < QUARTER else 1)
        return self.bits

    def _emit(self, bit: int) -> None:
        self.bits += [bit] + [1 - bit] * self._waiting
        self._waiting = 0


class Decoder:
    """Bits -> symbols, given the same distributions one after another."""

    def __init__(self, bits: Sequence[int]):
        self._bits, self._at = bits, 0
        self._low, self._range, self._value = 0, TOP, 0
        for _ in range(WIDTH):
            self._shift()

    def get(self, p: ArrayLike) -> int:
        """The index of the next symbol in the distribution `p`."""
        edges = frequencies(p)
        target = ((self._value - self._low + 1) * TOTAL - 1) // self._range
        index = int(np.searchsorted(edges, target, side="right")) - 1
        index = min(max(index, 0), len(edges) - 2)
        low, high = int(edges[index]), int(edges[index + 1])
        self._low, self._range = (
            self._low + self._range * low // TOTAL,
            self._range * high // TOTAL - self._range * low // TOTAL,
        )
        while True:
            if self._low + self._range <= HALF:
                pass
            elif self._low >= HALF:
                self._low, self._value = self._low - HALF, self._value - HALF
            elif self._low >= QUARTER and self._low + self._range <= HALF + QUARTER:
                self._low, self._value = self._low - QUARTER, self._value - QUARTER
            else:
                return index
            self._low, self._range = 2 * self._low, 2 * self._range
            self._shift()

    def _shift(self) -> None:
        self._value = 2 * self._value + (self._bits[self._at] if self._at < len(self._bits) else 0)
        self._at += 1


class Reader(Protocol):
    """A model as a coder sees it: what may come next, and what came."""

    def distribution(self) -> ArrayLike: ...
    def take(self, index: int) -> None: ...


def encode(reader: Reader, symbols: Sequence[int]) -> tuple[list[int], list[float]]:
    """The bits that code `symbols`, and -log2 of the probability that each of them had."""
    encoder, costs = Encoder(), list[float]()
    for symbol in symbols:
        p = np.asarray(reader.distribution(), dtype=np.float64)
        costs.append(float(-np.log2(p[symbol] / p.sum())) if p[symbol] > 0 else float("inf"))
        encoder.put(symbol, p)
        reader.take(symbol)
    return encoder.finish(), costs


def decode(reader: Reader, bits: Sequence[int], count: int) -> list[int]:
    """The `count` symbols that the bits code, by a reader that has seen nothing but what was
    decoded.
    """
    decoder, found = Decoder(bits), list[int]()
    for _ in range(count):
        found.append(decoder.get(reader.distribution()))
        reader.take(found[-1])
    return found
