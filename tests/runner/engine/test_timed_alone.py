"""Timed work of a run with several workers: nothing else of the run works meanwhile."""

from __future__ import annotations

import json
import os
import sys

import pytest
from support.run_helpers import llmbench

SUITE = """\
name: timed
version: 1
texts: {test: {source: test.jsonl}}
tasks:
  - {task: likelihood, text: test}
  - {task: memory, prompt_bytes: 20, answer_bytes: 10}
  - {task: speed, prompt_bytes: 20, answer_bytes: 10, blocks: 8, block_seconds: 0.01}
models: []
"""
# each says when it works, and whether that is timed: its caller is then one of runner/workers
MODELS = """
import json, os, time, traceback
import numpy as np
from llmbench.adapter import Adapter, Chunk, ModelInfo
from llmbench.ledger import TOKEN, Ledger


class One(Adapter):
    @property
    def info(self):
        name = type(self).__name__
        return ModelInfo(name, "", "bytes", 10**12, None, None, "cpu", f"{name}-1")

    def watch(self, begun):
        files = [frame.filename.replace(os.sep, "/") for frame in traceback.extract_stack()]
        row = {
            "pid": os.getpid(),
            "model": type(self).__name__,
            "timed": any("runner/workers/" in file for file in files),
            "begun": begun,
            "ended": time.monotonic(),
        }
        with open("watched.jsonl", "a") as file:
            file.write(json.dumps(row) + "\\n")

    def score(self, passages, window=None):
        for passage in passages:
            begun, n = time.monotonic(), len(passage.text)
            at = np.arange(n)
            ledger = Ledger(
                at, at + 1, np.full(n, 2.0), np.full(n, TOKEN, dtype=np.uint8), n, passage.id
            )
            time.sleep(0.01)
            self.watch(begun)
            yield ledger

    def generate(self, requests):
        begun = time.monotonic()
        texts = [request.forced_text or "a" * 10 for request in requests]
        for at in range(len(texts[0])):
            sum(i * i for i in range(2000))
            for row, text in enumerate(texts):
                yield Chunk(row, text[at], at + 1, "length" if at + 1 == len(text) else None)
        self.watch(begun)


class Two(One):
    pass
"""


@pytest.mark.slow
def test_timed_work_of_a_run_with_two_workers_is_never_beside_other_work(tmp_path):
    if sys.platform != "linux" or (os.cpu_count() or 1) < 2:
        pytest.skip("two workers need two cores")
    (tmp_path / "timed.yaml").write_text(SUITE)
    (tmp_path / "timed_models.py").write_text(MODELS)
    rows = [{"id": f"d{i}", "text": f"{i:03} and so on " * 9} for i in range(40)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        models = ("--model", "timed_models.py:One", "--model", "timed_models.py:Two")
        more = ("--workers", "2", "--out", "out", "--device", "cpu")
        done = llmbench("run", "timed.yaml", *models, *more, cwd=tmp_path)
    finally:
        os.sched_setaffinity(0, before)
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in (tmp_path / "watched.jsonl").read_text().splitlines()]
    timed = [row for row in seen if row["timed"]]
    assert {row["model"] for row in timed} == {"One", "Two"}
    assert {row["model"] for row in seen if not row["timed"]} == {"One", "Two"}
    beside = [
        (row, other)
        for row in timed
        for other in seen
        if other["pid"] != row["pid"]
        and other["begun"] < row["ended"]
        and row["begun"] < other["ended"]
    ]
    assert beside == []
