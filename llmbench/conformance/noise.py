"""How far apart an engine's own answers are that should be equal.

An engine that rounds activations rounds them in another way when it reads other numbers of tokens
at once. Its numbers are then right within that noise, which has to be known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from llmbench.adapters.token import TokenAdapter

SIZES = (1, 2, 8, 16, 32, 64, 128, 512)  # tokens read at once; kernels differ between these
FEW = (1, 32, 512)
TOKENS = 160  # of a text
ENOUGH = 32  # charges whose differences have a mean
BIAS = 0.1  # bits a token, of the mean of what is called noise


class Measured(str):
    """What a check tried, with the number that came of it."""

    value: float

    def __new__(cls, said: str, value: float) -> Measured:
        self = super().__new__(cls, said)
        self.value = value
        return self


@dataclass(frozen=True)
class Noise:
    """`bits`: bits a byte of each size of pieces, over all texts; `gaps`: by how many nats a
    log-probability differs at most from that of one token at a time.
    """

    bits: Mapping[int, float]
    gaps: Mapping[int, float]

    @property
    def per_byte(self) -> float:
        """The spread, in bits a byte."""
        return max(self.bits.values()) - min(self.bits.values())

    @property
    def nats(self) -> float:
        """The largest difference of a log-probability."""
        return max(self.gaps.values())

    @property
    def room(self) -> float:
        """Nats by which two log-probabilities of one token may differ."""
        return 2 * self.nats

    def limit_sum(self, count: int) -> float:
        """Return by how many bits two sums over so many tokens may differ."""
        return BIAS * count + self.room / math.log(2)

    def find_beyond(self, gaps: NDArray[np.float64], least: float) -> NDArray[np.int64]:
        """Return where differences of bits are more than noise, or than `least`; everywhere if
        they are none: the mean of noise is 0.
        """
        room = max(least, self.room / math.log(2))
        biased = len(gaps) >= ENOUGH and abs(float(gaps.mean())) > max(least, BIAS)
        return np.flatnonzero((np.abs(gaps) > room) | ~np.isfinite(gaps) | biased)

    @property
    def border(self) -> int:
        """The smallest size from which on log-probabilities differ by half of what they do."""
        return next(size for size, gap in sorted(self.gaps.items()) if 2 * gap >= self.nats)


def measure(model: TokenAdapter, texts: Sequence[str], thorough: bool) -> Noise:
    """Read the texts in pieces of several sizes.

    model: one with `read_in_pieces`.
    """
    import torch

    sizes = SIZES if thorough else FEW
    totals, gaps, count = dict.fromkeys(sizes, 0.0), dict.fromkeys(sizes, 0.0), 0
    for text in texts:
        tokens = model.encode(text)
        most = min(TOKENS, (model.context or TOKENS) - len(model.bos_ids))
        ids = torch.tensor([*model.bos_ids, *tokens.ids[:most].tolist()], device=model.device)
        count += int(tokens.end[min(most, len(tokens.ids)) - 1])
        alone: NDArray[np.float32] | None = None
        for size in sizes:
            with torch.inference_mode():
                rows = torch.log_softmax(model.read_in_pieces(ids, size).float(), -1)
            chosen = rows[len(model.bos_ids) - 1 : -1].gather(1, ids[len(model.bos_ids) :, None])
            totals[size] -= float(chosen.double().sum()) / math.log(2)
            shown = rows.clamp(min=-20).cpu().numpy()  # nobody asks what is less likely
            alone = shown if alone is None else alone
            gaps[size] = max(gaps[size], float(np.abs(shown - alone).max()))
    return Noise({size: total / count for size, total in totals.items()}, gaps)
