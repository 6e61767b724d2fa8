"""Memory is measured in a process that did nothing else; what shares a process follows it there."""

from __future__ import annotations

import os
import signal

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench.plan.plan import Options
from llmbench.runner.engine.ahead import Ahead

MEASURED = """\
name: tiny
version: 1
texts:
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
  - {task: memory, text: test, prompt_bytes: 64, answer_bytes: 16}
models: [zlib]
"""
MODEL = """
import sys

class Traced(Good):
    def __init__(self):
        super().__init__()
        with open("processes", "a") as file:
            file.write(f"{os.getpid()} {sys.argv[0]}\\n")


class DiesWriting(Good):
    def step(self, state, ids):
        os._exit(7)
"""


def place_with(tmp_path):
    place = folder(tmp_path)
    (place / "tiny.yaml").write_text(MEASURED)
    with (place / "my_models.py").open("a") as file:
        file.write(MODEL)
    return place


@pytest.mark.slow
def test_memory_and_quality_of_a_model_take_one_process(tmp_path, fresh):
    place = place_with(tmp_path)
    done = llmbench("run", "tiny.yaml", "--model", "my_models.py:Traced", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    rows = [row for row in run_json(place / "out")["scores"] if row["model"] == "Traced"]
    assert {row["task"] for row in rows} == {"likelihood", "memory"}
    processes = (place / "processes").read_text().splitlines()
    assert sum(line.endswith("runner/worker.py") for line in processes) == 1, processes


@pytest.mark.slow
def test_a_model_that_dies_while_its_memory_is_measured_is_scored_all_the_same(tmp_path, fresh):
    place = place_with(tmp_path)
    done = llmbench(
        "run", "tiny.yaml", "--model", "my_models.py:DiesWriting", "--out", "out", cwd=place
    )
    assert done.returncode == 1, done.stderr
    found = run_json(place / "out")
    failed = [(f["task"], f["reason"]) for f in found["failures"] if f["model"] == "DiesWriting"]
    assert failed == [("memory", "crashed")]
    scored = {row["task"] for row in found["scores"] if row["model"] == "DiesWriting"}
    assert scored == {"likelihood"}


def test_workers_that_are_started_early_wait_for_their_turn_and_end_without_one(tmp_path):
    ahead = Ahead(Options())
    modules = ["llmbench.adapters.trivial"]
    ahead.start("zlib", tmp_path / "zlib.log", modules)
    ahead.start("zlib", tmp_path / "zlib.log", modules)
    ahead.start("bz2", tmp_path / "bz2.log", modules)
    assert ahead.has("zlib")
    taken = ahead.take("zlib", tmp_path / "zlib.log")
    assert taken is not None
    assert ahead.take("zlib", tmp_path / "zlib.log") is None
    assert taken.process.poll() is None
    ahead.start("lzma", tmp_path / "lzma.log", modules)
    dead = ahead._waiting["lzma"].process
    os.killpg(dead.pid, signal.SIGKILL)
    dead.wait()
    assert ahead.take("lzma", tmp_path / "lzma.log") is None
    left = ahead._waiting["bz2"].process
    ahead.close()
    assert left.poll() is not None
    taken.kill()
