"""Models that take turns: in real runs one crashes, one is slow, one was measured before."""

from __future__ import annotations

import json
import statistics

import pyarrow.parquet as pq
import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench.plan.plan import Options, plan
from llmbench.runner import interleaving as rounds
from llmbench.runner import run
from llmbench.runner.workers.speed import DRIFT, FIRST_SENTINELS, Sentinel
from llmbench.stats import (
    Interval,
    rate_verdict,
)


class Sequence:
    """A sentinel whose looks are given."""

    def __init__(self, *looks):
        self.sentinel = Sentinel.__new__(Sentinel)
        self.sentinel._seen = list(looks)

    def is_unusual(self, seconds):
        return self.sentinel.is_unusual(seconds)


def test_a_sentinel_heeds_what_is_usual_on_this_machine():
    quiet = Sequence(*[1.0, 1.001, 0.999, 1.0, 1.0])
    assert not quiet.is_unusual(1 + DRIFT / 2)
    assert quiet.is_unusual(1 + 2 * DRIFT)
    assert quiet.is_unusual(1 - 2 * DRIFT)
    noisy = Sequence(*[1.0, 1.3, 0.8, 1.2, 0.9])
    assert not noisy.is_unusual(1.4)
    assert noisy.is_unusual(3.0)


def test_a_sentinel_looks_before_it_judges_and_takes_what_its_model_saw_before():
    first = Sentinel("cpu")
    assert len(first.usual) == FIRST_SENTINELS
    assert all(0 < seconds < 1 for seconds in first.usual)
    again = Sentinel("cpu", first.usual)
    assert again.usual == first.usual


SUITE = """
name: turns
version: 1
texts: {test: {source: test.jsonl}}
tasks: [{task: speed, prompt_bytes: 20, answer_bytes: 10, blocks: 8, block_seconds: 0.01}]
models: [uniform-bytes]
"""
MODELS = '''
import os
from llmbench.adapter import Adapter, Chunk, ModelInfo


def work(n):
    return sum(i * i for i in range(n))


class Fast(Adapter):
    cost = 200

    @property
    def info(self):
        name = type(self).__name__
        return ModelInfo(name, "", "bytes", None, None, None, "cpu", f"{name}-1")

    def generate(self, requests):
        for at in range(len(requests[0].forced_text)):
            work(self.cost * len(requests))
            for row, request in enumerate(requests):
                finish = "length" if at + 1 == len(request.forced_text) else None
                yield Chunk(row, request.forced_text[at], at + 1, finish)


class Slow(Fast):
    cost = 20000


class DiesLater(Fast):
    """Warms up, and is killed in a block, unless the file says that all is well."""
    left, cost = None, 2000

    def measure_prompt(self, prompt):  # the warm-up is over
        self.left = 3
        return super().measure_prompt(prompt)

    def generate(self, requests):
        if self.left is not None and not os.path.exists("well"):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), 9)
        yield from super().generate(requests)


class Raises(Fast):
    def generate(self, requests):
        raise ValueError("a bad day")
'''


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield _measured(tmp_path_factory, patch)


def _measured(tmp_path_factory, patch):
    place = folder(tmp_path_factory.mktemp("turns"))
    (place / "turns.yaml").write_text(SUITE)
    (place / "turns.py").write_text(MODELS)
    patch.setenv(
        "LLMBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache")
    )  # that of every test
    ceilings()
    models = [
        word
        for name in ("Fast", "Slow", "DiesLater", "Raises")
        for word in ("--model", f"turns.py:{name}")
    ]
    command = [
        "run",
        "turns.yaml",
        "--out",
        "out",
        "--price-per-hour",
        "3.6",
        "--device",
        "cpu",
        *models,
    ]
    done = llmbench(*command, cwd=place)
    assert done.returncode == 1, done.stderr
    return place, command, done


