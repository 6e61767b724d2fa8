"""A worker that takes much longer than others is known to the run, by what its events say."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from support.long_cells import write_suite

from llmbench.plan import plan
from llmbench.runner.engine.batch import Crew, run_batch
from llmbench.runner.folder.run_folder import open_folder
from llmbench.runner.progress import Silent
from llmbench.runner.watching.stragglers import Stragglers

SECONDS = (20.0, 20.0, 20.0, 100.0, 20.0)  # of each shard


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Slow:
    """A worker that computes nothing, and moves the clock by what each shard takes."""

    late, is_gone = False, False

    def __init__(self, clock, stragglers):
        self.clock, self.stragglers, self.found = clock, stragglers, []

    def send(self, message):
        self.reply = message

    def events(self, timeout):
        yield {"event": "task", "task": "likelihood"}
        edges = list(range(len(SECONDS) + 1))
        for number, seconds in enumerate(SECONDS):
            yield {"event": "claim", "task": "likelihood", "edges": edges}
            edges = []
            self.clock.now += seconds
            self.found += self.stragglers.find()
            name = f"{number}.npz"
            yield {"event": "shard", "task": "likelihood", "name": name, "digest": "0" * 64}
        yield {"event": "claim", "task": "likelihood", "edges": []}
        self.clock.now += 1000.0  # nothing is asked of it now
        self.found += self.stragglers.find()
        said = {"reason": "error", "message": "it has computed nothing", "hint": ""}
        yield {"event": "failed", "task": "likelihood", **said}
        yield {"event": "note", "text": "all was in vain"}
        yield {"event": "end"}

    def wait(self):
        pass

    def explain_end(self, timeout):
        return "crashed", "", ""


class Warned(Silent):
    def __init__(self):
        self.lines = []

    def warn(self, text):
        self.lines.append(text)


@pytest.fixture
def crew(tmp_path, monkeypatch):
    write_suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = plan.plan("long.yaml", plan.Options(models=("uniform-bytes",), out=tmp_path / "out"))
    clock = Clock()
    with open_folder(made) as folder:
        yield Crew(folder, Warned(), stragglers=Stragglers(clock)), clock


def test_a_slow_shard_is_named_with_its_place_and_marked_in_the_record_of_work(crew):
    crew, clock = crew
    made, slow = crew.folder.made, Slow(clock, crew.stragglers)

    @contextmanager
    def open():
        yield slow

    run_batch(crew, made.cards[0], made.suite.tasks, {}, open, "node-b/1")
    assert slow.found == [
        "uniform-bytes likelihood, item 3, on node-b/1: 100 s so far, others took 20.0 s"
    ]
    rows = [json.loads(line) for line in (made.out / "work.jsonl").open()]
    assert [row.get("usual") for row in rows] == [None, None, None, 20.0, None]
    assert {row["where"] for row in rows} == {"node-b/1"}
    assert crew.watcher.lines == ["uniform-bytes: all was in vain"]
    clock.now += 10_000
    assert crew.stragglers.find() == []  # it is gone
