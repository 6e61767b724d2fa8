from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from llmbench import stats
from llmbench.stats import (
    Interval,
    difference_interval,
    holm,
    mean_interval,
    rank_sets,
    ranks,
    ratio_interval,
    sign_flip_p,
    sign_flip_ps,
    verdict,
    wilson_interval,
)


def test_ratio_with_equal_denominators_is_the_mean_with_its_t_interval():
    x = np.array([2.0, 3.5, 1.0, 4.0, 2.5])
    found = ratio_interval(x, np.ones(5))
    low, high = scipy.stats.t.interval(0.95, 4, loc=x.mean(), scale=scipy.stats.sem(x))
    assert (found.value, found.low, found.high) == pytest.approx((x.mean(), low, high))


def test_ratio_interval_by_hand():
    bits, size = np.array([10.0, 30.0, 26.0]), np.array([5.0, 10.0, 10.0])
    ratio = 66 / 25
    error = math.sqrt(3 / 2 * sum((bits - ratio * size) ** 2)) / 25
    half = scipy.stats.t.ppf(0.975, 2) * error
    assert ratio_interval(bits, size).high == pytest.approx(ratio + half)


def test_one_item_or_infinite_bits_have_no_interval():
    assert ratio_interval([5.0], [2.0]) == Interval(2.5, None, None, 1)
    assert ratio_interval([5.0, math.inf], [2.0, 2.0]).low is None


def test_paired_interval_is_far_tighter_than_two_apart():
    rng = np.random.default_rng(0)
    hard = rng.normal(2.0, 0.3, 40) * 1000
    a, b, size = hard + rng.normal(0, 5, 40), hard + 20 + rng.normal(0, 5, 40), np.full(40, 1000.0)
    paired, alone = difference_interval(a, b, size), ratio_interval(a, size)
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)
    assert paired.high < 0


def test_sign_flip_p_equals_enumeration():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 7), rng.normal(0.6, 1, 7)
    d = a - b
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=7)]
    assert sign_flip_p(a, b) == np.mean([s >= abs(d.sum()) - 1e-12 for s in sums])


def test_sign_flip_p_agrees_with_scipy_beyond_the_exact_range():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 30), rng.normal(0.4, 1, 30)
    other = scipy.stats.permutation_test(
        (a, b), lambda x, y: np.sum(x - y), permutation_type="samples", n_resamples=20_000, rng=3
    )
    assert sign_flip_p(a, b, flips=20_000) == pytest.approx(other.pvalue, abs=0.01)


