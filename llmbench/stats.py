"""Intervals, paired tests and ranks. Numbers only: the items are documents or blocks of text, never
tokens.

Sources: ratio estimator (Cochran, Sampling Techniques, 3rd ed., ch. 6); sign-flip permutation test
(Fisher 1935; with the observed arrangement counted: Phipson & Smyth 2010); Holm 1979; sets of
ranks: Mogstad, Romano, Shaikh & Wilhelm 2024, reduced to counting significant pairs; interval of a
share: Wilson 1927; of a mean of estimates: Zou & Donner 2008 (MOVER).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
TIE_BITS_PER_BYTE = 0.01  # a difference this small is of no use to anybody: the margin of a tie
TIE_RATE = 0.05  # of a rate or a time, likewise, as a share
# of calling a rate better or worse: that a process happens to lie well in memory is in all of its
# blocks
RATE_ALPHA = 0.01
PORTION = 1_000_000  # numbers that are held at a time while signs are flipped
EXACT_UP_TO = 16  # items: all 2^m sign patterns are tried
Verdict = Literal["better", "worse", "tie", "unclear", "not comparable"]


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % interval over `n` items; None where no honest interval
    exists.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, level: float = LEVEL
) -> Interval:
    """R = sum(B)/sum(n) over m items, with SE = sqrt(m/(m-1) * sum((B_i - R n_i)^2)) / sum(n) and a
    t interval, m-1 degrees.

    No interval with fewer than two items or with infinite bits.
    """
    top, bottom = (
        np.asarray(numerators, dtype=np.float64),
        np.asarray(denominators, dtype=np.float64),
    )
    value, m = math.fsum(top) / math.fsum(bottom), len(top)
    if m < 2 or not math.isfinite(value):
        return Interval(value, None, None, m)
    half = _half_width(top - value * bottom, math.fsum(bottom), level)
    return Interval(value, value - half, value + half, m)


def difference_interval(
    a: ArrayLike, b: ArrayLike, denominators: ArrayLike, level: float = LEVEL
) -> Interval:
    """Interval of sum(A - B)/sum(n): the difference of two models on the same items."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return ratio_interval(a - b, denominators, level)


def wilson_interval(hits: int, n: int, level: float = LEVEL) -> Interval:
    """Of the share `hits` / `n` (Wilson 1927): all shares p whose normal test at `hits` does not
    reject. Never outside [0, 1], and wide where all or none are hits. Raises ValueError unless 0 <=
    hits <= n and n > 0.
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"{hits} of {n} is no share")
    square = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = (hits + square / 2) / (n + square)
    half = math.sqrt(square * (hits * (n - hits) / n + square / 4)) / (n + square)
    return Interval(hits / n, middle - half if hits else 0.0, middle + half if hits < n else 1.0, n)


def mean_interval(estimates: Sequence[Interval], groups: Sequence[str]) -> Interval:
    """Of the mean of several estimates, each of the same weight, from their own intervals (MOVER,
    Zou & Donner 2008): the distances to their ends, squared and added, each side by itself. Those
    of one group, which may not be independent, are added as they are. Its `n` is the sum.

    No interval if one has none.
    """
    count = len(estimates)
    value = math.fsum(one.value for one in estimates) / count
    below: dict[str, float] = dict.fromkeys(groups, 0.0)
    above: dict[str, float] = dict.fromkeys(groups, 0.0)
    n = sum(one.n for one in estimates)
    for one, group in zip(estimates, groups, strict=True):
        if one.low is None or one.high is None:
            return Interval(value, None, None, n)
        below[group] += one.value - one.low
        above[group] += one.high - one.value
    low, high = (math.hypot(*side.values()) / count for side in (below, above))
    return Interval(value, value - low, value + high, n)


def block_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Of a rate or a time measured in blocks: their median, with a t interval over the logarithms
    of the blocks' values, widened where the median lies outside. Blocks are the items: what was
    measured inside one is not independent.
    """
    x = np.asarray(values, dtype=np.float64)
    middle = float(np.median(x))
    if len(x) < 2:
        return Interval(middle, None, None, len(x))
    logs = np.log(x)
    half = _half_width(logs - logs.mean(), len(x), level)
    return Interval(
        middle,
        min(middle, math.exp(logs.mean() - half)),
        max(middle, math.exp(logs.mean() + half)),
        len(x),
    )


