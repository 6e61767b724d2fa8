"""Intervals of published figures, computed again from the statistics of their items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from llmbench.ledger import two_to
from llmbench.metrics.exact_match import Accuracy
from llmbench.metrics.metric import Metric
from llmbench.metrics.text import bootstrap, widen
from llmbench.results.paired_tests import Rows, corpus_total
from llmbench.results.record import Score
from llmbench.results.signature import Signature
from llmbench.stats import Interval, block_interval, ratio_interval
from llmbench.tasks.answers.centring import CENTRED, centre

SLACK = (
    0.1  # of its width, by which an end of a bootstrap interval may differ: the draws are random
)
EXACT = 1e-6  # relative
Computed = tuple[Interval, float]  # and how far an end may be from it


def follows_interval(score: Score, metric: Metric, rows: Rows) -> bool | None:
    """Return whether a score's interval is the one that llmbench gives for these statistics; None
    if it has no method for them, if the score has no interval where there could be one (it claims
    nothing then), or if a metric from outside has an interval of its own.

    metric: the facts of the score's metric, by whose paired test the method is chosen.
    """
    found = [
        (_end_at_bounds(interval, metric, score), slack)
        for interval, slack in _compute(score, metric, rows)
    ]
    if not found:
        return None
    ends = _read(score.low), _read(score.high)
    follows = any(
        _is_near(ends[0], interval.low, slack) and _is_near(ends[1], interval.high, slack)
        for interval, slack in found
    )
    return None if not follows and (metric.is_custom or ends == (None, None)) else follows


def _compute(score: Score, metric: Metric, rows: Rows) -> Iterator[Computed]:
    """The intervals of the methods for a metric of this kind."""
    table = np.asarray(rows, dtype=np.float64)
    if metric.test == "rate":
        yield block_interval(table[:, 0]), 0.0
    elif metric.test == "bits":
        yield _raise(ratio_interval(table[:, 0], table[:, 1]), metric), 0.0
    elif score.metric == CENTRED.name:
        yield from _compute_centred(score, table[:, 0].tolist())
    elif metric.test == "share":
        try:
            found = Accuracy().value(table.tolist())
        except ValueError:  # not hits of so many
            return
        if found is not None:
            is_drawn = bool((table[:, 1] > 1).any())
            yield found, _width(found) * SLACK if is_drawn else 0.0
    elif metric.test in ("mean", "ratio", "corpus"):
        total = corpus_total(metric.name) if metric.test == "corpus" else _divide
        drawn = widen(_resample(table.tolist(), total), metric.bounds)
        yield drawn, _width(drawn) * SLACK
        if metric.test != "corpus":  # the mean over groups of questions
            yield widen(ratio_interval(table[:, 0], table[:, 1]), metric.bounds), 0.0


def _compute_centred(score: Score, values: Sequence[float]) -> Iterator[Computed]:
    """That of the accuracy, on the scale of the baseline that the signature names."""
    try:
        baseline = float(Signature.parse(score.signature).values()["baseline"])
        hits = [[float(round(one * (1 - baseline) + baseline, 6)), 1.0] for one in values]
        found = Accuracy().value(hits)
    except (KeyError, ValueError):
        return
    if found is not None:
        low, high = (
            None if end is None else centre(end, baseline) for end in (found.low, found.high)
        )
        yield replace(found, low=low, high=high), 0.0


def _resample(
    rows: Sequence[Sequence[float]], total: Callable[[Sequence[float]], float]
) -> Interval:
    table = np.asarray(rows, dtype=np.float64)
    whole = total(table.sum(axis=0).tolist())
    return bootstrap(
        whole, len(table), lambda counts: [total(sums) for sums in (counts @ table).tolist()]
    )


def _divide(sums: Sequence[float]) -> float:
    return sums[0] / sums[1] if sums[1] else 0.0


def _raise(found: Interval, metric: Metric) -> Interval:
    """2 to the power of an interval, if the metric is that."""
    if not metric.is_power:
        return found
    low, high = (None if end is None else two_to(end) for end in (found.low, found.high))
    return replace(found, value=two_to(found.value), low=low, high=high)


def _end_at_bounds(found: Interval, metric: Metric, score: Score) -> Interval:
    """An interval that ends at the metric's bounds, with the engine's noise, as a record has it."""
    if found.low is None or found.high is None:
        return found
    row = metric.row(found.value, found.n, "", found.low, found.high)
    low, high, noise = _read(row["low"]), _read(row["high"]), float(score.noise or 0.0)
    assert low is not None
    assert high is not None
    return replace(found, low=max(0.0, low - noise) if noise else low, high=high + noise)


def _read(end: object) -> float | None:
    return None if end is None else float(str(end))


def _width(found: Interval) -> float:
    return 0.0 if found.low is None or found.high is None else found.high - found.low


def _is_near(published: float | None, computed: float | None, slack: float) -> bool:
    if published is None or computed is None:
        return published is computed
    return math.isclose(published, computed, rel_tol=EXACT, abs_tol=max(1e-9, slack))
