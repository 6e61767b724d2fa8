"""What every model must beat, needing no training and no torch: uniform bytes, and general-purpose
compressors.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmbench.adapter import Adapter, ModelInfo, Passage, Window
from llmbench.errors import UsageError
from llmbench.ledger import CODE, PIECE, TOKEN, ByteLedger, Ledger, count_bytes


def _info(name: str, family: str, parameters: int | None, context: int | None) -> ModelInfo:
    return ModelInfo(
        name,
        family,
        "bytes",
        parameters,
        context,
        None,
        "cpu",
        hashlib.sha256(f"{__name__} {name}".encode()).hexdigest(),
    )


class UniformBytes(Adapter):
    """Every byte is as likely as any other: exactly 8 bits each."""

    needs_torch, learns_from_text = False, False

    @property
    def info(self) -> ModelInfo:
        return _info("uniform-bytes", "floor", 0, context=0)

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        for passage in passages:
            n = count_bytes(passage.text)
            if n > PIECE:
                yield ByteLedger(lambda first, last: np.full(last - first, 8.0), n, passage.id)
                continue
            at = np.arange(n, dtype=np.int64)
            yield Ledger(
                at, at + 1, np.full(n, 8.0), np.full(n, TOKEN, dtype=np.uint8), n, passage.id
            )

    def next_distribution(self, context: str) -> tuple[Sequence[bytes], NDArray[np.float64]]:
        return [bytes([b]) for b in range(256)], np.full(256, 1 / 256)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": lambda data: zlib.compress(data, 9),
    "bz2": lambda data: bz2.compress(data, 9),
    "lzma": lambda data: lzma.compress(data, preset=9),
}


class Compressor(Adapter):
    """A compressor from the standard library, run on each document by itself.

    Each document is one charge, with no probabilities inside.
    """

    needs_torch, learns_from_text = False, False

    def __init__(self, method: Literal["zlib", "bz2", "lzma"]):
        if method not in COMPRESSORS:
            raise UsageError(
                f"unknown compressor {method!r}", hint=f"known: {', '.join(COMPRESSORS)}"
            )
        self.method = method

    @property
    def info(self) -> ModelInfo:
        return _info(self.method, "compressor (no training data)", None, context=None)

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        for passage in passages:
            data = passage.text.encode()
            bits = 8.0 * len(COMPRESSORS[self.method](data))
            whole = np.array([len(data)], dtype=np.int64)
            yield Ledger(
                whole * 0,
                whole,
                np.array([bits]),
                np.array([CODE], dtype=np.uint8),
                len(data),
                passage.id,
            )
