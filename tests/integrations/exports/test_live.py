"""A run in trackers while it goes: each cell when it is done, and the whole run in the end."""

from __future__ import annotations

import threading

import pytest
from click.testing import CliRunner
from support import exported_runs, trackers
from support.exported_runs import make

from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.integrations.exports.registry import TARGETS, find_target
from llmbench.integrations.exports.target import Source, Tracked
from llmbench.integrations.exports.trackers import live
from llmbench.integrations.exports.trackers.live import Feed, LiveWatcher
from llmbench.runner.progress import Silent

SUITE = """\
name: tiny
version: 1
texts: {test: {source: my.txt}}
tasks: [{task: likelihood}]
models: [uniform-bytes, zlib]
"""
LIVE = [target.name for target in TARGETS.values() if target.is_live]


class Kept:
    """A tracker that keeps what it is told."""

    def __init__(self, place=None, uri=None):
        self.rows, self.finished = [], None
        self.arrived = threading.Event()

    def log(self, tracked, values, step):
        self.rows.append((tracked.name, dict(values), step))
        self.arrived.set()

    def finish(self, export):
        self.finished = export
        return "look"


class Module:
    """The module of such a tracker."""

    def __init__(self, kept):
        self.Live, self.make = (lambda place, uri: kept), (lambda source: "the whole run")


@pytest.fixture
def kept(monkeypatch):
    found = Kept()
    monkeypatch.setattr(
        "llmbench.integrations.exports.registry.Target.load", lambda self: Module(found)
    )
    return found


def watch(folder, monkeypatch):
    """A watcher that tells a tracker, whose clock a test sets."""
    feed = Feed(find_target("mlflow"), folder / "kept", None)
    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    return LiveWatcher(Silent(), [feed], "by-hand", folder, ["a"]), feed, clock


def test_progress_is_told_every_few_seconds_and_with_growing_steps(tmp_path, monkeypatch, kept):
    watcher, feed, clock = watch(tmp_path, monkeypatch)
    for now, share in ((0, 0.0), (1, 0.1), (5, 0.5), (6, 0.6), (10, 1.0)):
        clock[0] = now
        watcher.progress("a", "training", share, "")
        watcher.progress("by-hand", "comparing", share, "")  # which is no model
    feed.finish(None)
    told = [(step, values["progress/training"]) for _, values, step in kept.rows]
    assert told == [(1, 0.0), (2, 0.5), (3, 1.0)]
    assert kept.finished == "the whole run"


def test_nothing_is_told_while_a_clock_is_running(tmp_path, monkeypatch, kept):
    watcher, feed, _ = watch(tmp_path, monkeypatch)
    with watcher.pause_drawing("speed"):
        watcher.progress("a", "speed", 0.5, "")
        watcher.cell("a", "speed", "done")
    watcher.progress("a", "scoring", 0.5, "")
    feed.finish(None)
    assert [values for _, values, _ in kept.rows] == [{"progress/scoring": 0.5}]


def test_a_tracker_that_fails_is_asked_again_in_the_end_and_holds_up_nothing(tmp_path, kept):
    def refuse(*row):
        raise UsageError("no such host")

    kept.log = refuse
    feed = Feed(find_target("mlflow"), tmp_path, None)
    feed.put(Tracked("a", "s", {}, {}, {}), {"x/y": 1.0}, 0)
    feed._thread.join(10)
    assert feed.error == "no such host"
    feed.put(Tracked("a", "s", {}, {}, {}), {"x/y": 1.0}, 0)  # dropped
    assert feed.finish(None) == "look"


@pytest.mark.parametrize("name", LIVE)
def test_a_run_is_in_the_tracker_once_and_whole(tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("The king said nothing. " * 20)
    (tmp_path / "tiny.yaml").write_text(SUITE)
    arguments = ["run", "tiny.yaml", "--out", "run", "--log-to", name]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0), done.stderr
    from llmbench.results.samples import open_results

    wanted = {run.name: run for run in make(name, Source(open_results(tmp_path / "run"))).tracked}
    runs = getattr(trackers, f"read_{name}")(tmp_path / "run/exports" / name)
    assert len(runs) == len(wanted) == 2
    for run in runs:
        tracked = wanted[run["name"]]
        assert run["all"].keys() >= tracked.values.keys()
        for key, value in tracked.values.items():
            assert [row for _, row in run["all"][key]] == [value]
        assert all(key.startswith("progress/") for key in run["all"].keys() - tracked.values.keys())


@pytest.mark.parametrize("name", LIVE)
def test_what_changed_since_it_was_told_is_told_again(tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    source = exported_runs.run(tmp_path / "run", "a")
    tracker = find_target(name).load().Live(tmp_path / "kept", None)
    key = "likelihood/bits_per_byte"
    tracker.log(Tracked("a", "by-hand", {}, {}, {}), {key: 1.25, f"{key}_n": 2.0}, 0)
    tracker.finish(make(name, source))
    (run,) = getattr(trackers, f"read_{name}")(tmp_path / "kept")
    assert run["all"][key][-1] == (0, 1.5)
    assert len(run["all"][f"{key}_n"]) == 1


def test_a_target_twice_is_refused():
    done = CliRunner().invoke(cli, ["run", "quick", *["--log-to", "latex"] * 2])
    assert "--log-to latex is given twice" in str(done.exception)
