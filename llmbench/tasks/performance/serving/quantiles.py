"""Quantiles of times under load, each with its interval, as far as there are enough samples.

Requests that are near in time share their fate, so they are no independent items: intervals are
percentile intervals of a bootstrap over blocks of consecutive requests (Kuensch 1989, without
overlap).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmbench.stats import LEVEL

QUANTILES = (50, 90, 95, 99)
BEYOND = 10  # samples on the far side of a quantile: fewer say nothing about it
BLOCKS = 20
RESAMPLES = 1000


@dataclass(frozen=True)
class Quantile:
    """A quantile, and its 95 % interval; None if there are too few blocks for one."""

    value: float
    low: float | None
    high: float | None


def samples_needed(percent: int) -> int:
    """Return the fewest samples of which a quantile is shown: 10 are beyond it."""
    return math.ceil(BEYOND * 100 / min(percent, 100 - percent))


def find_quantiles(groups: Sequence[Sequence[float]]) -> dict[int, Quantile]:
    """Return those quantiles for which there are enough samples, by percent.

    groups: the samples of each request, in the order of requests.
    """
    count = sum(len(group) for group in groups)
    wanted = [percent for percent in QUANTILES if count >= samples_needed(percent)]
    if not wanted:
        return {}
    shares = np.array(wanted) / 100
    values = np.quantile(np.concatenate([np.asarray(group) for group in groups]), shares)
    ends = _bootstrap(groups, shares)
    return {
        percent: Quantile(float(values[i]), *((None, None) if ends is None else ends[i]))
        for i, percent in enumerate(wanted)
    }


def _bootstrap(
    groups: Sequence[Sequence[float]], shares: NDArray[np.float64]
) -> list[tuple[float, float]] | None:
    """The ends of the interval of each quantile; None with fewer requests than BLOCKS.

    All samples are sorted once; a resample is how often each of them counts.
    """
    if len(groups) < BLOCKS:
        return None
    blocks = np.repeat(np.arange(len(groups)) * BLOCKS // len(groups), [len(g) for g in groups])
    values = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups])
    order = np.argsort(values, kind="stable")
    values, blocks = values[order], blocks[order]
    rng, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        drawn = np.bincount(rng.integers(0, BLOCKS, BLOCKS), minlength=BLOCKS)
        reached = np.cumsum(drawn[blocks])
        if reached[-1]:
            at = np.searchsorted(reached, shares * reached[-1])
            found.append(values[at])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.array(found), [tail, 1 - tail], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
