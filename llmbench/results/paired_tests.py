"""Two models on the same items: how far apart they are, how far that could be chance, and what may
be said of it.

Sources: McNemar 1947, exact as a binomial test; interval of the difference of two paired shares:
Agresti & Min 2005; approximate randomisation: Riezler & Maxwell 2005, drawn as sacrebleu draws it;
bootstrap of a difference: Koehn 2004; rates that were not measured in turns: Welch 1947. The other
tests are those of stats.py. Which test a metric has is one of its facts (metrics/facts.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmbench.metrics.metric import Metric
from llmbench.stats import (
    EXACT_UP_TO,
    LEVEL,
    RATE_ALPHA,
    Interval,
    Ranking,
    Verdict,
    block_difference,
    difference_interval,
    holm,
    ranks,
    sign_flip_p,
    verdict,
)

ALPHA = 1 - LEVEL
TRIALS = 10_000  # of approximate randomisation: sacrebleu's own number
SEED = 12345  # and its seed
AT_ONCE = 4_000_000  # choices of a trial for an item that are held as numbers
DRAWS = 32  # times as many are drawn together: a word of the generator has 32 choices
Total = Callable[[Sequence[float]], float]
Rows = Sequence[Sequence[float]] | NDArray[np.float64]  # an item's statistics each


@dataclass(frozen=True)
class Difference:
    """A - B with its 95 % interval over the items (of rates and times: log(A/B) over blocks),
    two-sided p, and the test that gave it.
    """

    interval: Interval
    p: float
    test: str


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided, exact: of the items that one alone got right, A's are a fair coin's share. 1 where
    there are none.
    """
    from scipy.special import bdtr

    n = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), n, 0.5))) if n else 1.0


def _check_pairs(a: Rows, b: Rows) -> None:
    if len(a) != len(b):  # numpy would stretch a single row
        raise ValueError(f"{len(a)} and {len(b)} items cannot be paired")


def share_difference(a: Rows, b: Rows, level: float = LEVEL) -> Difference:
    """Of two shares over the same items; statistics are [1, 1] or [0, 1]. The interval adds half an
    item to each of the four kinds of items (Agresti & Min 2005), so that it has a width even where
    the two never differ.
    """
    _check_pairs(a, b)
    right_a, right_b = (np.asarray(rows, dtype=np.float64)[:, 0] for rows in (a, b))
    only_a, only_b = int((right_a > right_b).sum()), int((right_a < right_b).sum())
    n, apart = len(a), only_a - only_b
    middle = apart / (n + 2)
    half = (
        NormalDist().inv_cdf((1 + level) / 2)
        * math.sqrt(only_a + only_b + 1 - apart * middle)
        / (n + 2)
    )
    value = apart / n
    low, high = max(-1.0, min(value, middle - half)), min(1.0, max(value, middle + half))
    return Difference(Interval(value, low, high, n), mcnemar_p(only_a, only_b), "McNemar")


def ratio_difference(a: Rows, b: Rows, flips: int = 10_000, level: float = LEVEL) -> Difference:
    """Of bits per byte, or of means: statistics are [numerator, denominator], the denominators the
    same for both.
    """
    _check_pairs(a, b)
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return Difference(
        difference_interval(x[:, 0], y[:, 0], x[:, 1], level),
        sign_flip_p(x[:, 0], y[:, 0], flips),
        "sign flips",
    )


def tasks_difference(a: Rows, b: Rows, flips: int = 10_000, level: float = LEVEL) -> Difference:
    """Of two means over the same tasks; statistics are those of tables/means.py.

    p: by sign flips of questions, each once, whatever tasks ask it, and with the weight that it has
    in the mean. The interval is made of those of the texts, each as of two shares (Agresti & Min
    2005: half an item is added to each kind), by MOVER (Zou & Donner 2008): the distances to their
    ends are squared and added, each side by itself.
    """
    _check_pairs(a, b)
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    texts, questions = x[:, 2].astype(np.int64), x[:, 3].astype(np.int64)
    apart = np.bincount(questions, x[:, 0] - y[:, 0]).astype(np.float64)
    text_of, most = np.zeros(len(apart), dtype=np.int64), np.zeros(int(texts.max()) + 1)
    text_of[questions], most[texts] = texts, x[:, 4]
    z, sides = NormalDist().inv_cdf((1 + level) / 2), [0.0, 0.0]
    for text, limit in enumerate(most.tolist()):
        own = apart[text_of == text]
        n, total = len(own), math.fsum(own)
        spread = math.fsum(own**2) + limit**2 - total**2 / (n + 2)
        half, middle = z * math.sqrt(spread) / (n + 2), total / (n + 2)
        low, high = max(-limit, middle - half), min(limit, middle + half)
        sides[0] += (n * max(0.0, total / n - low)) ** 2
        sides[1] += (n * max(0.0, high - total / n)) ** 2
    value, count = math.fsum(apart) / len(x), len(x)
    below, above = (math.sqrt(side) / count for side in sides)
    found = Interval(value, value - below, value + above, count)
    return Difference(found, flip_alike_p(apart, flips), "sign flips")


