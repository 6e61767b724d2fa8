"""What a run is expected to take, held against when a real run did what.

`timelines/quick.json` is a first run of `suites/quick.yaml` on two cores that about four other
programs used as well: seconds, and what the watcher was told.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmbench.hardware import machine
from llmbench.plan.plan import Options, plan
from llmbench.runner.watching import durations
from llmbench.runner.watching.forecast import Follower, Forecast

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
LOAD = 3.0


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    options = Options(out=tmp_path_factory.mktemp("quick") / "out")
    return plan(str(ROOT / "suites" / "quick.yaml"), options)


@pytest.fixture
def made(planned, tmp_path):
    return replace(planned, options=replace(planned.options, cache=tmp_path))


@pytest.fixture
def load(monkeypatch):
    """Set how many processes run on this machine, which has two cores."""
    state = machine.load_state()

    def choose(number):
        monkeypatch.setattr(machine, "load_state", lambda: state | {"load": number})
        monkeypatch.setattr(machine, "cores", lambda: 2)

    return choose


def replay(made, rows):
    """Yield (row, seconds said to be left, seconds that were left) for each row of a timeline, and
    at the end what each piece took.
    """
    found, clock = durations.expect(made), Clock()
    clock.now = rows[0][0]
    forecast = Forecast(found.seconds, clock, found.groups)
    follower = Follower(forecast, [card.name for card in made.cards])
    for row in rows:
        clock.now = row[0]
        getattr(follower, row[1])(*row[2:])
        yield row, forecast.estimate_left(), rows[-1][0] - row[0]
    durations.keep(made, found, forecast.spent)


def read_timeline(name):
    return json.loads((HERE / "timelines" / f"{name}.json").read_text(encoding="utf-8"))


def test_from_the_second_model_on_a_first_run_knows_within_a_third_what_is_left(made, load):
    load(LOAD)
    begins = [
        (row[2], said / left)
        for row, said, left in replay(made, read_timeline("quick"))
        if row[1] == "begin"
    ]
    assert len(begins) == 10
    assert {name: round(share, 2) for name, share in begins[1:] if not 2 / 3 < share < 4 / 3} == {}


def test_a_second_run_knows_it_within_a_tenth_before_it_begins(made, load):
    load(LOAD)
    list(replay(made, read_timeline("quick")))
    first, *_ = replay(made, read_timeline("quick"))
    assert first[1] == pytest.approx(first[2], rel=0.1)


def test_what_one_run_took_tells_how_long_another_takes_here(made, load):
    load(0.0)
    another = replace(made, options=replace(made.options, limit=5))
    before = durations.expect(another)
    list(replay(made, read_timeline("quick")))
    after = durations.expect(another)
    assert after.plain == before.plain
    for model in ("lstm", "zlib"):
        for kind in ("measure", "prove"):
            assert after.seconds[model, kind] > 1.5 * before.seconds[model, kind]


def test_a_busy_machine_is_expected_to_be_slower(made, load):
    load(0.0)
    idle = durations.expect(made)
    load(5.0)
    busy = durations.expect(made)
    assert sum(idle.seconds.values()) == pytest.approx(sum(idle.plain.values()))
    assert sum(busy.seconds.values()) == pytest.approx(3 * sum(busy.plain.values()))


def test_a_network_is_expected_to_take_longer_than_what_only_counts(made, load):
    load(0.0)
    found = durations.expect(made)
    for kind in ("measure", "prove"):
        assert found.groups["lstm", kind] == "network"
        assert found.groups["zlib", kind] == "light"


def test_weights_that_come_with_llmbench_are_not_trained(made):
    trained = {
        piece: s for piece, s in durations.expect(made).seconds.items() if piece[1] == "train"
    }
    assert sum(trained.values()) == 0.0
    assert len(trained) == 10
