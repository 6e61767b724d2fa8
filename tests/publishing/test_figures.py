"""Figures hold within a stated tolerance."""

from __future__ import annotations

import pytest
from support import hand_record
from support.hand_runs import ACCURACY, BITS, REPETITION

from llmbench.publishing.figures import Figure, find_tolerance, meet_scores
from llmbench.results.record import Score


def score(kind=BITS, value=2.0, **more):
    task, metric, unit, better = kind
    facts = {"task": task, "unit": unit, "better": better, **more}
    return Score.model_validate(hand_record.score("m", metric, value, **facts))


@pytest.mark.parametrize(
    ("found", "tolerance"),
    [
        (score(), 0.001),
        (score(noise=0.02), 0.021),
        (score(("likelihood", "byte_perplexity", "perplexity", "lower"), 4.0), 0.02),
        (score(ACCURACY, 0.5), 0.01),
        (score(REPETITION, 0.2, half=0.05), 0.05),
        (score(REPETITION, 0.2), 0.01),
        (score(("likelihood", "spelling_share", "share", None), 0.3), 0.003),
        (score(value="inf"), 0.0),
    ],
)
def test_the_tolerance_is_that_of_the_kind_of_figure(found, tolerance):
    assert find_tolerance(found) == pytest.approx(tolerance)


@pytest.mark.parametrize(
    ("here", "holds", "exact"),
    [(2.0, True, True), (2.0009, True, False), (2.002, False, False), (None, False, False)],
)
def test_a_figure_holds_within_its_tolerance(here, holds, exact):
    figure = Figure("m", "t", "bits_per_byte", "bits/byte", 2.0, here, 0.001)
    assert (figure.holds, figure.is_exact) == (holds, exact)


def test_infinite_bits_hold_if_they_are_infinite_again():
    (same,) = meet_scores([score(value="inf")], [score(value="inf")])
    (other,) = meet_scores([score(value="inf")], [score()])
    assert (same.holds, other.holds) == (True, False)


def test_a_figure_of_another_question_does_not_hold():
    other = score(signature="text=ffff;protocol=likelihood/1;window=half;limit=none")
    (asked,) = meet_scores([score()], [other])
    (counted,) = meet_scores([score()], [score(n=17)])
    assert "another question: text=ffff" in asked.why
    assert "of 17 items, published of 18" in counted.why
    assert not asked.holds
    assert not counted.holds


def test_speed_is_not_held_against_another_machine():
    speed = score(("speed", "decode_bytes_per_second", "bytes/s", "higher"), 1000.0)
    assert meet_scores([speed], []) == []