def flip_alike_p(differences: NDArray[np.float64], flips: int = 10_000, seed: int = SEED) -> float:
    """Return what `stats.sign_flip_p` does, for differences of few sizes: of those of one size, how
    many keep their sign is drawn at once.
    """
    apart = differences[differences != 0]
    sizes, counts = np.unique(np.abs(apart).round(12), return_counts=True)
    if len(apart) <= EXACT_UP_TO:
        return sign_flip_p(apart, np.zeros(len(apart)), flips) if len(apart) else 1.0
    kept = np.random.default_rng(seed).binomial(counts, 0.5, (flips, len(counts)))
    least = abs(math.fsum(apart)) - 1e-9 * math.fsum(np.abs(apart))
    reached = int((np.abs((2 * kept - counts) @ sizes) >= least).sum())
    return (reached + 1) / (flips + 1)


def corpus_difference(a: Rows, b: Rows, total: Total, trials: int = TRIALS) -> Difference:
    """Of two totals over the same samples, which are a function of the column sums of their
    statistics: p by approximate randomisation, the interval by a bootstrap of the difference.
    """
    from llmbench.metrics.text import bootstrap

    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    value = total(x.sum(axis=0).tolist()) - total(y.sum(axis=0).tolist())

    def totals(counts: NDArray[np.int64]) -> list[float]:
        pairs = zip((counts @ x).tolist(), (counts @ y).tolist(), strict=True)
        return [total(one) - total(other) for one, other in pairs]

    return Difference(
        bootstrap(value, len(x), totals),
        randomisation_p(x, y, total, trials),
        "approximate randomisation",
    )


def randomisation_p(
    a: ArrayLike, b: ArrayLike, total: Total, trials: int = TRIALS, seed: int = SEED
) -> float:
    """Two-sided p that it does not matter which model said what: outputs are swapped at random,
    with sacrebleu's choices of them, and the share of trials is counted whose totals are at least
    as far apart as the observed ones, these counted among them.

    sacrebleu counts only trials that are further apart. Both agree unless trials give the observed
    distance itself, as many do where few samples differ: two systems that differ in one sentence
    then have p = 0.0001 there, and 1 here, since a swap of that sentence shows nothing.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    whole = x.sum(axis=0) + y.sum(axis=0)
    observed = abs(total(x.sum(axis=0).tolist()) - total(y.sum(axis=0).tolist()))
    slack = 1e-9 * max(1.0, observed)
    rng, reached = np.random.default_rng(seed), 0
    size = max(1, AT_ONCE // max(1, len(x)))
    for first in range(0, trials, DRAWS * size):
        # whole words of the generator, so that all portions are those of a single draw
        chosen = rng.integers(2, size=(min(DRAWS * size, trials - first), len(x)), dtype=bool)
        for at in range(0, len(chosen), size):
            mixed = y.sum(axis=0) + chosen[at : at + size].astype(np.float64) @ (x - y)
            pairs = zip(mixed.tolist(), (whole - mixed).tolist(), strict=True)
            reached += sum(
                abs(total(one) - total(other)) >= observed - slack for one, other in pairs
            )
    return (reached + 1) / (trials + 1)


def welch_difference(a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> Difference:
    """Of rates or times whose blocks were not measured in turns: Welch's test of the logarithms.
    What the machine did to one of the two is in the difference, and in no interval.
    """
    from scipy.stats import ttest_ind

    x, y = np.log(np.asarray(a, dtype=np.float64)), np.log(np.asarray(b, dtype=np.float64))
    value = float(x.mean() - y.mean())
    if min(len(x), len(y)) < 2 or not (x.std() or y.std()):
        return Difference(Interval(value, None, None, min(len(x), len(y))), 1.0, "Welch")
    found = ttest_ind(x, y, equal_var=False)
    low, high = found.confidence_interval(level)
    return Difference(
        Interval(value, float(low), float(high), min(len(x), len(y))), float(found.pvalue), "Welch"
    )


@cache
def corpus_total(name: str) -> Total:
    """The formula of a corpus metric of llmbench over the column sums of its statistics."""
    from llmbench.metrics.sacrebleu import Bleu, Chrf, ChrfPlusPlus, Ter

    made: dict[str, Callable[[], Any]] = {
        **{"bleu": Bleu, "chrf": Chrf, "chrf_pp": ChrfPlusPlus, "ter": Ter}
    }
    total: Total = made[name]().total
    return total


def _ratio(sums: Sequence[float]) -> float:
    return sums[0] / sums[1] if sums[1] else 0.0


def _total_of(metric: Metric) -> Total:
    return corpus_total(metric.name) if metric.test == "corpus" else _ratio


def value_of(metric: Metric, rows: Rows) -> float:
    """The metric's value, from the statistics of all items."""
    table = np.asarray(rows, dtype=np.float64)
    if metric.test == "rate":
        return float(np.median(table[:, 0]))
    if metric.test == "corpus":
        return corpus_total(metric.name)(table.sum(axis=0).tolist())
    ratio = math.fsum(table[:, 0]) / math.fsum(table[:, 1])
    return ratio if not metric.is_power else math.inf if ratio > 1000 else 2.0**ratio


