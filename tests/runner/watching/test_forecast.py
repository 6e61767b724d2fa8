"""How long a run still takes, guessed from expectations and from what came of them."""

from __future__ import annotations

import pytest

from llmbench.runner.watching.forecast import LOADING, Follower, Forecast, describe_left


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_what_is_expected_is_left_at_first(clock):
    forecast = Forecast(
        {("a", "train"): 60.0, ("a", "measure"): 10.0, ("b", "measure"): 30.0}, clock
    )
    assert forecast.estimate_left() == 100.0


def test_time_that_passes_is_no_longer_left(clock):
    forecast = Forecast({("a", "measure"): 10.0, ("b", "measure"): 30.0}, clock)
    forecast.turn_to(("a", "measure"))
    clock.now = 4.0
    assert forecast.estimate_left() == pytest.approx(36.0)
    assert forecast.elapsed == 4.0


def test_a_slow_machine_is_noticed_after_the_first_piece(clock):
    forecast = Forecast({(name, "measure"): 10.0 for name in "abc"}, clock)
    forecast.turn_to(("a", "measure"))
    clock.now = 30.0
    forecast.finish(("a", "measure"))
    assert 40.0 < forecast.estimate_left() <= 60.0


def test_a_kind_that_goes_well_says_more_about_itself_than_about_others(clock):
    forecast = Forecast({(n, k): 10.0 for n in "ab" for k in ("train", "measure")}, clock)
    forecast.turn_to(("a", "train"))
    clock.now = 40.0
    forecast.turn_to(("a", "measure"))
    clock.now = 50.0
    forecast.finish(("a", "train"), ("a", "measure"))
    forecast.turn_to(("b", "train"))
    training = forecast.estimate_left()
    forecast.finish(("b", "train"))
    measuring = forecast.estimate_left()
    assert training - measuring > measuring


def test_a_piece_that_tells_its_share_is_judged_by_that(clock):
    forecast = Forecast({("a", "train"): 10.0}, clock)
    forecast.turn_to(("a", "train"))
    clock.now = 20.0
    forecast.turn_to(("a", "train"), 0.2)
    assert forecast.estimate_left() == pytest.approx(80.0)


def test_what_is_over_is_not_left_however_short_it_was(clock):
    forecast = Forecast({("a", "train"): 100.0, ("a", "measure"): 5.0}, clock)
    forecast.finish(("a", "train"))
    assert forecast.estimate_left() == pytest.approx(5.0)


def test_a_follower_reads_the_pieces_from_what_a_watcher_is_told(clock):
    expected = {(name, kind): 10.0 for name in "ab" for kind in ("train", "measure", "prove")}
    expected |= {("", "warm"): 5.0, ("", "rounds"): 20.0, ("", "compare"): 2.0}
    follower = Follower(Forecast(expected, clock), ["a", "b"])
    steps = [
        (1, lambda: follower.begin("a")),
        (9, lambda: follower.advance("training", 0.5)),
        (3, lambda: follower.advance("scoring", 0.5)),
        (2, lambda: follower.advance("checking", 0.5)),
        (4, lambda: follower.begin("b")),
        (5, lambda: follower.begin("a")),
        (6, lambda: follower.advance("measuring speed", 0.1)),
        (7, lambda: follower.advance("comparing", 0.0)),
        (1, lambda: follower.end()),
    ]
    for seconds, step in steps:
        clock.now += seconds
        step()
    assert follower.forecast.estimate_left() == 0.0
    spent = follower.forecast.spent
    assert {piece: seconds for piece, seconds in spent.items() if seconds} == {
        ("a", "measure"): 9 + 2,
        ("a", "train"): 3,
        ("a", "prove"): 4,
        ("b", "measure"): 5,
        ("", "warm"): 6,
        ("", "rounds"): 7,
        ("", "compare"): 1,
    }


def test_models_that_have_no_turn_are_not_waited_for(clock):
    follower = Follower(
        Forecast({("a", "measure"): 10.0, ("b", "measure"): 10.0}, clock), ["a", "b"]
    )
    follower.begin("a")
    follower.advance("comparing", 0.0)
    assert follower.forecast.estimate_left() == 0.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "a few seconds left"),
        (7.9, "a few seconds left"),
        (8, "about 10 s left"),
        (42, "about 40 s left"),
        (89.9, "about 90 s left"),
        (90, "about 1 min 30 s left"),
        (116, "about 2 min left"),
        (599, "about 10 min left"),
        (3000, "about 50 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_times_are_said_no_more_exactly_than_they_are_known(seconds, said):
    assert describe_left(seconds) == said


def test_proofs_that_are_kept_are_no_longer_expected_and_trainings_still_are(clock):
    pieces = {(name, kind): 10.0 for name in "abc" for kind in ("train", "prove")}
    forecast = Forecast(pieces, clock)
    forecast.finish(("a", "prove"), ("b", "prove"), ("a", "train"), ("b", "train"))
    assert forecast.estimate_left() < 10.0 + 2.0
    assert forecast.estimate_left() > 10.0


def test_loading_before_the_rounds_is_not_booked_on_the_last_model(clock):
    expected = {("a", "measure"): 10.0, ("", "warm"): 5.0, ("", "rounds"): 20.0}
    follower = Follower(Forecast(expected, clock), ["a"])
    follower.begin("a")
    clock.now = 10.0
    follower.advance(LOADING, 0.0)
    clock.now = 14.0
    follower.advance("measuring speed", 0.0)
    spent = follower.forecast.spent
    assert (spent["a", "measure"], spent["", "warm"]) == (10.0, 4.0)


def test_a_network_that_is_slow_says_little_of_models_that_only_count(clock):
    pieces = {(name, "measure"): 10.0 for name in "abcd"}
    groups = {(name, "measure"): "network" if name in "ab" else "light" for name in "abcd"}
    forecast = Forecast(pieces, clock, groups)
    forecast.turn_to(("c", "measure"))
    clock.now = 10.0
    forecast.finish(("c", "measure"))
    forecast.turn_to(("a", "measure"))
    clock.now = 60.0
    forecast.finish(("a", "measure"))
    both = forecast.estimate_left()
    forecast.finish(("b", "measure"))
    light = forecast.estimate_left()
    assert both - light > 2 * light
