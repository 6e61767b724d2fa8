"""What a run is expected to take, held against when real runs did what.

`timelines/` has seconds, and what the watcher was told, of first runs on two cores: two on an idle
machine, of which only the beginnings of models are known (proofs are put at three fifths of each
model's time), and one beside about four other programs.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from llmbench.hardware import machine
from llmbench.plan.plan import Options, plan
from llmbench.runner.watching import durations
from llmbench.runner.watching.forecast import Follower, Forecast

HERE = Path(__file__).parent
MACHINE = "this machine"
NEAR = 8.0  # seconds before the end, when only "a few seconds" is said
ROOT = HERE.parents[2]


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
def slow(monkeypatch):
    """Set how many times as long as on an idle machine work takes."""

    def choose(number):
        monkeypatch.setattr(durations, "find_slowdown", lambda: number)

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


def judge(suite, timeline, folder, beginning):
    """What was said of what was left, as a share, when each model began and when blocks were
    measured: from the model `beginning` on, until a few seconds before the end.
    """
    rows = read_timeline(timeline)
    names = dict.fromkeys(row[2] for row in rows if row[1] == "begin" and row[2] != MACHINE)
    options = Options(out=folder / "out", cache=folder / "cache", only=tuple(names))
    asked, found = False, []
    for row, said, left in replay(plan(suite, options), rows):
        asked = asked or row[2:3] == [beginning]
        if asked and left > NEAR and (row[1] == "begin" or row[2:3] == ["measuring speed"]):
            found.append((row[2], round(said / left, 2)))
    return found


@pytest.mark.parametrize(("suite", "least"), [("quick", 6), ("standard", 20)])
def test_from_the_second_model_on_a_first_run_knows_within_a_third_what_is_left(
    slow, tmp_path, suite, least
):
    slow(1.0)
    found = judge(suite, f"idle-{suite}", tmp_path, "byte-ngram")
    assert len(found) >= least
    assert [one for one in found if not 2 / 3 < one[1] < 4 / 3] == []


def test_beside_other_programs_it_is_known_within_a_half_after_the_first_network(slow, tmp_path):
    slow(2.0)
    found = judge("quick", "busy-quick", tmp_path, "word-ffn")
    assert len(found) >= 3
    assert [one for one in found if not 1 / 2 < one[1] < 3 / 2] == []


def test_a_second_run_knows_it_within_a_tenth_before_it_begins(made, slow):
    slow(2.0)
    list(replay(made, read_timeline("busy-quick")))
    first, *_ = replay(made, read_timeline("busy-quick"))
    assert first[1] == pytest.approx(first[2], rel=0.1)


def test_what_one_run_took_tells_how_long_another_takes_here(made, slow):
    slow(1.0)
    another = replace(made, options=replace(made.options, limit=5))
    before = durations.expect(another)
    list(replay(made, read_timeline("busy-quick")))
    after = durations.expect(another)
    assert after.plain == before.plain
    for model in ("lstm", "zlib"):
        for kind in ("measure", "prove"):
            assert after.seconds[model, kind] > 1.2 * before.seconds[model, kind]


def test_a_busy_machine_is_expected_to_be_slower(made, slow):
    slow(1.0)
    idle = durations.expect(made)
    slow(3.0)
    busy = durations.expect(made)
    assert sum(idle.seconds.values()) == pytest.approx(sum(idle.plain.values()))
    assert sum(busy.seconds.values()) == pytest.approx(3 * sum(busy.plain.values()))


def test_a_network_is_expected_to_take_longer_than_what_only_counts(made, slow):
    slow(1.0)
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


@pytest.mark.parametrize(
    ("load", "share", "slowdown"),
    [(0.0, 1.0, 1.0), (5.0, 1 / 8, 3.0), (5.0, 1.0, 1.0), (0.2, 1 / 8, 1.0), (5.0, 1 / 2, 2.0)],
)
def test_a_machine_is_busy_if_both_its_load_and_this_process_say_so(
    monkeypatch, load, share, slowdown
):
    state = machine.load_state()
    monkeypatch.setattr(machine, "load_state", lambda: state | {"load": load})
    monkeypatch.setattr(machine, "cores", lambda: 2)
    alive = durations.time.time() - psutil.Process().create_time()
    monkeypatch.setattr(durations.time, "process_time", lambda: alive * share)
    assert durations.find_slowdown() == pytest.approx(slowdown, rel=0.05)


def test_an_interrupted_run_tells_only_what_its_finished_pieces_took(made, slow):
    slow(1.0)
    rows = read_timeline("idle-quick")
    at = next(i for i, row in enumerate(rows) if row[1:3] == ["begin", "word-ffn"])
    seconds = rows[at][0]
    stopped = [*rows[:at], [seconds, "begin", "word-ffn"], [seconds + 0.1, "stop"]]
    stopped += [[seconds + 0.2, "advance", "comparing", 0.5], [seconds + 0.3, "end"]]
    before = durations.expect(made)
    *_, (_, left, _) = replay(made, stopped)
    assert left < 1  # nothing more is done of the other models
    after = durations.expect(made)
    for piece in (("word-ffn", "measure"), ("lstm", "measure"), ("", "compare")):
        assert piece in before.plain
        assert piece in after.plain  # nothing is remembered
    assert ("char-ffn", "measure") not in after.plain


def test_a_model_that_was_measured_before_the_interrupt_in_its_proof_is_remembered(made, slow):
    slow(1.0)
    rows = [[0.0, "begin", "zlib"], [4.0, "advance", "checking causality", 0.5], [9.0, "stop"]]
    list(replay(made, [*rows, [9.5, "advance", "comparing", 0.5], [9.6, "end"]]))
    after = durations.expect(made)
    assert after.seconds["zlib", "measure"] == 4.0
    assert ("zlib", "prove") in after.plain
