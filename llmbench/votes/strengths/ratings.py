"""Means of ratings with intervals over prompts and raters, and rank sets.

Variances over prompts and over raters are added, less that over single ratings, each from a
bootstrap that draws whole units: see `resampling`. Ranks as elsewhere: all pairs tested, with
Holm's correction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmbench.stats import LEVEL, Interval, holm, ranks, sign_flip_p
from llmbench.votes.kinds import STARS, Criterion, Rating
from llmbench.votes.strengths.davidson import Floats, list_pairs
from llmbench.votes.strengths.resampling import TRIALS, add_raters
from llmbench.votes.strengths.tally import AGAIN, Whole

ALPHA = 1 - LEVEL


@dataclass(frozen=True)
class Rated:
    """A contestant by one criterion. mean: without an interval if all its ratings are on one
    prompt, or are the same. rank: the best and the worst one that the ratings allow.
    """

    mean: Interval
    rank: tuple[int, int]


@dataclass(frozen=True)
class _Sheet:
    """Ratings by one criterion as numbers, (ratings,) each. `cells`: of a rater on a prompt."""

    names: list[str]
    models: Whole
    values: Floats
    prompts: Whole
    raters: Whole
    cells: Whole

    def add_up(self, units: Whole) -> tuple[Floats, Floats]:
        """Return the sums and the numbers of ratings, (units, contestants) both."""
        shape = int(units.max()) + 1, len(self.names)
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (units, self.models), self.values)
        np.add.at(counts, (units, self.models), 1.0)
        return sums, counts

    def resample(self, units: Whole, rng: np.random.Generator, trials: int) -> Floats:
        """Return the means of resamples by units, (trials, contestants); NaN of a contestant that
        is not in one.
        """
        sums, counts = self.add_up(units)
        equal = np.full(len(sums), 1 / len(sums))
        drawn = rng.multinomial(len(sums), equal, size=trials).astype(np.float64)
        n = drawn @ counts
        means: Floats = np.divide(drawn @ sums, n, out=np.full(n.shape, np.nan), where=n > 0)
        return means


@dataclass(frozen=True)
class _Resampled:
    """Means of resamples by prompts, by raters and by cells, and of how many prompts and raters
    each contestant has ratings.
    """

    fits: tuple[Floats, Floats, Floats]
    prompts: Whole
    raters: Whole

    def spread(
        self, measure: Callable[[Floats], Floats], count: Callable[[Whole], Whole]
    ) -> tuple[Floats, Floats]:
        """Return the variance of what is measured in each resample, and its degrees of freedom.
        count: of how many units that is. Infinite with one prompt, which proves nothing.
        """
        prompts, raters = count(self.prompts), count(self.raters)
        by_prompts, by_raters, by_cells = (np.nanvar(measure(means), axis=0) for means in self.fits)
        by_prompts = by_prompts * prompts / np.maximum(prompts - 1, 1)
        by_raters = by_raters * raters / np.maximum(raters - 1, 1)
        by_prompts = np.where(prompts > 1, by_prompts, np.inf)
        by_raters = np.where(raters > 1, by_raters, 0.0)
        return add_raters(by_prompts, by_raters, by_cells, prompts, raters)


def rank_ratings(
    ratings: Sequence[Rating], *, seed: int = 0, trials: int = TRIALS
) -> dict[Criterion, dict[str, Rated]]:
    """Return criterion -> contestant -> its mean and rank, the best mean first.

    ratings: of one task. seed, trials: of the bootstraps.
    """
    kinds = dict.fromkeys(one.criterion for one in ratings)
    return {
        kind: _rank(_read([one for one in ratings if one.criterion == kind]), seed, trials)
        for kind in kinds
    }


def _read(ratings: Sequence[Rating]) -> _Sheet:
    prompts = [AGAIN.sub("", one.prompt) for one in ratings]  # greedy and sampled answers: one
    raters = [one.rater for one in ratings]
    names, models = np.unique([one.model for one in ratings], return_inverse=True)
    (_, by_prompt), (_, by_rater) = (np.unique(x, return_inverse=True) for x in (prompts, raters))
    _, cells = np.unique(by_prompt * len(ratings) + by_rater, return_inverse=True)
    values = np.asarray([one.value for one in ratings], dtype=np.float64)
    return _Sheet(names.tolist(), models, values, by_prompt, by_rater, cells)


def _resample(sheet: _Sheet, seed: int, trials: int) -> _Resampled:
    rng = np.random.default_rng(seed)
    units = sheet.prompts, sheet.raters, sheet.cells
    by_prompts, by_raters, by_cells = (sheet.resample(one, rng, trials) for one in units)
    prompts, raters = ((sheet.add_up(one)[1] > 0).sum(axis=0) for one in units[:2])
    return _Resampled((by_prompts, by_raters, by_cells), prompts, raters)


def _rank(sheet: _Sheet, seed: int, trials: int) -> dict[str, Rated]:
    from scipy.special import stdtrit

    counts = np.bincount(sheet.models)
    means = np.bincount(sheet.models, weights=sheet.values) / counts
    resampled = _resample(sheet, seed, trials)
    variance, freedom = resampled.spread(lambda found: found, lambda units: units)
    halves = stdtrit(np.maximum(freedom, 1.0), (1 + LEVEL) / 2) * np.sqrt(variance)
    places = ranks(_prove(sheet, means, resampled))
    found = {}
    for at in sorted(range(len(means)), key=lambda at: (-means[at], sheet.names[at])):
        mean, half = float(means[at]), float(halves[at])
        is_known = 0 < half < np.inf
        low, high = max(STARS[0], mean - half), min(STARS[1], mean + half)
        name, n = sheet.names[at], int(counts[at])
        interval = Interval(mean, low, high, n) if is_known else Interval(mean, None, None, n)
        found[name] = Rated(interval, places[name])
    return found


def _prove(sheet: _Sheet, means: Floats, resampled: _Resampled) -> dict[str, set[str]]:
    """Who is significantly better than whom, with Holm's correction over all pairs."""
    from scipy.special import stdtr

    better: dict[str, set[str]] = {name: set() for name in sheet.names}
    pairs = np.asarray(list_pairs(len(means)), dtype=np.int64).reshape(-1, 2)
    first, second = pairs.T
    variance, freedom = resampled.spread(
        lambda found: found[:, first] - found[:, second],
        lambda units: np.minimum(units[first], units[second]),
    )
    leads = means[first] - means[second]
    far = np.divide(np.abs(leads), np.sqrt(variance), out=np.zeros_like(leads), where=variance > 0)
    p_values = 2 * stdtr(np.maximum(freedom, 1.0), -far)
    for row in np.flatnonzero((variance == 0) & (leads != 0)):  # nothing varies: count the prompts
        p_values[row] = _flip_signs(sheet, first[row], second[row])
    for a, b, p, lead in zip(first, second, holm(p_values.tolist()), leads, strict=True):
        if p <= ALPHA:
            winner, loser = (a, b) if lead > 0 else (b, a)
            better[sheet.names[winner]].add(sheet.names[loser])
    return better


def _flip_signs(sheet: _Sheet, a: int, b: int) -> float:
    """The p of the sign-flip test over the prompts on which both were rated."""
    sums, counts = sheet.add_up(sheet.prompts)
    both = (counts[:, a] > 0) & (counts[:, b] > 0)
    if not both.any():
        return 1.0
    means = sums[both] / np.maximum(counts[both], 1)
    return sign_flip_p(means[:, a], means[:, b])
