"""Runs with one cell, and agents of workers that are called as they are, without a cluster."""

from __future__ import annotations

from llmbench.plan.plan import Options, plan
from llmbench.runner.engine.agent import Batch
from llmbench.runner.engine.remote import Gone
from llmbench.runner.messages import job_of

SUITE = """\
name: one
version: 1
texts:
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
models: []
"""
TASK, MODEL = "likelihood", "uniform-bytes"


def write_suite(folder):
    """A suite of one cell."""
    (folder / "one.yaml").write_text(SUITE)
    (folder / "test.jsonl").write_text('{"id": "a", "text": "One and one are two."}\n')


def plan_job(folder):
    """The job of a worker that fills the cell, without a folder of a run, and its options."""
    write_suite(folder)
    made = plan(str(folder / "one.yaml"), Options(models=(MODEL,), out=folder / "out"))
    return job_of(made, made.cards[0], made.suite.tasks, {}), made.options


def log_in(out):
    """Where what the worker prints is kept."""
    return out / "cells" / MODEL / "worker.log"


class Direct:
    """The way to an agent of this process."""

    machine = "away"

    def __init__(self, agent):
        self.agent = agent

    def call(self, method, *arguments, timeout=None):
        return getattr(self.agent, method)(*arguments)

    def close(self):
        pass


class Scripted:
    """An agent that says what it is told to. Each of its polls gives a list of events, or raises;
    when they are over it is the worker's end. calls: what was asked of it, without waiting.
    """

    machine = "away"

    def __init__(self, polls=(), files=None, is_silent=False):
        self.polls, self.files, self.is_silent = list(polls), dict(files or {}), is_silent
        self.calls, self.stored, self.fed, self.is_closed = [], {}, b"", False

    def call(self, method, *arguments, timeout=None):
        self.calls.append(method)
        return getattr(self, method)(*arguments)

    def close(self):
        self.is_closed = True

    def find_folder(self):
        return "/scratch"

    def poll(self, timeout):
        if not self.polls:
            return Batch([], b"", not self.is_silent)
        events = self.polls.pop(0)
        if isinstance(events, Gone):
            raise events
        return Batch(events, b"", False)

    def feed(self, raw):
        self.fed += raw

    def store(self, pieces):
        for name, raw, _ in pieces:
            self.stored[name] = self.stored.get(name, b"") + raw

    def read(self, name, first, count):
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name][first : first + count]

    def wait(self):
        pass

    def stop(self):
        return ("crashed", "the worker ended with exit code 3", "see the log"), b"last words\n"
