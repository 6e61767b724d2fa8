"""How much worse a score may become: a number in the metric's unit, or a share of what it was, as
in 10%.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmbench.errors import UsageError


@dataclass(frozen=True)
class Allowance:
    """`size` in the metric's unit; where `relative`, as a share of the value that is compared with."""

    size: float
    relative: bool = False

    def of(self, value: float) -> float:
        """In the metric's unit."""
        return self.size * abs(value) if self.relative else self.size

    def __str__(self) -> str:
        return f"{100 * self.size:g} %" if self.relative else f"{self.size:g}"


def parse(text: float | str, where: str = "") -> Allowance:
    """From 0.01, "0.01" or "10%". UsageError for anything else."""
    word = str(text).strip()
    try:
        size = float(word.removesuffix("%"))
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise UsageError(
            f"{word!r} is no loss that could be allowed",
            where=where,
            hint="as in 0.01, in the metric's unit, or 10%",
        )
    return Allowance(size / 100, True) if word.endswith("%") else Allowance(size)
