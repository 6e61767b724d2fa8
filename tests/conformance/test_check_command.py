"""`llmbench check`: what it prints, and its exit codes."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support import zoo
from support.run_helpers import llmbench

from llmbench.conformance import kit
from llmbench.conformance.check import Subject
from llmbench.conformance.kit import CHECKS, find_checks, run
from llmbench.runner.check import Proof

ROOT = Path(__file__).parents[2]
NAMES = [check.name for check in CHECKS]


@pytest.mark.slow
def test_the_command_says_what_was_tried_and_what_is_proven(tmp_path):
    done = llmbench("check", "uniform-bytes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "byte-coverage" in done.stdout
    assert "A1 earned" in done.stdout
    assert "A3 earned" in done.stdout
    told = json.loads(llmbench("check", "uniform-bytes", "--json", cwd=tmp_path).stdout)
    assert [row["name"] for row in told["checks"]] == NAMES
    assert told["certificate"]["levels"]["A3"]["state"] == "earned"
    assert told["certificate"]["fingerprint"] == told["fingerprint"]


@pytest.mark.slow
def test_the_command_fails_for_a_saboteur_and_shows_the_reason(tmp_path):
    done = llmbench(
        "check", f"{ROOT / 'tests' / 'support' / 'saboteurs.py'}:NatsForBits", cwd=tmp_path
    )
    assert done.returncode == 1
    assert "A1 refused" in done.stdout
    assert "likely cause" in done.stdout
    one = llmbench(
        "check",
        f"{ROOT / 'tests' / 'support' / 'saboteurs.py'}:NatsForBits",
        "--only",
        "limits",
        cwd=tmp_path,
    )
    assert one.returncode == 0
    assert "A1 not tested" in one.stdout
    wrong = llmbench("check", "uniform-bytes", "--only", "limit", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean 'limits'?" in wrong.stderr


@pytest.fixture
def proof(tmp_path, monkeypatch):
    """Makes a proof of uniform-bytes that keeps what it finds in a cache of its own."""
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    return lambda only=(): Proof("uniform-bytes", {}, only, 60.0, lambda *told: None)


def note_checks(monkeypatch, whole):
    """The names of the checks that are run from now on, by `whole`."""
    asked = []

    def run_noted(subject, checks, timeout):
        asked.append(checks[0].name)
        return whole(subject, checks, timeout)

    monkeypatch.setattr(kit, "run", run_noted)
    return asked


def test_a_proof_that_was_stopped_goes_on_where_it_stopped(proof, monkeypatch, tmp_path):
    rounds = proof().run()
    first = [next(rounds) for _ in range(5)]
    asked = []
    whole = kit.run
    monkeypatch.setattr(
        kit,
        "run",
        lambda subject, checks, t: asked.append(checks[0].name) or whole(subject, checks, t),
    )
    again = proof()
    results = list(again.run())
    assert results[:5] == first
    assert asked == NAMES[5:]
    assert again.report()["certificate"]["levels"]["A3"]["state"] == "earned"
    assert not list((tmp_path / "unfinished-checks").glob("*.json"))
    assert len(list((tmp_path / "certificates").glob("*.json"))) == 1


def test_a_check_that_ran_out_of_time_is_run_again_alone(proof, monkeypatch, tmp_path):
    whole = kit.run

    def late(subject, checks, timeout):
        for result in whole(subject, checks, timeout):
            yield kit.replace(result, state="timeout") if result.name == "greedy" else result

    monkeypatch.setattr(kit, "run", late)
    assert [r.name for r in proof().run() if r.state == "timeout"] == ["greedy"]
    assert not list((tmp_path / "certificates").glob("*.json"))
    asked = []
    monkeypatch.setattr(
        kit,
        "run",
        lambda subject, checks, t: asked.append(checks[0].name) or whole(subject, checks, t),
    )
    assert {result.state for result in proof().run()} == {"passed", "skipped"}
    assert asked == ["greedy"]


def test_a_part_of_the_checks_is_neither_kept_nor_resumed(proof, tmp_path):
    assert [result.name for result in proof(["limits"]).run()] == ["limits"]
    assert not list(tmp_path.rglob("*.json"))


def test_a_late_check_says_whether_the_processor_was_there():
    def wait(subject):
        threading.Event().wait(30)

    def work(subject):
        while True:
            sum(range(1000))

    (name,) = find_checks(["limits"])
    found = [
        next(run(Subject(zoo.Windowed()), [replace(name, function=function)], timeout=0.3))
        for function in (wait, work)
    ]
    assert [result.state for result in found] == ["timeout", "timeout"]
    assert "busy machine" in found[0].cause
    assert "0 s of processor time" in found[0].came
    assert "proves nothing" in found[1].cause
