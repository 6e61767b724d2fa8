"""How much worse a score may become: a number in the metric's unit, or a share of the old value,
such as 10%.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmbench.errors import UsageError


@dataclass(frozen=True)
class Allowance:
    """`size` in the metric's unit; if `relative`, a share of the old value."""

    size: float
    relative: bool = False

    def of(self, value: float) -> float:
        """In the metric's unit."""
        return self.size * abs(value) if self.relative else self.size

    def __str__(self) -> str:
        return f"{100 * self.size:g} %" if self.relative else f"{self.size:g}"


def parse(text: float | str, where: str = "") -> Allowance:
    """Return the allowance that 0.01, "0.01" or "10%" says. Raises UsageError for anything else."""
    word = str(text).strip()
    try:
        size = float(word.removesuffix("%"))
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise UsageError(
            f"{word!r} is not a tolerance",
            where=where,
            hint="give a number >= 0 in the metric's unit, such as 0.01, or a share, such as 10%",
        )
    return Allowance(size / 100, True) if word.endswith("%") else Allowance(size)
