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
STEADY = 1e-4  # bits a byte: less is rounding of floats


class Measured(str):
    """What a check tried, with the number that came of it."""

    value: float

    def __new__(cls, said: str, value: float) -> Measured:
        self = super().__new__(cls, said)
        self.value = value
        return self


@dataclass(frozen=True)
class Noise:
    """`bits`: bits a byte of each size of pieces, of all texts; `nats`: the largest difference of
    a log-probability between two sizes.
    """

    bits: Mapping[int, float]
    nats: float

    @property
    def per_byte(self) -> float:
        """The spread, in bits a byte."""
        return max(self.bits.values()) - min(self.bits.values())

    @property
    def border(self) -> int | None:
        """The smallest size whose bits differ from those of one token at a time by half of the
        spread or more.
        """
        alone = self.bits[min(self.bits)]
        return next(
            (
                size
                for size, bits in sorted(self.bits.items())
                if self.per_byte > STEADY and abs(bits - alone) >= self.per_byte / 2
            ),
            None,
        )


def measure(model: TokenAdapter, texts: Sequence[str], thorough: bool) -> Noise:
    """Read the texts in pieces of several sizes.

    model: one with `read_in_pieces`.
    """
    import torch

    sizes = SIZES if thorough else FEW
    totals, count, furthest = dict.fromkeys(sizes, 0.0), 0, 0.0
    for text in texts:
        tokens = model.encode(text)
        most = min(TOKENS, (model.context or TOKENS) - len(model.bos_ids))
        ids = torch.tensor([*model.bos_ids, *tokens.ids[:most].tolist()], device=model.device)
        count += int(tokens.end[min(most, len(tokens.ids)) - 1])
        lowest: NDArray[np.float32] | None = None
        for size in sizes:
            with torch.inference_mode():
                rows = torch.log_softmax(model.read_in_pieces(ids, size).float(), -1)
            chosen = rows[len(model.bos_ids) - 1 : -1].gather(1, ids[len(model.bos_ids) :, None])
            totals[size] -= float(chosen.double().sum()) / math.log(2)
            shown = rows.clamp(min=-20).cpu().numpy()  # nobody asks what is less likely
            lowest = shown if lowest is None else lowest
            furthest = max(furthest, float(np.abs(shown - lowest).max()))
    return Noise({size: total / count for size, total in totals.items()}, furthest)