def test_smallest_reachable_p_is_two_to_the_one_minus_m():
    assert sign_flip_p([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) == 2**-2


def test_equal_models_and_infinite_bits_prove_nothing():
    assert sign_flip_p([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert sign_flip_p([1.0, math.inf], [1.0, 2.0]) == 1.0


def test_holm_equals_the_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_rank_sets_separate_what_is_proven_and_join_what_is_not():
    rng = np.random.default_rng(4)
    base = rng.normal(3000, 300, 24)
    size = np.full(24, 1000.0)
    found = rank_sets(
        {"a": base, "b": base + rng.normal(0, 30, 24), "c": base + 500 + rng.normal(0, 30, 24)},
        size,
    )
    assert found.rank == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    assert found.better_than["a"] == {"c"}
    assert 0 < found.smallest_visible < 0.1


def test_two_items_can_prove_no_rank():
    found = rank_sets({"a": [1.0, 1.0], "b": [9.0, 9.0]}, [1.0, 1.0])
    assert found.rank == {"a": (1, 2), "b": (1, 2)}
    assert found.smallest_visible is None


@pytest.mark.parametrize("models", [2, 3, 10, 25])
def test_with_the_items_needed_and_not_one_fewer_something_can_be_proven(models):
    def ranking(count):
        size = np.full(count, 100.0)
        return rank_sets({f"m{i}": size * (1 + i) for i in range(models)}, size)

    needed = ranking(3).items_needed
    assert all(ranking(needed).better_than[f"m{i}"] for i in range(models - 1))
    assert not any(ranking(needed - 1).better_than.values())
    assert ranking(needed - 1).smallest_visible is None


def test_verdicts():
    assert verdict(Interval(0.001, -0.004, 0.006, 30), p=0.6) == "tie"
    assert verdict(Interval(-0.2, -0.3, -0.1, 30), p=0.001) == "better"
    assert verdict(Interval(0.2, 0.1, 0.3, 30), p=0.001) == "worse"
    assert verdict(Interval(0.2, -0.1, 0.5, 5), p=0.2) == "unclear"
    assert verdict(Interval(0.2, None, None, 1), p=1.0) == "unclear"


@pytest.mark.slow
def test_intervals_cover_and_false_alarms_stay_rare_on_drawn_data():
    """Documents of uneven length whose rate varies: coverage within 93 to 97 %, false alarms at
    most 5 % plus three Monte Carlo errors.
    """
    rng = np.random.default_rng(5)
    rounds, covered, alarms = 2000, 0, 0
    for _ in range(rounds):
        size = rng.integers(1500, 3000, 30).astype(float)
        a = size * rng.normal(2.0, 0.15, 30)
        found = ratio_interval(a, size)
        covered += found.low <= 2.0 <= found.high
        shift = rng.normal(0, 0.02, (2, 30)) * size
        alarms += (
            sign_flip_p(a + shift[0], a + shift[1], flips=2000, seed=int(rng.integers(1 << 30)))
            <= 0.05
        )
    assert 0.93 <= covered / rounds <= 0.97
    assert alarms / rounds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


@pytest.mark.parametrize("items", [7, 16, 17, 40])
def test_many_pairs_share_their_patterns_and_have_the_p_that_each_has_alone(items):
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 1, (6, items)), rng.normal(0.4, 1, (6, items))
    b[2] = a[2]
    b[4, 0] = math.inf
    found = sign_flip_ps(a - b, flips=5000)
    assert found == [sign_flip_p(x, y, flips=5000) for x, y in zip(a, b, strict=True)]
    assert found[2] == found[4] == 1.0
    assert max(found[:2]) < 1.0
    assert sign_flip_ps(np.empty((0, items))) == []
    assert sign_flip_ps(np.empty((2, 0))) == [1.0, 1.0]


@pytest.mark.parametrize("items", [16, 300])
def test_patterns_are_taken_in_portions_that_change_no_p(items, monkeypatch):
    d = np.random.default_rng(6).normal(0.1, 1, (3, items))
    whole = sign_flip_ps(d, flips=2000)
    monkeypatch.setattr("llmbench.stats.PORTION", 1000)
    assert sign_flip_ps(d, flips=2000) == whole


@pytest.mark.parametrize("low", [-0.02, -0.009])
def test_a_tie_needs_the_whole_interval_inside_the_margin(low):
    """The value alone says nothing: a wide interval around 0 is unclear."""
    found = stats.verdict(stats.Interval(0.0, low, 0.009, 8), 1.0)
    assert found == ("tie" if low == -0.009 else "unclear")


def test_up_to_sixteen_items_each_pattern_of_signs_is_tried_once(monkeypatch):
    seen = []
    real = stats._count_reached
    monkeypatch.setattr(
        stats, "_count_reached", lambda signs, *rest: seen.append(signs) or real(signs, *rest)
    )
    stats.sign_flip_p([3.0, 1.0, 2.0], [1.0, 2.0, 4.0])
    (signs,) = seen
    assert sorted(map(tuple, signs.tolist())) == [
        (1, *rest) for rest in itertools.product((-1, 1), repeat=2)
    ]


@pytest.mark.parametrize(("models", "flips"), [(2, 10_000), (6, 12_000), (20, 152_000)])
def test_the_flips_grow_with_the_number_of_pairs(monkeypatch, models, flips):
    """40 / (alpha / pairs): fewer could not reach the first level of Holm's correction well."""
    asked = []
    monkeypatch.setattr(
        stats, "sign_flip_ps", lambda d, flips, seed: asked.append(flips) or [1.0] * len(d)
    )
    stats.rank_sets({str(i): [1.0, 2.0] for i in range(models)}, [1.0, 1.0])
    assert asked == [flips]


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_intervals_are_students_at_any_level_and_from_two_items_on(level):
    for x in (np.array([2.0, 3.5]), np.array([2.0, 3.5, 1.0, 4.0])):
        low, high = scipy.stats.t.interval(
            level, len(x) - 1, loc=x.mean(), scale=scipy.stats.sem(x)
        )
        assert ratio_interval(x, np.ones(len(x)), level) == Interval(
            pytest.approx(x.mean()), pytest.approx(low), pytest.approx(high), len(x)
        )
        shifted = difference_interval(x + 1, np.ones(len(x)), np.ones(len(x)), level)
        assert (shifted.low, shifted.high) == pytest.approx((low, high))


def test_a_difference_of_ratios_is_that_of_the_sums():
    found = difference_interval([3, 5], [1, 4], [2, 4])
    assert found.value == pytest.approx(3 / 6)
    assert found.n == 2


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (9, 9), (33, 33), (1, 30), (29, 30)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_of_a_share_is_wilsons(hits, n, level):
    known = scipy.stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    found = wilson_interval(hits, n, level)
    assert (found.value, found.n) == (hits / n, n)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)
    assert (found.low == 0.0, found.high == 1.0) == (hits == 0, hits == n)
    if level == 0.95:
        assert wilson_interval(hits, n) == found


@pytest.mark.parametrize(("hits", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_hits_beyond_the_items_are_no_share(hits, n):
    with pytest.raises(ValueError, match=f"^{hits} of {n} is no share$"):
        wilson_interval(hits, n)


def test_beyond_sixteen_items_patterns_are_drawn_and_the_observed_one_counts():
    rng = np.random.default_rng(7)
    d = rng.normal(0.4, 1, 17)

    def p(seed, flips):
        signs = np.random.default_rng(seed).integers(0, 2, (flips, 17), dtype=np.int8)
        reached = np.count_nonzero(np.abs((2.0 * signs - 1) @ d) >= abs(d.sum()))
        return (reached + 1) / (flips + 1)

    assert sign_flip_p(d, np.zeros(17), flips=500, seed=3) == p(3, 500)
    assert sign_flip_p(d, np.zeros(17)) == p(0, 10_000)
    assert sign_flip_ps(d[None]) == [p(0, 10_000)]


def test_patterns_of_many_items_are_drawn_four_million_signs_at_a_time():
    items, flips = 400_000, 21
    d = np.random.default_rng(8).normal(0.001, 1, items)
    drawn = np.random.default_rng(0)
    reached = 0
    for size in (10, 10, 1):
        signs = drawn.integers(0, 2, (size, items), dtype=np.int8)
        reached += np.count_nonzero(np.abs((2.0 * signs - 1) @ d) >= abs(d.sum()))
    assert sign_flip_ps(d[None], flips) == [(reached + 1) / (flips + 1)]


@pytest.mark.parametrize("scale", [1, 2**30, 2**-30])
def test_sums_that_differ_by_rounding_only_are_as_far_apart(scale):
    """Added one after the other these are 1.7999999999999998, and 1.8 if rounded once: the observed
    arrangement must count all the same, at any scale. Another pair's large items change nothing.
    """
    assert math.fsum([0.3, 0.9, 0.6]) > 0.3 + 0.9 + 0.6
    d = scale * np.array([0.3, 0.9, 0.6])
    assert sign_flip_p(d, np.zeros(3)) == 2**-2
    assert sign_flip_ps(np.array([d, 1e14 * d])) == [2**-2, 2**-2]
    assert sign_flip_p(scale * np.array([0.1, 0.2, -0.3]), np.zeros(3)) == 1.0


def test_the_observed_pattern_counts_where_there_is_no_room_for_rounding():
    assert sign_flip_p([5e-324], [0.0]) == 1.0


def test_sixteen_items_are_tried_in_all_patterns():
    assert sign_flip_p(np.ones(16), np.zeros(16)) == 2**-15


def test_differences_of_items_in_single_precision_are_taken_in_double(monkeypatch):
    seen = []
    monkeypatch.setattr(stats, "sign_flip_ps", lambda d, *rest: seen.append(d.tolist()) or [1.0])
    rank_sets({"a": np.float32([2**24 + 2]), "b": np.float32([1])}, [1.0])
    assert seen == [[[2.0**24 + 1]]]


def test_holms_values_never_fall_and_never_pass_one():
    assert holm([0.02, 0.021, 0.9, 0.6]) == pytest.approx([0.08, 0.08, 1.0, 1.0])
    assert holm([0.3]) == [0.3]


def test_ranks_count_who_is_better_and_who_is_worse():
    better = {"a": {"c", "d"}, "b": {"d"}, "c": set(), "d": set()}
    assert ranks(better) == {"a": (1, 2), "b": (1, 3), "c": (2, 4), "d": (3, 4)}


def test_the_smallest_visible_difference_is_the_median_half_width_at_holms_first_level():
    rng = np.random.default_rng(8)
    size = rng.integers(50, 150, 12).astype(float)
    bits = {name: size * rng.normal(2.0, 0.3, 12) for name in "abc"}
    halves = []
    for one, other in ("ab", "ac", "bc"):
        d = bits[one] - bits[other]
        error = math.sqrt(12 / 11 * sum((d - d.sum() / size.sum() * size) ** 2)) / size.sum()
        halves.append(scipy.stats.t.ppf(1 - 0.05 / 3 / 2, 11) * error)
    found = rank_sets(bits, size)
    assert found.smallest_visible == pytest.approx(sorted(halves)[1])
    assert found.items_needed == 7  # 2^(1 - 7) is below 0.05 / 3
    assert rank_sets(bits, size, alpha=0.5).items_needed == 4
    assert rank_sets({"a": bits["a"]}, size).smallest_visible is None
    infinite = {**bits, "c": np.full(12, math.inf)}
    assert rank_sets(infinite, size).smallest_visible == pytest.approx(halves[0])


def test_a_model_whose_difference_is_significant_at_alpha_itself_is_better():
    """Six items that all say the same: p = 2^-5."""
    items, size = {"worse": [2.0] * 6, "best": [1.0] * 6}, [1.0] * 6
    assert rank_sets(items, size, alpha=2**-5).better_than == {"worse": set(), "best": {"worse"}}
    assert rank_sets(items, size, alpha=2**-5 - 1e-9).better_than["best"] == set()
    found = rank_sets(items, size)
    assert found.rank == {"worse": (2, 2), "best": (1, 1)}
    assert (found.items_needed, found.smallest_visible) == (6, 0.0)


def test_ranks_depend_on_the_seed_only_where_patterns_are_drawn():
    rng = np.random.default_rng(9)
    items = {"a": rng.normal(0, 1, 20), "b": rng.normal(0.55, 1, 20)}
    p = {seed: sign_flip_p(items["a"], items["b"], seed=seed) for seed in range(6)}
    alpha = sorted(p.values())[3]
    assert len(set(p.values())) > 1
    for seed, one in p.items():
        found = rank_sets(items, np.ones(20), alpha, seed)
        assert bool(found.better_than["a"]) == (one <= alpha)
    assert rank_sets(items, np.ones(20), p[0]).better_than["a"] == {"b"}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.01, 0.005, "unclear"),
        (-0.005, 0.01, "unclear"),
        (-0.0099, 0.0099, "tie"),
        (None, 0.001, "unclear"),
        (-0.001, None, "unclear"),
    ],
)
def test_a_tie_lies_strictly_inside_a_hundredth_of_a_bit(low, high, said):
    assert verdict(Interval(0.0, low, high, 9), 1.0) == said