def ceilings():
    """Those of this machine, by hand: measuring them takes twenty seconds."""
    from llmbench.hardware import machine, peaks
    from llmbench.storage import default_cache

    made = peaks.Ceilings(
        "cpu", machine.cores(), [(1 << 18, 8e10), (1 << 28, 2e10)], {"float32": 6e10}, 1e-6, 0.01
    )
    path = peaks.kept_in(default_cache(), "cpu", machine.cores())
    if peaks.read(path) is None:
        peaks.keep(path, made)


def test_who_fails_is_a_row_and_the_others_are_measured(measured):
    place, _, done = measured
    record = run_json(place / "out")
    reasons = {
        failure["model"]: (failure["task"], failure["reason"]) for failure in record["failures"]
    }
    assert reasons == {
        "uniform-bytes": ("speed", "unsupported"),
        "DiesLater": ("speed", "crashed"),
        "Raises": ("speed", "error"),
    }
    assert {score["model"] for score in record["scores"]} == {"Fast", "Slow"}
    assert "Traceback" not in done.stderr


def test_the_faster_model_is_proven_faster_and_ranked_first(measured):
    record = run_json(measured[0] / "out")
    ranks = {
        score["model"]: score["rank"]
        for score in record["scores"]
        if score["metric"] == "decode_bytes_per_second"
    }
    assert ranks == {"Fast": [1, 1], "Slow": [2, 2]}
    assert record["notes"]["tasks"]["speed"]["better_than"] == {"Fast": ["Slow"], "Slow": []}


def test_models_take_turns_in_rounds_of_changing_order(measured):
    found = {}
    for name in ("Fast", "Slow"):
        rows = pq.read_table(measured[0] / f"out/events/{name}/speed.parquet").to_pylist()
        assert {row["block"] for row in rows} == set(range(8))
        assert rows[0].keys() == {"block", "what", "answer", "asked", "ns", "tokens", "bytes"}
        for block in range(8):
            found[name, block] = min(row["asked"] for row in rows if row["block"] == block)
    for block in range(7):  # both have their turn before anybody has the next
        assert max(found["Fast", block], found["Slow", block]) < min(
            found["Fast", block + 1], found["Slow", block + 1]
        )
    assert len({found["Fast", block] < found["Slow", block] for block in range(8)}) == 2


def test_numbers_are_those_of_the_events(measured):
    rows = pq.read_table(measured[0] / "out/events/Slow/speed.parquet").to_pylist()
    rates = []
    for block in range(8):
        answers = {}
        for row in rows:
            if row["block"] == block:
                answers.setdefault(row["answer"], []).append(row)
        rates.append(
            statistics.median(
                (a[-1]["bytes"] - a[0]["bytes"]) / (a[-1]["ns"] - a[0]["ns"]) * 1e9
                for a in answers.values()
            )
        )
    score = next(
        s
        for s in run_json(measured[0] / "out")["scores"]
        if (s["model"], s["metric"]) == ("Slow", "decode_bytes_per_second")
    )
    assert score["value"] == pytest.approx(statistics.median(rates))


def test_one_model_was_entered_twice_and_what_measuring_took_is_said(measured):
    place = measured[0]
    notes = run_json(place / "out")["notes"]["tasks"]["speed"]
    assert notes["again"]["model"] == "Fast"
    found = notes["again"]["decode_bytes_per_second"]
    interval = Interval(found["log_ratio"], found["low"], found["high"], 8)
    assert found["low"] < found["log_ratio"] < found["high"]
    assert found["verdict"] == rate_verdict(interval, found["p"])
    cost = notes["cost"]
    assert cost["blocks"] == 3 * 8
    assert 0 < cost["timed"] < cost["seconds"]
    board = (place / "out/leaderboard.md").read_text()
    assert "Fast was measured twice" in board
    assert "Measuring took" in board


def test_while_a_clock_runs_nobody_else_of_llmbench_works(measured):
    cost = run_json(measured[0] / "out")["notes"]["tasks"]["speed"]["cost"]
    assert cost["parked_cpu"] < 0.02 * cost["seconds"]
    assert cost["parent_cpu"] < 0.1 * cost["seconds"]


