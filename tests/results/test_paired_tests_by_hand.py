"""Paired tests: closed forms, values by hand, and where each formula ends."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import scipy.stats

from llmbench.metrics.facts import FACTS, METRICS
from llmbench.metrics.metric import Metric
from llmbench.metrics.registry import create_metric
from llmbench.results import paired_tests
from llmbench.results.paired_tests import (
    Difference,
    corpus_difference,
    corpus_total,
    difference,
    is_consistent,
    items_needed,
    judge,
    quality_rank_sets,
    randomisation_p,
    ratio_difference,
    share_difference,
    value_of,
    welch_difference,
)
from llmbench.stats import Interval, sign_flip_p

RATIO = Metric("mine", "share", "higher", "a ratio of sums", test="ratio")
ITEMS = Metric("theirs", "points", "higher", "from outside", test="items")
RATE = FACTS["decode_bytes_per_second"]
ROWS = [[3.0, 4.0], [1.0, 5.0], [2.0, 2.0], [5.0, 3.0]]
OTHERS = [[5.0, 3.0], [2.0, 2.0], [1.0, 5.0], [1.0, 1.0]]


def shares(right):
    return [[float(one), 1.0] for one in right]


def record(seen, sums):
    """A total that keeps the sums it is asked for."""
    seen.append(sums)
    return 0.0


def ratio(sums):
    return sums[0] / sums[1]


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_interval_of_a_difference_of_shares_has_the_level_asked_for(level):
    a, b = shares([1, 1, 1, 1, 0, 0, 0, 1]), shares([0, 0, 0, 1, 1, 0, 0, 1])
    found = share_difference(a, b, level)
    half = scipy.stats.norm.ppf((1 + level) / 2) * math.sqrt(3 + 1 + 1 - 2**2 / 10) / 10
    assert (found.interval.low, found.interval.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert (found.interval.value, found.interval.n, found.test) == (0.25, 8, "McNemar")


def test_the_interval_of_a_difference_of_shares_never_leaves_minus_one_to_one():
    all_right, all_wrong = shares([1] * 3), shares([0] * 3)
    found = share_difference(all_right, all_wrong).interval
    half = 1.959964 * math.sqrt(3 + 1 - 9 / 5) / 5
    assert (found.low, found.high) == (pytest.approx(0.6 - half), 1.0)
    found = share_difference(all_wrong, all_right).interval
    assert (found.low, found.high) == (-1.0, pytest.approx(half - 0.6))


def test_the_interval_of_a_difference_of_shares_holds_its_value_at_any_level():
    all_right, all_wrong = shares([1] * 100), shares([0] * 100)
    assert share_difference(all_right, all_wrong, 0.1).interval.high == 1.0
    assert share_difference(all_wrong, all_right, 0.1).interval.low == -1.0


@pytest.mark.parametrize("right", [[1], [1, 0, 1]])
@pytest.mark.parametrize("compare", [share_difference, ratio_difference])
def test_rows_of_different_lengths_are_no_pairs(compare, right):
    with pytest.raises(ValueError, match=f"{len(right)} and 2 items cannot be paired"):
        compare(shares(right), shares([1, 0]))


def test_means_have_a_level_and_ten_thousand_flips():
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 1, 20), rng.uniform(0.2, 1, 20)
    rows = [[[x, 1.0] for x in side] for side in (a, b)]
    found = ratio_difference(*rows, level=0.8)
    low, high = scipy.stats.t.interval(0.8, 19, loc=np.mean(a - b), scale=scipy.stats.sem(a - b))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.p == sign_flip_p(a, b, 10_000)
    assert ratio_difference(*rows, 50).p == sign_flip_p(a, b, 50)
    assert ratio_difference(*rows).interval == difference(FACTS["f1"], *rows).interval


def test_a_difference_of_totals_is_that_of_the_ratios_of_sums():
    found = corpus_difference(ROWS, OTHERS, ratio, trials=30)
    assert found.interval.value == pytest.approx(11 / 14 - 9 / 11)
    assert found.interval.n == 4
    assert found.test == "approximate randomisation"
    assert found.p == randomisation_p(ROWS, OTHERS, ratio, 30)


def test_the_bootstrap_of_a_difference_resamples_both_systems_together():
    """B is A with one more in each numerator, of equal denominators: each resample has that."""
    a = [[float(x), 2.0] for x in range(1, 13)]
    b = [[x + 1, y] for x, y in a]
    found = corpus_difference(b, a, ratio, trials=10).interval
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_random_swaps_by_hand():
    """Each trial of a matrix of choices, one after the other."""
    rng = np.random.default_rng(2)
    a, b = rng.integers(1, 9, (7, 2)).astype(float), rng.integers(1, 9, (7, 2)).astype(float)

    def apart(x, y):
        return abs(ratio(x.sum(axis=0)) - ratio(y.sum(axis=0)))

    def p(seed, trials):
        chosen = np.random.default_rng(seed).integers(2, size=(trials, 7), dtype=bool)[:, :, None]
        reached = [
            apart(np.where(row, a, b), np.where(row, b, a)) >= apart(a, b) - 1e-12 for row in chosen
        ]
        return (sum(reached) + 1) / (trials + 1)

    assert randomisation_p(a, b, ratio, 200, 9) == p(9, 200)
    assert randomisation_p(a, b, ratio) == p(12345, 10_000)
    assert randomisation_p(a, b, ratio, 1) == p(12345, 1)


@pytest.mark.parametrize(
    ("scale", "noise", "p"),
    [
        (1.0, 0.5e-9, 1.0),
        (1e6, 0.5e-9, 1.0),
        (1.0, 1.5e-9, 1 / 51),
        (1e6, 1.5e-9, 1 / 51),
    ],
)
def test_totals_that_differ_by_rounding_only_are_as_far_apart(scale, noise, p):
    """The first total, of the observed ones, is a little too large: every swap gives the same
    distance but for that, and beyond a billionth it counts.
    """
    first = itertools.chain([noise], itertools.repeat(0.0))

    def total(sums):
        return scale * (sums[0] + next(first))

    assert randomisation_p([[1.0], [0.0]], [[0.0], [0.0]], total, 50) == p


def test_a_billionth_itself_is_rounding():
    first = itertools.chain([1e-9], itertools.repeat(0.0))
    assert randomisation_p([[0.0]], [[0.0]], lambda sums: next(first), 50) == 1.0


def test_welch_takes_the_level_and_the_smaller_number_of_blocks():
    a, b = [2.0, 3.0, 2.5], [1.0, 1.5, 1.2, 0.9]
    known = scipy.stats.ttest_ind(np.log(a), np.log(b), equal_var=False)
    for level in (0.8, 0.95):
        low, high = known.confidence_interval(level)
        found = welch_difference(a, b, level)
        assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
        assert found.interval.value == pytest.approx(np.mean(np.log(a)) - np.mean(np.log(b)))
        assert (found.interval.n, found.p, found.test) == (3, pytest.approx(known.pvalue), "Welch")
    assert welch_difference(b, a).interval.n == 3
    assert welch_difference(a, b) == welch_difference(a, b, 0.95)


@pytest.mark.parametrize(
    ("a", "b"), [([4.0], [1.0, 2.0]), ([1.0, 2.0], [4.0]), ([2.0, 2.0], [1.0, 1.0])]
)
def test_one_block_or_equal_ones_prove_nothing_by_welchs_test(a, b):
    found = welch_difference(a, b)
    value = np.mean(np.log(a)) - np.mean(np.log(b))
    assert found == Difference(
        Interval(pytest.approx(value), None, None, min(len(a), len(b))), 1.0, "Welch"
    )


def test_two_blocks_of_which_one_model_has_equal_ones_have_an_interval():
    for a, b in (([2.0, 2.0], [1.0, 3.0]), ([1.0, 3.0], [2.0, 2.0])):
        found = welch_difference(a, b)
        assert found.interval.low < found.interval.value < found.interval.high
        assert 0 < found.p < 1


@pytest.mark.parametrize("name", [one.name for one in METRICS if one.test == "corpus"])
def test_a_corpus_metric_is_compared_by_its_own_formula(name):
    scorer = create_metric(name)
    said = ["the tap drips all day", "a kettle sat there", "no spoon is here"]
    rows = [scorer.measure(text, "the kettle sat here all day") for text in said]
    sums = np.sum(rows, axis=0).tolist()
    assert corpus_total(name)(sums) == scorer.total(sums)
    assert value_of(FACTS[name], rows) == scorer.value(rows).value
    found = difference(FACTS[name], rows, rows[::-1])
    assert (found.interval.value, found.p) == (0.0, 1.0)
    other = difference(FACTS[name], rows, [rows[0]] * 3)
    assert other.interval.value == scorer.value(rows).value - scorer.value([rows[0]] * 3).value


def test_a_ratio_of_sums_is_compared_by_swaps_and_over_nothing_it_is_zero():
    a, b = [[3.0, 4.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]
    found = difference(RATIO, a, b)
    assert found.interval.value == 0.75
    assert found.test == "approximate randomisation"
    assert difference(RATIO, ROWS, b * 2).interval.value == pytest.approx(11 / 14)


def test_a_power_is_finite_up_to_two_to_the_thousandth():
    power = FACTS["word_perplexity"]
    assert value_of(power, [[1000.0, 1.0]]) == 2.0**1000
    assert value_of(power, [[1000.5, 1.0]]) == math.inf
    assert value_of(FACTS["bits_per_byte"], [[5000.0, 1.0]]) == 5000.0


def test_statistics_fit_a_score_up_to_rounding():
    accuracy, rows = FACTS["accuracy"], shares([1, 0, 0, 1])
    assert is_consistent(accuracy, rows, 0.5)
    assert is_consistent(accuracy, rows, 0.5 * (1 + 9e-7))
    assert not is_consistent(accuracy, rows, 0.5 * (1 + 1.1e-6))
    none = shares([0, 0])
    assert is_consistent(accuracy, none, 9e-10)
    assert not is_consistent(accuracy, none, 1.1e-9)


@pytest.mark.parametrize(
    "rows", [[], [[1.0]], [[]], [[1.0, 1.0], [1.0]], [[1.0, 0.0]], [["a", 1.0]], [[None, 1.0]]]
)
def test_statistics_that_a_metric_cannot_have_fit_no_score(rows):
    assert not is_consistent(FACTS["accuracy"], rows, 1.0)
    assert is_consistent(ITEMS, rows, 1.0)  # compared by the values of items, which are not checked


def test_each_kind_of_metric_has_its_test():
    bits = [[10.0, 4.0], [3.0, 2.0], [8.0, 4.0]]
    other = [[12.0, 4.0], [3.5, 2.0], [8.0, 4.0]]
    found = difference(FACTS["bits_per_byte"], bits, other)
    assert (found.test, found.interval.value) == ("sign flips", pytest.approx(-0.25))
    assert difference(FACTS["accuracy"], shares([1, 0]), shares([0, 0])).test == "McNemar"
    assert difference(RATE, bits, other).test == "paired t"
    assert difference(RATE, bits, other, in_turns=False).test == "Welch"
    assert difference(RATE, bits, other, in_turns=False) == welch_difference(
        [10.0, 3.0, 8.0], [12.0, 3.5, 8.0]
    )


def test_one_test_takes_ten_thousand_flips_or_swaps(monkeypatch):
    asked = []
    monkeypatch.setattr(
        paired_tests, "ratio_difference", lambda a, b, flips: asked.append(flips) or None
    )
    monkeypatch.setattr(
        paired_tests, "corpus_difference", lambda a, b, total, trials: asked.append(trials)
    )
    for tests in ((), (12,), (13,), (101,)):
        difference(FACTS["bits_per_byte"], ROWS, ROWS, *tests)
        difference(RATIO, ROWS, ROWS, *tests)
    assert asked == [10_000, 10_000, 10_000, 10_000, 10_400, 10_000, 80_800, 10_100]


def test_items_in_single_precision_are_computed_in_double():
    rng = np.random.default_rng(3)
    a, b = (rng.uniform(1, 2, (9, 2)).astype(np.float32) for _ in range(2))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    for pair in ((a, wide_b), (wide_a, b)):
        assert ratio_difference(*pair) == ratio_difference(wide_a, wide_b)
        assert welch_difference(*(x[:, 0] for x in pair)) == welch_difference(
            wide_a[:, 0], wide_b[:, 0]
        )
        seen: list[list[float]] = []
        randomisation_p(*pair, partial(record, seen), 1)
        assert seen[:2] == [wide_a.sum(axis=0).tolist(), wide_b.sum(axis=0).tolist()]
        found = corpus_difference(*pair, ratio, 9).interval
        assert found.value == ratio(wide_a.sum(axis=0)) - ratio(wide_b.sum(axis=0))
    assert value_of(FACTS["bits_per_byte"], a) == value_of(FACTS["bits_per_byte"], wide_a)
    assert value_of(RATE, np.float32([[1, 1], [1 + 2**-23, 1]])) == 1 + 2**-24


def test_a_direction_that_is_unknown_makes_no_verdict_and_higher_turns_it():
    found = Difference(Interval(0.5, 0.4, 0.6, 30), 0.001, "a test")
    assert judge(RATIO, None, found, 0.001) == "unclear"
    assert judge(RATIO, "lower", found, 0.001) == "worse"
    assert judge(RATIO, "higher", found, 0.001) == "better"
    assert judge(RATIO, "higher", found, 0.06) == "unclear"


@pytest.mark.parametrize(
    ("tests", "needed"), [(0, 6), (1, 6), (2, 7), (3, 7), (4, 8), (10, 9), (45, 11)]
)
def test_the_items_needed_are_those_of_the_smallest_p(tests, needed):
    assert items_needed(tests) == needed
    level = 0.05 / max(1, tests)
    assert 2.0 ** (1 - needed) <= level < 2.0 ** (2 - needed)


def test_six_answers_rank_two_models_and_five_do_not():
    items = {"wrong": shares([0] * 6), "right": shares([1] * 6)}
    found = quality_rank_sets(FACTS["accuracy"], items)
    assert found.rank == {"wrong": (2, 2), "right": (1, 1)}
    assert found.better_than == {"wrong": set(), "right": {"wrong"}}
    half = 1.959964 * math.sqrt(6 + 1 - 36 / 8) / 8  # around 6 / 8, and cut off at 1
    assert found.smallest_visible == pytest.approx((1 - 0.75 + half) / 2)
    assert found.items_needed == 6
    fewer = quality_rank_sets(FACTS["accuracy"], {name: x[:5] for name, x in items.items()})
    assert fewer.rank == {"wrong": (1, 2), "right": (1, 2)}
    assert fewer.smallest_visible is None


def test_one_model_alone_is_first_and_nothing_was_visible():
    found = quality_rank_sets(FACTS["accuracy"], {"alone": shares([1] * 20)})
    assert (found.rank, found.better_than) == ({"alone": (1, 1)}, {"alone": set()})
    assert (found.smallest_visible, found.items_needed) == (None, 6)


def test_ranks_are_held_to_the_number_of_pairs(monkeypatch):
    """Each pair is tested as one of three, and Holm's values decide at 5 %, that included."""
    asked = []
    p = {(1.0, 2.0): 0.05 / 3, (1.0, 3.0): 0.05, (2.0, 3.0): 0.026}

    def found(metric, a, b, tests):
        asked.append((metric, tests))
        value = b[0][0] - a[0][0]
        return Difference(Interval(value, None, None, 9), p[a[0][0], b[0][0]], "a test")

    monkeypatch.setattr(paired_tests, "difference", found)
    monkeypatch.setattr(paired_tests, "ALPHA", 0.05)
    items = {name: [[float(i), 1.0]] for i, name in enumerate("abc", 1)}
    ranking = quality_rank_sets(FACTS["bleu"], items)
    assert asked == [(FACTS["bleu"], 3)] * 3
    assert ranking.better_than == {"a": {"b"}, "b": set(), "c": set()}
    p[2.0, 3.0] = 0.025
    ranking = quality_rank_sets(FACTS["bleu"], items)
    assert ranking.better_than == {"a": {"b", "c"}, "b": {"c"}, "c": set()}