def test_a_verdict_needs_a_p_of_at_most_alpha_and_a_difference():
    wide = Interval(-0.5, -1.0, 0.0, 9)
    assert verdict(wide, 0.05) == "better"
    assert verdict(wide, 0.0501) == "unclear"
    assert verdict(wide, 0.02, alpha=0.01) == "unclear"
    assert verdict(wide, 1.0, margin=2.0) == "tie"
    assert verdict(Interval(0.0, -1.0, 1.0, 9), 0.0) == "unclear"


def test_items_in_single_precision_are_computed_in_double():
    rng = np.random.default_rng(10)
    a, b, n = (rng.uniform(1, 2, 12).astype(np.float32) for _ in range(3))
    wide_a, wide_b, wide_n = (x.astype(np.float64) for x in (a, b, n))
    for found, known in (
        (ratio_interval(a, wide_n), ratio_interval(wide_a, wide_n)),
        (ratio_interval(wide_a, n), ratio_interval(wide_a, wide_n)),
        (difference_interval(a, b, n), difference_interval(wide_a, wide_b, wide_n)),
        (difference_interval(a, wide_b, n), difference_interval(wide_a, wide_b, wide_n)),
        (stats.block_interval(a), stats.block_interval(wide_a)),
        (stats.block_difference(a, wide_b), stats.block_difference(wide_a, wide_b)),
        (stats.block_difference(wide_a, b), stats.block_difference(wide_a, wide_b)),
        (
            rank_sets({"a": a, "b": b}, n).smallest_visible,
            rank_sets({"a": wide_a, "b": wide_b}, wide_n).smallest_visible,
        ),
    ):
        assert found == known