def is_consistent(metric: Metric, rows: Rows, value: float) -> bool:
    """Whether the statistics of all items give a score, up to rounding; False if they are not what
    the metric has. A metric that is compared by its values for single items is not checked.
    """
    if metric.test == "items":
        return True
    try:
        return math.isclose(value_of(metric, rows), value, rel_tol=1e-6, abs_tol=1e-9)
    except (
        ValueError,
        IndexError,
        TypeError,
        ArithmeticError,
    ):  # none, ragged, too short, of no size
        return False


def difference(
    metric: Metric, a: Rows, b: Rows, tests: int = 1, in_turns: bool = True
) -> Difference:
    """By the metric's own test. `tests`: how many are made: Holm's correction needs as many more
    random flips. `in_turns`: whether blocks of rates were interleaved in one session.
    """
    if metric.test == "share":
        return share_difference(a, b)
    if metric.test == "tasks":
        return tasks_difference(a, b, max(10_000, math.ceil(40 * tests / ALPHA)))
    if metric.test in ("corpus", "ratio"):
        return corpus_difference(a, b, _total_of(metric), max(TRIALS, math.ceil(5 * tests / ALPHA)))
    if metric.test == "rate":
        one, other = [row[0] for row in a], [row[0] for row in b]
        return (
            Difference(*block_difference(one, other), "paired t")
            if in_turns
            else welch_difference(one, other)
        )
    return ratio_difference(a, b, max(10_000, math.ceil(40 * tests / ALPHA)))


def alpha_of(metric: Metric) -> float:
    """The level of a metric's test."""
    return RATE_ALPHA if metric.test == "rate" else ALPHA


def judge(metric: Metric, better: str | None, found: Difference, p: float) -> Verdict:
    """The verdict on A against B. `p`: corrected for the number of tests. `better`: "lower" or
    "higher"; None gives "unclear".
    """
    if better is None:
        return "unclear"
    margin = math.log1p(metric.tie) if metric.test == "rate" else metric.tie
    said = verdict(found.interval, p, margin, alpha_of(metric))
    turned: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
    return turned.get(said, said) if better == "higher" else said


def add_noise(found: Difference, p: float, noise: float) -> tuple[Difference, float]:
    """Widen a difference by what no item shows, and return its p: 1 within that."""
    seen = found.interval
    low, high = (
        None if end is None else end + by for end, by in ((seen.low, -noise), (seen.high, noise))
    )
    wide = replace(seen, low=low, high=high)
    return replace(found, interval=wide), 1.0 if abs(seen.value) <= noise else p


def items_needed(tests: int) -> int:
    """Items with fewer than which no difference could be proven: of m the smallest p is 2^(1 - m),
    for flips, swaps and McNemar alike.
    """
    return math.ceil(1 - math.log2(ALPHA / max(1, tests)))


def quality_rank_sets(metric: Metric, items: Mapping[str, Rows]) -> Ranking:
    """Ranks as sets by a metric of answers, in its own direction: every pair tested, Holm over the
    pairs, as in stats.rank_sets. The smallest visible difference is that of shares alone.
    """
    names = list(items)
    pairs = list(combinations(names, 2))
    found = [difference(metric, items[a], items[b], len(pairs)) for a, b in pairs]
    better: dict[str, set[str]] = {name: set() for name in names}
    for (a, b), one, p in zip(pairs, found, holm([one.p for one in found]), strict=True):
        if p <= ALPHA and one.interval.value != 0:
            is_first = (one.interval.value > 0) == (metric.better != "lower")
            lead, rest = (a, b) if is_first else (b, a)
            better[lead].add(rest)
    needed, visible = items_needed(len(pairs)), None
    if metric.test == "share" and pairs and len(items[names[0]]) >= needed:
        strictest = [
            share_difference(items[a], items[b], 1 - ALPHA / len(pairs)).interval for a, b in pairs
        ]
        visible = float(
            np.median(
                [
                    (one.high - one.low) / 2
                    for one in strictest
                    if one.high is not None and one.low is not None
                ]
            )
        )
    return Ranking(ranks(better), better, visible, needed)
