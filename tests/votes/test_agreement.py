"""Agreement of raters with each other and with themselves, and a preference for a side."""

import numpy as np
import pytest
from support.simulated_raters import list_votes, make_vote

from llmbench.votes.strengths.agreement import (
    binomial_p,
    compute_alpha,
    count_coincidences,
    describe_raters,
    measure_agreement,
    measure_repeats,
)

# Krippendorff 2011, section C: twelve units, four observers, values missing
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def alpha_of(*observers):
    units = zip(*(line.split() for line in observers), strict=True)
    kinds = sorted({value for line in observers for value in line.split() if value != "."})
    tables = [
        count_coincidences([kinds.index(value) for value in unit if value != "."], len(kinds))
        for unit in units
    ]
    return compute_alpha(np.sum(tables, axis=0)[None])[0]


def test_alpha_is_that_of_krippendorffs_example_with_missing_values():
    assert alpha_of(*OBSERVERS) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_that_of_krippendorffs_examples_of_two_observers():
    binary = alpha_of("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
    assert binary == pytest.approx(0.095, abs=5e-4)
    nominal = alpha_of("a a b b d c c c e d d a", "b a b b b c c c e d d d")
    assert nominal == pytest.approx(0.692, abs=5e-4)


def test_raters_who_agree_on_all_have_an_alpha_of_one():
    votes = list_votes(
        ("a", "b", "left", "0", "ada"),
        ("b", "a", "right", "0", "bob"),  # the same verdict, sides swapped
        ("a", "b", "tie", "1", "ada"),
        ("a", "b", "good", "1", "bob"),  # all ties are one verdict
    )
    found = measure_agreement(votes, 0, 100)
    assert found.alpha.value == pytest.approx(1.0)
    assert found.pairs == 2


def test_alpha_does_not_depend_on_what_contestants_are_called():
    rows = [
        ("x", "y", verdict, str(n // 2), rater)
        for n, (verdict, rater) in enumerate(
            [
                ("left", "ada"),
                ("right", "bob"),
                ("left", "ada"),
                ("left", "bob"),
                ("tie", "ada"),
                ("left", "bob"),
                ("right", "ada"),
                ("right", "bob"),
            ]
        )
    ]
    renamed = [
        ("y" if left == "x" else "x", "x" if left == "x" else "y", *rest) for left, _, *rest in rows
    ]
    one, other = (measure_agreement(list_votes(*some), 0, 200) for some in (rows, renamed))
    assert one == other


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("a", "b", "left", "0", "ada"), ("a", "b", "left", "1", "bob")], "no two raters"),
        ([("a", "b", "tie", "0", "ada"), ("a", "b", "bad", "0", "bob")], "every verdict is a tie"),
    ],
)
def test_alpha_that_is_undefined_has_a_reason(rows, why):
    found = measure_agreement(list_votes(*rows), 0, 100)
    assert found.alpha is None
    assert why in found.why


def test_the_interval_of_alpha_covers_its_value_and_raters_at_random_have_none():
    rng = np.random.default_rng(0)
    rows = [
        ("a", "b", rng.choice(["left", "right", "tie"]), str(prompt), rater)
        for prompt in range(100)
        for rater in ("ada", "bob", "cyd")
    ]
    found = measure_agreement(list_votes(*rows), 0, 500).alpha
    assert found.low < 0 < found.high
    assert found.low < found.value < found.high


def test_a_repeat_is_the_same_verdict_whichever_side_the_answers_are_on():
    first = [make_vote("0", "a", "b", "left"), make_vote("1", "a", "b", "left")]
    again = [
        make_vote("2", "b", "a", "right", repeat_of="vote-0"),
        make_vote("3", "b", "a", "left", repeat_of="vote-1"),
        make_vote("4", "b", "a", "left", repeat_of="of no vote that counts"),
    ]
    found = measure_repeats(first + again)
    assert (found.value, found.n) == (0.5, 2)
    assert measure_repeats(first) is None


def test_a_rater_who_always_clicks_left_is_seen_and_an_even_one_is_not():
    rows = []
    for number in range(12):
        rows.append(("a", "b", "left", str(number), "lefty"))
        rows.append(("a", "b", ("left", "right")[number % 2], str(number), "even"))
        rows.append(("b", "a", "tie", str(number), "undecided"))
    found = {rater.name: rater for rater in describe_raters(list_votes(*rows))}
    assert found["lefty"].prefers == "left"
    assert (found["lefty"].left.value, found["lefty"].p) == (1.0, 2 / 2**12)
    assert (found["even"].prefers, found["even"].left.value) == ("", 0.5)
    assert (found["undecided"].prefers, found["undecided"].left) == ("", None)


def test_answers_that_nobody_saw_say_nothing_of_sides():
    votes = [make_vote(n, "a", "b", "left", shown=False) for n in range(20)]
    assert describe_raters(votes)[0].left is None


def test_the_binomial_test_is_exact():
    assert binomial_p(0, 5) == 2 / 32
    assert binomial_p(1, 5) == 12 / 32
    assert binomial_p(3, 6) == 1.0
    assert binomial_p(0, 0) == 1.0
