"""Differences of scores over prompts and raters: by hand, and against the paired t test."""

import math

import numpy as np
import pytest

from llmbench.results.tables.deviations import Deviations, find_difference, spread_deviations
from llmbench.stats import difference_interval


def name(values):
    return {str(number): float(value) for number, value in enumerate(values)}


def leave_out(values):
    """The deviations of a mean."""
    total, n = values.sum(), len(values)
    return name(spread_deviations((total - values) / (n - 1)))


def test_a_difference_of_means_has_the_interval_of_the_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.2, 1, 30), rng.normal(0, 1, 30)
    one, other = (Deviations(leave_out(x), {"ada": 0.0}, leave_out(x)) for x in (a, b))
    found, _, over = find_difference(a.mean() - b.mean(), one, other)
    expected = difference_interval(a, b, np.ones(30))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.n, over) == (30, "prompts")


def test_what_raters_add_to_single_votes_widens_the_interval():
    prompts, calm, torn = name([0.1, -0.1] * 10), name([0.1, -0.1]), name([0.5, -0.5])
    none = Deviations({}, {}, {})
    widths = []
    for raters in (calm, torn):
        found, p, over = find_difference(0.3, Deviations(prompts, raters, prompts), none)
        widths.append(found.high - found.low)
        assert over == "prompts and raters"
    assert widths[0] == pytest.approx(2 * 2.093 * math.sqrt(0.2), rel=1e-3)  # raters add nothing
    # 0.2 over prompts and 0.5 - 0.2 over raters, with 0.25 / (0.04 / 19 + 0.09) degrees of freedom
    assert widths[1] == pytest.approx(2 * 3.381 * math.sqrt(0.5), rel=0.02)
    assert p > 0.5


def test_units_of_one_name_are_the_same_on_both_sides():
    shared = name([0.3, -0.3, 0.1, -0.1])
    same = Deviations(shared, {"ada": 0.0}, shared)
    found, p, _ = find_difference(0.0, same, same)
    assert (found.low, found.high, p) == (0.0, 0.0, 1.0)
    apart = Deviations({f"x{key}": value for key, value in shared.items()}, {"ada": 0.0}, shared)
    assert find_difference(0.0, same, apart)[0].n == 8


def test_one_prompt_proves_nothing():
    one = Deviations({"0": 0.0}, {"ada": 0.0, "bob": 0.1}, {"0": 0.0})
    found, p, _ = find_difference(0.9, one, one)
    assert (found.low, found.high, p) == (None, None, 1.0)