def block_difference(a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> tuple[Interval, float]:
    """Two models measured in the same blocks: the interval of log(A/B), and p of Student's paired t
    test on it.
    """
    d = np.log(np.asarray(a, dtype=np.float64)) - np.log(np.asarray(b, dtype=np.float64))
    m, mean = len(d), float(np.mean(d))
    if m < 2:
        return Interval(mean, None, None, m), 1.0
    from scipy.special import stdtr, stdtrit

    half = _half_width(d - mean, m, level)
    error = half / float(stdtrit(m - 1, (1 + level) / 2))
    p = float(2 * stdtr(m - 1, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return Interval(mean, mean - half, mean + half, m), p


def _half_width(residuals: NDArray[np.float64], total: float, level: float) -> float:
    from scipy.special import stdtrit  # takes a quarter of a second: not for who needs none of it

    m = len(residuals)
    error = math.sqrt(m / (m - 1) * math.fsum(residuals**2)) / total
    return float(stdtrit(m - 1, (1 + level) / 2)) * error


def sign_flip_p(a: ArrayLike, b: ArrayLike, flips: int = 10_000, seed: int = 0) -> float:
    """Two-sided p that the items' differences A_i - B_i are symmetric about 0: the share of sign
    patterns whose sum is at least as far from 0 as the observed one. Exact up to 16 items; beyond,
    `flips` random patterns, the observed one counted among them.
    """
    return sign_flip_ps(
        (np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))[None], flips, seed
    )[0]


def sign_flip_ps(
    differences: NDArray[np.float64], flips: int = 10_000, seed: int = 0
) -> list[float]:
    """The same for many pairs over the same items, which share their sign patterns: `differences`
    is (pairs, items).
    """
    m = differences.shape[1]
    found = [1.0] * len(differences)
    tested = [
        row for row, d in enumerate(differences) if np.isfinite(d).all() and d.any()
    ]  # a test that cannot be run proves nothing
    if not tested:
        return found
    d = differences[tested]
    slack = 1e-12 * np.abs(d).sum(axis=1)  # sums that differ by rounding only are equal
    least = np.asarray([abs(math.fsum(row)) for row in d]) - slack
    if m <= EXACT_UP_TO:
        half = 1 << (
            m - 1
        )  # a pattern and its mirror image have the same |sum|: the first sign stays
        bits = (np.arange(half)[:, None] >> np.arange(m - 1)) & 1
        patterns = np.hstack([np.ones((half, 1), dtype=np.int8), (1 - 2 * bits).astype(np.int8)])
        p = _count_reached(patterns, d, least) / half
    else:
        rng, reached = np.random.default_rng(seed), np.zeros(len(d), dtype=np.int64)
        for size in _portions(flips, max(1, 4_000_000 // m)):
            reached += _count_reached(
                rng.integers(0, 2, size=(size, m), dtype=np.int8) * np.int8(2) - np.int8(1),
                d,
                least,
            )
        p = (reached + 1) / (flips + 1)
    for row, value in zip(tested, p, strict=True):
        found[row] = float(value)
    return found


def _count_reached(
    signs: NDArray[np.int8], d: NDArray[np.float64], least: NDArray[np.float64]
) -> NDArray[np.int64]:
    """For each row of `d`, how many patterns have a sum at least so far from 0; a portion of the
    patterns at a time, which bounds the memory.
    """
    count = np.zeros(len(d), dtype=np.int64)
    step = max(1, PORTION // max(d.shape))
    for begin in range(0, len(signs), step):
        count += np.count_nonzero(
            np.abs(signs[begin : begin + step].astype(np.float64) @ d.T) >= least, axis=0
        )
    return count


def _portions(total: int, most: int) -> list[int]:
    return [min(most, total - done) for done in range(0, total, most)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: reject where adjusted p <= alpha."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = running
    return adjusted


def rate_verdict(
    difference: Interval, p: float, margin: float = TIE_RATE, alpha: float = RATE_ALPHA
) -> Verdict:
    """Of A against B where more is better, from `block_difference`."""
    found = verdict(difference, p, math.log1p(margin), alpha)
    # words of the same set
    return {"better": "worse", "worse": "better"}.get(found, found)  # type: ignore[return-value]


@dataclass(frozen=True)
class Ranking:
    """`rank`: for each name the best and worst rank that the data allow; `smallest_visible`,
    `items_needed`: see `rank_sets`.
    """

    rank: dict[str, tuple[int, int]]
    better_than: dict[str, set[str]]
    smallest_visible: float | None
    items_needed: int


def rank_sets(
    items: Mapping[str, ArrayLike],
    denominators: ArrayLike,
    alpha: float = 1 - LEVEL,
    seed: int = 0,
    noise: Mapping[str, float] | None = None,
) -> Ranking:
    """Ranks as sets, lower being better: every pair tested by sign flips, Holm over the pairs; a
    name's rank runs from 1 + (names significantly better) to K - (names significantly worse).

    `items`: name -> B_i over the same items for all. `smallest_visible` is the median over pairs of
    the half width of the paired interval at Holm's first level, in units of the ratio: about the
    smallest difference that could have been proven. With fewer than `items_needed` items none could
    be, however large: of m items the smallest p is 2^(1 - m).

    `noise`: by how much a name's ratio may be off for reasons that items do not show; a difference
    within that of both is not significant.
    """
    names, off = list(items), noise or {}
    bits = {name: np.asarray(items[name], dtype=np.float64) for name in names}
    n = np.asarray(denominators, dtype=np.float64)
    pairs = list(combinations(names, 2))
    strictest = alpha / max(1, len(pairs))
    flips = max(10_000, math.ceil(40 / strictest))
    differences = np.asarray([bits[a] - bits[b] for a, b in pairs]).reshape(len(pairs), len(n))
    adjusted = holm(sign_flip_ps(differences, flips, seed))
    better: dict[str, set[str]] = {name: set() for name in names}
    for (a, b), p in zip(pairs, adjusted, strict=True):
        if p <= alpha:
            gap = math.fsum(bits[a]) - math.fsum(bits[b])
            lead, rest = (a, b) if gap < 0 else (b, a)
            if abs(gap) > (off.get(a, 0.0) + off.get(b, 0.0)) * math.fsum(n):
                better[lead].add(rest)
    rank = ranks(better)
    needed = math.ceil(1 - math.log2(strictest))
    if len(n) < needed:
        return Ranking(rank, better, None, needed)
    widths = [_pair_width(bits[a], bits[b], n, 1 - strictest) for a, b in pairs]
    known = [width for width in widths if width is not None]
    return Ranking(rank, better, float(np.median(known)) if known else None, needed)


def rate_rank_sets(
    blocks: Mapping[str, ArrayLike], alpha: float = RATE_ALPHA, margin: float = TIE_RATE
) -> Ranking:
    """The same for rates, higher being better: paired t tests on the blocks' log-ratios, Holm over
    the pairs. A difference whose whole interval lies inside the margin is a tie, however
    significant: the next process would shift it by more. `smallest_visible` is a share.
    """
    names, better = list(blocks), {name: set[str]() for name in blocks}
    pairs = list(combinations(names, 2))
    level = 1 - alpha / max(1, len(pairs))
    found = [block_difference(blocks[a], blocks[b], level) for a, b in pairs]
    for (a, b), (difference, _), p in zip(pairs, found, holm([p for _, p in found]), strict=True):
        said = rate_verdict(difference, p, margin, alpha)
        if said in ("better", "worse"):
            lead, rest = (a, b) if said == "better" else (b, a)
            better[lead].add(rest)
    halves = [(d.high - d.low) / 2 for d, _ in found if d.high is not None and d.low is not None]
    widths = [
        math.expm1(max(half, math.log1p(margin) - half)) for half in halves
    ]  # beyond the interval, and no tie
    return Ranking(ranks(better), better, float(np.median(widths)) if widths else None, 2)


def ranks(better: Mapping[str, set[str]]) -> dict[str, tuple[int, int]]:
    """For each name, from those that it is better than: 1 + (how many are better) to K - (how many
    are worse).
    """
    return {
        name: (1 + sum(name in rest for rest in better.values()), len(better) - len(better[name]))
        for name in better
    }


def _pair_width(
    a: NDArray[np.float64], b: NDArray[np.float64], n: NDArray[np.float64], level: float
) -> float | None:
    interval = difference_interval(a, b, n, level)
    return (
        None
        if interval.high is None or interval.low is None
        else (interval.high - interval.low) / 2
    )


def verdict(
    difference: Interval, p: float, margin: float = TIE_BITS_PER_BYTE, alpha: float = 1 - LEVEL
) -> Verdict:
    """Of A against B where less is better: tie = the whole interval inside the margin; better or
    worse = significant; else unclear.
    """
    if (
        difference.low is not None
        and difference.high is not None
        and -margin < difference.low
        and difference.high < margin
    ):
        return "tie"
    if p <= alpha and difference.value != 0:
        return "better" if difference.value < 0 else "worse"
    return "unclear"
