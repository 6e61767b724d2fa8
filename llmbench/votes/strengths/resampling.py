"""How far strengths would move with other prompts and other raters: bootstraps of both.

Votes on one prompt are not independent, and neither are those of one rater. Variances over prompts
and over raters are added, less that over single votes, which is in both (Cameron, Gelbach & Miller
2011); each comes from a bootstrap that draws whole units and fits anew. Drawing prompts and raters
at once, the pigeonhole bootstrap (Owen 2007), would count the chance in single votes three times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmbench.stats import LEVEL, Interval
from llmbench.votes.strengths.davidson import Fit, Floats, refit
from llmbench.votes.strengths.tally import Tally, Whole

TRIALS = 1000
Count = int | Whole
NORMAL = 1.959964  # half the width of 95 % of a normal distribution


@dataclass(frozen=True)
class Resampled:
    """Fits of resamples by prompts; by raters and by single votes, None with one rater; and how
    many units each had.
    """

    by_prompts: Fit
    prompts: int
    by_raters: Fit | None
    by_votes: Fit | None
    raters: int

    def spread(self, measure: Callable[[Fit], Floats]) -> tuple[Floats, Floats]:
        """Return the variance of what is measured in each fit, (sets, values), and its degrees of
        freedom (Satterthwaite 1946).
        """
        prompts = _vary(measure(self.by_prompts), self.prompts)
        if self.by_raters is None or self.by_votes is None:
            return prompts, np.full_like(prompts, self.prompts - 1)
        raters = _vary(measure(self.by_raters), self.raters)
        votes = _vary(measure(self.by_votes))
        return add_raters(prompts, raters, votes, self.prompts, self.raters)


def add_raters(
    by_prompts: Floats, by_raters: Floats, by_votes: Floats, prompts: Count, raters: Count
) -> tuple[Floats, Floats]:
    """Return the variance over prompts and raters, from those over each and over single votes, and
    its degrees of freedom (Satterthwaite 1946). prompts, raters: how many there are.
    """
    # what raters add to chance, which the prompts hold already: never less than nothing
    extra = np.maximum(by_raters - by_votes, 0.0)
    total = by_prompts + extra
    parts = by_prompts**2 / np.maximum(prompts - 1, 1) + extra**2 / np.maximum(raters - 1, 1)
    is_known = (parts > 0) & np.isfinite(parts)
    freedom: Floats = np.divide(total**2, parts, out=np.full_like(total, 1e9), where=is_known)
    return total, freedom


def _vary(values: Floats, units: int | None = None) -> Floats:
    """The variance of each column, from its middle 95 %: a fit of few votes may lie far out."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    found: Floats = ((high - low) / 2 / NORMAL) ** 2
    return found if units is None else found * units / (units - 1)


def resample(counted: Tally, fitted: Fit, seed: int, trials: int) -> Resampled | None:
    """Return the fits of resamples; None with one prompt, which proves nothing about others."""
    rng = np.random.default_rng(seed)
    prompts, raters = len(np.unique(counted.prompts)), len(np.unique(counted.raters))
    if prompts < 2:
        return None
    by_prompts = _refit_units(counted, counted.prompts, fitted, rng, trials)
    if raters < 2:
        return Resampled(by_prompts, prompts, None, None, raters)
    by_raters = _refit_units(counted, counted.raters, fitted, rng, trials)
    single = counted.prompts * (int(counted.raters.max()) + 1) + counted.raters
    by_votes = _refit_units(counted, single, fitted, rng, trials)
    return Resampled(by_prompts, prompts, by_raters, by_votes, raters)


def _refit_units(
    counted: Tally, keys: Whole, fitted: Fit, rng: np.random.Generator, trials: int
) -> Fit:
    units = counted.count_units(keys)
    rows, many = np.unique(units, axis=0, return_counts=True)  # equal units are drawn as one
    drawn = rng.multinomial(len(units), many / len(units), size=trials).astype(np.float64)
    return refit((drawn @ rows).reshape(trials, -1, 3), fitted)


def make_intervals(
    values: Floats, spread: tuple[Floats, Floats] | None, n: Sequence[int], is_share: bool = False
) -> list[Interval]:
    """Return values with their 95 % intervals over `n` votes each. is_share: they are logits
    of shares, which are returned.
    """
    from scipy.special import expit, stdtrit

    show = expit if is_share else float
    if spread is None:
        return [
            Interval(float(show(value)), None, None, count)
            for value, count in zip(values, n, strict=True)
        ]
    variance, freedom = spread
    halves = stdtrit(np.maximum(freedom, 1.0), (1 + LEVEL) / 2) * np.sqrt(variance)
    return [
        Interval(float(show(value)), float(show(value - half)), float(show(value + half)), count)
        for value, half, count in zip(values, halves, n, strict=True)
    ]