def test_the_price_of_tokens_follows_from_the_price_of_an_hour(measured):
    scores = {(s["model"], s["metric"]): s for s in run_json(measured[0] / "out")["scores"]}
    price = scores["Fast", "price_per_million_tokens"]
    assert price["value"] == pytest.approx(
        3.6 / 3600 / scores["Fast", "decode_tokens_per_second"]["value"] * 1e6
    )
    assert price["low"] <= price["value"] <= price["high"]


def test_why_a_number_is_not_there_stands_beside_those_that_are(measured):
    scores = run_json(measured[0] / "out")["scores"]
    top = next(
        s for s in scores if (s["model"], s["metric"]) == ("Fast", "decode_bytes_per_second")
    )
    assert top["absent"].keys() == {"limit_share"}
    assert top["absent"]["limit_share"] == "not a torch model"


@pytest.mark.slow
def test_a_second_run_measures_only_what_is_missing(measured):
    place, command, _ = measured
    (place / "well").touch()
    before = json.loads((place / "out/cells/Fast/speed.json").read_text())
    done = llmbench(*command, cwd=place)
    assert done.returncode == 1, done.stderr
    record = run_json(place / "out")
    assert {failure["model"] for failure in record["failures"]} == {"uniform-bytes", "Raises"}
    assert json.loads((place / "out/cells/Fast/speed.json").read_text()) == before
    assert {score["model"] for score in record["scores"]} == {"Fast", "Slow", "DiesLater"}
    ranks = {
        score["model"]: score["rank"]
        for score in record["scores"]
        if score["metric"] == "decode_bytes_per_second"
    }
    assert ranks["DiesLater"] is None  # it was alone: what another session measured is no pair
    assert record["notes"]["tasks"]["speed"]["left_out"] == ["DiesLater"]


@pytest.mark.slow
def test_models_that_have_no_room_together_are_loaded_again_for_each_block(
    measured, monkeypatch, tmp_path
):
    place = measured[0]
    started, real = [], rounds.Child

    class Counted(real):
        def __init__(self, log, *rest):
            started.append(log.name)
            super().__init__(log, *rest)

    monkeypatch.setattr(rounds, "Child", Counted)
    monkeypatch.setattr(rounds, "HALF", 0.0)
    monkeypatch.chdir(place)
    made = plan(
        "turns.yaml",
        Options(models=("turns.py:Fast",), only=("Fast",), out=tmp_path / "out", device="cpu"),
    )
    result, _ = run.run(made)
    assert not result.failures
    assert (
        len(started) == 2 * (2 + 8) + 1
    )  # each entry to be looked at, to be warmed up, and for each block; and once to finish
    again = result.notes.tasks["speed"].again
    assert again["model"] == "Fast"
    assert {score.metric for score in result.scores} >= {
        "decode_bytes_per_second",
        "time_to_first_token",
    }


@pytest.mark.slow
def test_a_known_sleep_for_each_token_and_call_is_measured_within_three_percent(tmp_path):
    place = folder(tmp_path)
    ceilings()
    (place / "turns.yaml").write_text(
        SUITE.replace("answer_bytes: 10", "answer_bytes: 40").replace("[uniform-bytes]", "[]")
    )
    (place / "sleeps.py").write_text(
        MODELS
        + """
import time


class Sleeps(Fast):
    def generate(self, requests):
        time.sleep(0.1)
        for chunk in Fast.generate(self, requests):
            time.sleep(0.012)
            yield chunk
    cost = 0
"""
    )
    done = llmbench(
        "run",
        "turns.yaml",
        "--out",
        "out",
        "--model",
        "sleeps.py:Sleeps",
        "--device",
        "cpu",
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    value = {score["metric"]: score["value"] for score in run_json(place / "out")["scores"]}
    assert value["time_per_output_token"] == pytest.approx(0.012, rel=0.03)
    assert value["time_to_first_token"] == pytest.approx(0.112, rel=0.03)
    assert value["end_to_end_latency"] == pytest.approx(0.1 + 40 * 0.012, rel=0.03)
