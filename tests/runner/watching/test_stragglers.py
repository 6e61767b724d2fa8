"""Who takes much longer than others is named once, with a place and how long."""

from __future__ import annotations

import pytest

from llmbench.runner.watching.stragglers import Part, Stragglers


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def shard(first, where="here/0"):
    return Part("gpt2", "likelihood", where, (first, first + 3))


def compute(stragglers, clock, worker, part, seconds):
    stragglers.begin(worker, part)
    clock.now += seconds
    return stragglers.end(worker)


def test_a_shard_that_takes_four_times_as_long_as_others_is_named_once(clock):
    stragglers = Stragglers(clock)
    for number in range(3):
        assert compute(stragglers, clock, 0, shard(3 * number), 20.0) == 0
    stragglers.begin(1, shard(9, "node-b/0"))
    clock.now += 80.0
    assert stragglers.find() == []
    clock.now += 1.0
    assert stragglers.find() == [
        "gpt2 likelihood, items 9 to 11, on node-b/0: 81 s so far, others took 20.0 s"
    ]
    assert stragglers.find() == []
    assert stragglers.end(1) == 20.0


def test_without_others_it_is_compared_with_what_was_expected(clock):
    stragglers = Stragglers(clock)
    stragglers.begin(0, Part("gpt2", "loading", "here/0", expected=12.0))
    stragglers.begin(1, shard(0))
    clock.now += 121.0
    assert stragglers.find() == ["gpt2 loading, on here/0: 121 s so far, expected was 12 s"]
    clock.now += 180.0
    assert stragglers.find() == [
        "gpt2 likelihood, items 0 to 2, on here/0: 301 s so far, expected was 30 s"
    ]


def test_shards_of_another_cell_and_those_that_died_are_no_others(clock):
    stragglers = Stragglers(clock)
    for number in range(3):
        compute(stragglers, clock, 0, Part("gpt2", "rolling", "here/0", (number, number + 1)), 1.0)
        stragglers.begin(0, shard(number))
        clock.now += 1.0
        assert stragglers.end(0, is_done=False) == 0
    stragglers.begin(0, shard(0))
    clock.now += 100.0
    assert stragglers.find() == []


def test_nobody_hears_of_a_few_seconds(clock):
    stragglers = Stragglers(clock)
    for number in range(3):
        compute(stragglers, clock, 0, shard(3 * number), 0.1)
    stragglers.begin(0, shard(9))
    clock.now += 9.0
    assert stragglers.find() == []
    clock.now += 2.0
    assert len(stragglers.find()) == 1


def test_a_worker_that_turns_to_something_else_is_measured_anew(clock):
    stragglers = Stragglers(clock)
    stragglers.begin(0, shard(0))
    clock.now += 299.0
    stragglers.begin(0, shard(3))
    clock.now += 299.0
    assert stragglers.find() == []
    assert stragglers.end(0) == 0
    assert stragglers.end(0) == 0