def test_models_are_not_ranked_apart_by_less_than_their_engines_noise():
    bits = np.random.default_rng(0).gamma(4.0, 100.0, 40)
    items, sizes = {"float": bits, "rounded": bits * 1.01 + 0.5}, np.full(40, 400.0)
    gap = float((items["rounded"] - bits).sum() / sizes.sum())
    assert stats.rank_sets(items, sizes).better_than["float"] == {"rounded"}
    for noise, proven in ((0.9 * gap, True), (1.1 * gap, False)):
        found = stats.rank_sets(items, sizes, noise={"rounded": noise})
        assert found.better_than["float"] == ({"rounded"} if proven else set())
        assert (found.rank["float"] == (1, 1)) == proven


def test_the_interval_of_a_mean_adds_squares_and_within_a_group_widths():
    one, two, three = (
        Interval(0.5, 0.4, 0.8, 10),
        Interval(0.2, 0.0, 0.25, 5),
        Interval(0, -1, 1, 7),
    )
    found = mean_interval([one, two], ["a", "b"])
    assert (found.value, found.n) == (0.35, 15)
    assert found.low == pytest.approx(0.35 - math.hypot(0.1, 0.2) / 2)
    assert found.high == pytest.approx(0.35 + math.hypot(0.3, 0.05) / 2)
    found = mean_interval([one, two, three], ["a", "b", "a"])
    assert found.low == pytest.approx(0.7 / 3 - math.hypot(1.1, 0.2) / 3)
    assert found.high == pytest.approx(0.7 / 3 + math.hypot(1.3, 0.05) / 3)


@pytest.mark.parametrize("other", [Interval(1.0, None, 1.0, 3), Interval(1.0, 0.0, None, 3)])
def test_a_mean_of_what_has_no_interval_has_none(other):
    found = mean_interval([Interval(0.0, -1.0, 1.0, 4), other], ["a", "b"])
    assert found == Interval(0.5, None, None, 7)


def test_a_mean_needs_a_group_for_each_estimate():
    with pytest.raises(ValueError, match="argument"):
        mean_interval([Interval(0.0, -1.0, 1.0, 4)], ["a", "b"])
