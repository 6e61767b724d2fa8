"""How far a score moves without a prompt, a rater, or both: the jackknife over two kinds of units
that cross each other, as prompts and raters of votes do.

Sources: jackknife: Tukey 1958; variances over crossed units: Cameron, Gelbach & Miller 2011;
degrees of freedom: Satterthwaite 1946. What raters add is never less than nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a board without votes needs no numpy
    import numpy as np
    from numpy.typing import NDArray

    from llmbench.stats import Interval

Moves = Mapping[str, float]  # unit -> deviation; those of all units, squared, sum to a variance


@dataclass(frozen=True)
class Deviations:
    """A score's deviations by prompts, by raters, and by each rater's votes on a prompt."""

    prompts: Moves
    raters: Moves
    votes: Moves


def spread_deviations(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deviations of each unit, from the scores without it; (units, ...) both."""
    n = len(scores)
    found: NDArray[np.float64] = math.sqrt((n - 1) / n) * (scores - scores.mean(axis=0))
    return found


def find_difference(value: float, a: Deviations, b: Deviations) -> tuple[Interval, float, str]:
    """Return a difference of two scores with its 95 % interval, its two-sided p (Student's t), and
    what both are over. Units of one name are the same unit on both sides.
    """
    from scipy.special import stdtr, stdtrit

    from llmbench.stats import LEVEL, Interval

    prompts = _pair(a.prompts, b.prompts)
    raters = _pair(a.raters, b.raters)
    over = "prompts and raters" if len(raters) > 1 else "prompts"
    if len(prompts) < 2:
        return Interval(value, None, None, len(prompts)), 1.0, over
    by_prompts = float((prompts**2).sum())
    extra = 0.0
    if len(raters) > 1:
        both = _pair(a.votes, b.votes)
        extra = max(0.0, float((raters**2).sum() - (both**2).sum()))
    error = math.sqrt(by_prompts + extra)
    parts = by_prompts**2 / (len(prompts) - 1) + extra**2 / max(1, len(raters) - 1)
    if error == 0 or parts == 0:
        return Interval(value, value, value, len(prompts)), 1.0, over
    freedom = max(1.0, error**4 / parts)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    p = float(2 * stdtr(freedom, -abs(value) / error))
    return Interval(value, value - half, value + half, len(prompts)), p, over


def _pair(a: Moves, b: Moves) -> NDArray[np.float64]:
    """The deviations of the difference, of each unit of either side."""
    import numpy as np

    units: Sequence[str] = list({**a, **b})
    return np.asarray([a.get(unit, 0.0) - b.get(unit, 0.0) for unit in units], dtype=np.float64)
