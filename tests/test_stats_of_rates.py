"""Statistics of rates, on drawn data: verdicts, intervals and ranks of models that took turns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmbench.stats import (
    RATE_ALPHA,
    TIE_RATE,
    block_difference,
    block_interval,
    rate_rank_sets,
    rate_verdict,
)

BLOCKS = 16


def drawn(rng, level=1000.0, spread=0.1, drift=0.1, models=2, blocks=BLOCKS):
    """Rates of equal models in rounds: what the machine does to a round it does to all, and each
    block has noise of its own.
    """
    rounds = np.exp(np.cumsum(rng.normal(0, drift, blocks)))
    return [level * rounds * np.exp(rng.normal(0, spread, blocks)) for _ in range(models)]


def test_a_model_against_itself_is_rarely_called_better_or_worse():
    rng, trials = np.random.default_rng(0), 4000
    said = [rate_verdict(*block_difference(*drawn(rng, spread=0.2))) for _ in range(trials)]
    false = sum(verdict in ("better", "worse") for verdict in said) / trials
    assert false <= RATE_ALPHA + 3 * math.sqrt(RATE_ALPHA * (1 - RATE_ALPHA) / trials)
    assert RATE_ALPHA <= 0.05


def test_an_interval_that_fits_the_margin_is_a_tie_however_significant():
    a = np.full(BLOCKS, 1000.0) * np.exp(np.random.default_rng(1).normal(0, 0.001, BLOCKS))
    difference, p = block_difference(a * 1.02, a[::-1])
    assert p < 1e-6
    assert rate_verdict(difference, p) == "tie"
    assert rate_verdict(*block_difference(a * (1 + 2 * TIE_RATE), a[::-1])) == "better"
    assert rate_verdict(*block_difference(a, a[::-1] * 2)) == "worse"


def test_the_difference_is_students_paired_test_on_logarithms():
    from scipy import stats as scipy_stats

    a, b = drawn(np.random.default_rng(2))
    difference, p = block_difference(a, b)
    known = scipy_stats.ttest_rel(np.log(a), np.log(b))
    assert p == pytest.approx(known.pvalue)
    low, high = known.confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((low, high))


def test_rounds_take_out_what_the_machine_does_to_all():
    a, b = drawn(np.random.default_rng(3), spread=0.01, drift=0.5)
    difference, _ = block_difference(a, b)
    assert difference.high - difference.low < 0.05
    assert block_interval(a).high / block_interval(a).low > 1.2


def test_the_interval_of_a_rate_is_students_over_logarithms_around_the_median():
    values = [100.0, 110.0, 90.0, 105.0, 95.0]
    found = block_interval(values)
    logs = np.log(values)
    half = 2.7764451 * logs.std(ddof=1) / math.sqrt(5)
    assert found.value == 100
    assert (found.low, found.high) == pytest.approx(
        (math.exp(logs.mean() - half), math.exp(logs.mean() + half))
    )
    assert block_interval([1.0, 1.0, 1.0, 1.0, 1e9]).low <= 1.0
    assert (block_interval([5.0]).low, block_interval([5.0]).high) == (None, None)


def test_intervals_of_rates_cover_as_often_as_they_say():
    rng, trials, level = np.random.default_rng(4), 3000, 0.0
    covered = 0
    for _ in range(trials):
        found = block_interval(np.exp(rng.normal(level, 0.1, BLOCKS)))
        covered += found.low <= math.exp(level) <= found.high
    assert 0.93 <= covered / trials <= 0.97 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_equal_blocks_are_equal_and_one_block_proves_nothing():
    assert block_difference([5, 5, 5], [5, 5, 5])[1] == 1.0
    assert block_difference([5, 5, 5], [4, 4, 4])[1] == 0.0
    assert block_difference([5], [4])[1] == 1.0


def test_ranks_of_rates_are_sets_and_the_faster_is_first():
    rng = np.random.default_rng(5)
    fast, same = drawn(rng, 2000, 0.02, 0.1)
    slow = drawn(rng, 500, 0.02, 0.1, models=1)[0]
    found = rate_rank_sets({"slow": slow, "fast": fast, "same": same})
    assert found.rank == {"slow": (3, 3), "fast": (1, 2), "same": (1, 2)}
    assert found.better_than["fast"] == {"slow"}
    assert TIE_RATE / 2 < found.smallest_visible < 1


def test_what_could_have_been_proven_lies_beyond_the_margin_of_a_tie():
    rng = np.random.default_rng(6)
    quiet = {
        name: 1000 * (1 + 0.03 * i) * np.exp(rng.normal(0, 0.003, BLOCKS))
        for i, name in enumerate("ab")
    }
    found = rate_rank_sets(quiet)
    assert found.rank == {"a": (1, 2), "b": (1, 2)}
    assert 0.04 < found.smallest_visible < TIE_RATE
