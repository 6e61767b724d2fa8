"""Statistics of rates, on drawn data: verdicts, intervals and ranks of models that took turns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmbench.stats import (
    RATE_ALPHA,
    TIE_RATE,
    Interval,
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


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_intervals_of_rates_are_students_at_any_level_and_from_two_blocks_on(level):
    from scipy import stats as scipy_stats

    for a in ([100.0, 130.0], [100.0, 130.0, 90.0]):
        logs = np.log(a)
        low, high = scipy_stats.t.interval(
            level, len(a) - 1, loc=logs.mean(), scale=scipy_stats.sem(logs)
        )
        found = block_interval(a, level)
        assert (found.value, found.n) == (float(np.median(a)), len(a))
        assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
        ratio, _ = block_difference(a, [1.0] * len(a), level)
        assert (ratio.value, ratio.low, ratio.high) == pytest.approx((logs.mean(), low, high))
        assert ratio.n == len(a)


def test_the_interval_of_a_rate_reaches_its_median_from_either_side():
    below = block_interval([100.0] * 20 + [1e4] * 19)
    assert below.low == below.value == 100.0 < below.high
    above = block_interval([100.0] * 20 + [1.0] * 19)
    assert above.low < above.value == above.high == 100.0


def test_one_block_has_its_value_and_no_interval():
    assert block_interval([5.0]) == Interval(5.0, None, None, 1)
    assert block_difference([8.0], [1.0]) == (Interval(math.log(8), None, None, 1), 1.0)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_p_of_two_rates_does_not_depend_on_the_level_of_the_interval(level):
    from scipy import stats as scipy_stats

    a, b = [3.0, 4.0, 5.0, 7.0], [2.0, 4.5, 4.0, 5.0]
    _, p = block_difference(a, b, level)
    assert p == pytest.approx(scipy_stats.ttest_rel(np.log(a), np.log(b)).pvalue)


def test_a_rate_is_judged_at_one_percent_with_a_margin_of_five_percent_in_logs():
    wide = Interval(0.5, 0.1, 0.9, 9)
    assert rate_verdict(wide, 0.01) == "better"
    assert rate_verdict(wide, 0.011) == "unclear"
    assert rate_verdict(Interval(-0.5, -0.9, -0.1, 9), 0.04, alpha=0.05) == "worse"
    assert rate_verdict(Interval(0.0, -0.0487, 0.0487, 9), 1.0) == "tie"
    assert rate_verdict(Interval(0.0, -0.0489, 0.0489, 9), 1.0) == "unclear"
    assert rate_verdict(Interval(0.0, -0.18, 0.18, 9), 1.0, margin=0.2) == "tie"


def test_the_smallest_visible_rate_is_the_median_over_pairs_at_the_first_level_of_holm():
    rng = np.random.default_rng(7)
    blocks = dict(zip("abc", drawn(rng, spread=0.05, models=3), strict=True))
    halves = []
    for one, other in ("ab", "ac", "bc"):
        found, _ = block_difference(blocks[one], blocks[other], 1 - 0.01 / 3)
        halves.append((found.high - found.low) / 2)
    half = sorted(halves)[1]
    found = rate_rank_sets(blocks)
    assert found.smallest_visible == pytest.approx(math.exp(half) - 1)
    assert found.items_needed == 2
    two = rate_rank_sets({name: blocks[name] for name in "ab"}).smallest_visible
    one, _ = block_difference(blocks["a"], blocks["b"], 0.99)
    assert two == pytest.approx(math.expm1((one.high - one.low) / 2))
    loose = rate_rank_sets(blocks, alpha=0.3, margin=1.0)
    halves = []
    for one, other in ("ab", "ac", "bc"):
        found, _ = block_difference(blocks[one], blocks[other], 0.9)
        halves.append((found.high - found.low) / 2)
    half = sorted(halves)[1]
    assert loose.smallest_visible == pytest.approx(math.exp(math.log(2) - half) - 1)
    alone = rate_rank_sets({"a": blocks["a"]})
    assert (alone.rank, alone.smallest_visible) == ({"a": (1, 1)}, None)
    assert rate_rank_sets({"a": [1.0], "b": [2.0]}).smallest_visible is None


def test_ranks_of_rates_take_alpha_and_margin():
    a, b = [10.0, 11.0, 12.0, 13.0], [9.0, 9.4, 11.5, 11.0]
    _, p = block_difference(a, b)
    assert 0.01 < p < 0.1
    assert rate_rank_sets({"a": a, "b": b}).better_than == {"a": set(), "b": set()}
    assert rate_rank_sets({"b": b, "a": a}, alpha=0.1).better_than == {"a": {"b"}, "b": set()}
    assert rate_rank_sets({"a": a, "b": b}, 0.1).better_than == {"a": {"b"}, "b": set()}
    assert rate_rank_sets({"a": a, "b": b}, 0.1, 0.5).better_than == {"a": set(), "b": set()}
