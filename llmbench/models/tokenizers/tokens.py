"""The tokens of one text, with the bytes that each stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tokens:
    """A text as a model's symbols, (T,) each. `start`, `end`: the bytes that each stands for; they
    tile the text, empty spans allowed.
    `spelling`: bits of spelling out a piece that the model only knows as unknown, 0.0 for the
    others. `loss`: what of the text the tokens do not hold, "" where whoever made them has seen
    that they hold all of it, None where nobody has looked (scoring then does).
    """

    ids: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    spelling: NDArray[np.float64]
    loss: str | None = None

    @classmethod
    def of(
        cls, ids: Sequence[int], pieces: Iterable[bytes], spelling: Sequence[float] | None = None
    ) -> Tokens:
        """From ids and the bytes of each, in order."""
        lengths = np.fromiter((len(piece) for piece in pieces), dtype=np.int64)
        end = np.cumsum(lengths)
        costs = (
            np.zeros(len(lengths)) if spelling is None else np.asarray(spelling, dtype=np.float64)
        )
        return cls(np.asarray(ids, dtype=np.int64), end - lengths, end, costs)

    def find_border(self, size: int) -> int:
        """Return the number of tokens before the last border at or before byte `size`."""
        split = int(np.searchsorted(self.start, size, side="left"))
        return split - 1 if split and int(self.end[split - 1]) > size else split
