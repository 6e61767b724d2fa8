"""Workers and runs on a Ray cluster of two nodes of this machine, which takes seconds to start."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys

import psutil
import pytest
from support import ray_nodes, small_checkpoints
from support.long_cells import DOCUMENTS, read_board, read_scored, run, write_model, write_suite
from support.ray_nodes import Nodes
from support.remote import MODEL, TASK, log_in, plan_job
from support.run_helpers import llmbench, run_json, started

from llmbench.runner.engine.ray_engine import RayEngine
from llmbench.runner.process import Child

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow

DRIVER = """\
import json, sys
from pathlib import Path
from support import small_checkpoints
from support.long_cells import DOCUMENTS, read_board, read_scored, run, write_model, write_suite
from support.remote import log_in, plan_job
from llmbench.runner.engine.ray_engine import RayEngine

out = Path(sys.argv[2])
engine = RayEngine.connect(sys.argv[1], threads=1)
job, options = plan_job(out.parent)
worker = engine.start(engine.places[0], log_in(out), options)
print("started", flush=True)
if sys.argv[3] == "waits":
    sys.stdin.read()
worker.send({**job, "out": str(out)})
events = []
for event in worker.events(100):
    events.append(event["event"])
    if event["event"] == "end":
        break
worker.kill()
engine.close()
print(json.dumps([event for event in events if event != "progress"]))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ray_nodes.MARK, "")  # both are as before when this ends
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("LLMBENCH_CACHE", str(tmp_path_factory.mktemp("cluster") / "cache"))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        found = Nodes(ray_client_server_port=23_901)
        yield found
        found.shut_down()


@pytest.fixture
def engine(two):
    found = RayEngine.connect(two.cluster.address, threads=1)
    yield found
    found.close()


@pytest.fixture
def job(tmp_path):
    return plan_job(tmp_path)


def start(engine, place, out, job):
    worker = engine.start(place, log_in(out), job[1])
    worker.send({**job[0], "out": str(out)})
    return worker


def follow(worker):
    names = []
    for event in worker.events(100):
        names.append(event["event"])
        if event["event"] == "end":
            break
    worker.wait()
    worker.kill()
    return [name for name in names if name != "progress"]


def read_files(out):
    found = {}
    for folder in ("samples", "charges"):
        for file in sorted((out / folder).rglob("*.*")):
            found[file.relative_to(out).as_posix()] = file.read_bytes()
    cell = json.loads((out / "cells" / MODEL / f"{TASK}.json").read_text())
    return found, {key: cell[key] for key in cell.keys() - {"seconds", "digest"}}


def test_cells_of_both_machines_have_the_bytes_of_one_from_here(engine, two, job, tmp_path):
    here = Child(log_in(tmp_path / "here"), job[1])
    here.send({**job[0], "out": str(tmp_path / "here")})
    follow(here)
    assert len(engine.places) == 2
    for place in engine.places:
        worker = start(engine, place, tmp_path / str(place), job)
        assert follow(worker) == ["task", "cell", "certificate", "end"]
        assert read_files(tmp_path / str(place)) == read_files(tmp_path / "here")
    assert two.list_workers() == []


def test_files_of_many_megabytes_travel_both_ways(engine, job, tmp_path):
    worker = engine.start(engine.places[1], log_in(tmp_path), job[1])
    raw = os.urandom(20 << 20)
    (tmp_path / "big").write_bytes(raw)
    worker._out = tmp_path
    worker._push([("big", hashlib.sha256(raw).hexdigest())])
    worker._out = tmp_path / "out"
    worker._fetch("big", hashlib.sha256(raw).hexdigest())
    assert (tmp_path / "out" / "big").read_bytes() == raw
    worker.kill()


def test_a_client_outside_the_cluster_works_as_well_and_ray_prints_nothing(two, job, tmp_path):
    pytest.importorskip("grpc", reason="Ray's client is not installed")
    done = run_driver("ray://127.0.0.1:23901", tmp_path / "out", "goes on")
    said, error = done.communicate(timeout=170)
    assert said == 'started\n["task", "cell", "certificate", "end"]\n', error
    assert "raylet" not in error
    assert "ray.init" not in error


def run_driver(address, out, how):
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, address, str(out), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_workers_end_with_a_run_that_is_killed(two, tmp_path):
    driver = run_driver(two.cluster.address, tmp_path / "out", "waits")
    assert driver.stdout.readline() == "started\n"
    workers = two.list_workers()
    assert len(workers) == 1
    driver.kill()
    driver.wait()
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def test_a_machine_that_dies_is_named_and_another_takes_its_place(engine, two, job, tmp_path):
    place = next(place for place in engine.places if two.last.node_id[:6] in place.machine)
    worker = engine.start(place, log_in(tmp_path / "out"), job[1])
    (process,) = two.list_workers()
    two.kill(two.last, whole=False)
    assert list(worker.events(100)) == []
    worker.kill()
    reason, message, _ = worker.explain_end(1.0)
    assert reason == "crashed"
    assert message.startswith(f"the machine {place.machine} went away")
    assert psutil.wait_procs([process], timeout=60)[1] == []
    assert place not in engine.places
    with pytest.raises(OSError, match="not in the cluster"):
        engine.start(place, log_in(tmp_path / "out"), job[1])
    two.fill()
    engine.refresh()
    assert len(engine.places) == 2
    assert follow(start(engine, engine.places[-1], tmp_path / "again", job))[-1] == "end"


RAYLET = "__import__('psutil').Process().parent().parent().pid"
DRIVER_ID = "int(open('driver.pid').read())"
KINDS = """\
name: kinds
version: 1
texts:
  test: {source: test.jsonl}
  pairs: {source: pairs.jsonl, fields: {text: answer, given: question}}
tasks:
  - {task: likelihood, text: test}
  - {task: conditional, text: pairs}
  - {task: continuation, prompts: ["The tap "], max_bytes: 12}
models: [uniform-bytes, zlib]
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a suite, and what one worker of this machine made of it."""
    place = tmp_path_factory.mktemp("whole")
    write_suite(place)
    write_model(place, parent=False)
    done = run(place, "--threads", "1", out="one")
    assert done.returncode == 0, done.stderr
    read_scored(place)
    return place


def write_killer(place, victim, document):
    """A model that kills a process when it comes to a document, once."""
    write_model(place, parent=False)
    file = place / "long_model.py"
    file.write_text(file.read_text().replace("os.getpid()", victim))
    (place / "stop").write_text(document)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_whose_machine_dies_at_any_instant_gives_the_board_of_one_worker(two, whole, seed):
    two.fill()
    number = random.Random(seed).randrange(DOCUMENTS)
    write_killer(whole, RAYLET, f"d{number}")
    done = run(whole, "--engine", two.engine, "--threads", "1", out=f"away-{seed}")
    assert done.returncode == 0, done.stderr
    assert "went away" in done.stderr
    assert not (whole / "stop").exists()
    scored = read_scored(whole)
    assert set(scored) == {f"d{i}" for i in range(DOCUMENTS)}
    assert len(scored) <= DOCUMENTS + 3  # a shard has three
    assert read_board(whole, f"away-{seed}") == read_board(whole, "one")


@pytest.mark.parametrize("seed", [4, 5])
def test_a_run_that_is_killed_and_started_again_gives_the_board_of_one_worker(two, whole, seed):
    two.fill()
    number = random.Random(seed).randrange(DOCUMENTS)
    write_killer(whole, DRIVER_ID, f"d{number}")
    out = f"again-{seed}"
    command = ("run", "long.yaml", "--model", "long_model.py:Long", "--out", out, "--threads", "1")
    first = started(*command, "--engine", two.engine, cwd=whole)
    (whole / "driver.pid").write_text(str(first.pid))
    first.communicate(timeout=170)
    assert first.returncode == -9
    done = run(whole, "--engine", two.engine, "--threads", "1", out=out)
    assert done.returncode == 0, done.stderr
    scored = read_scored(whole)
    assert set(scored) == {f"d{i}" for i in range(DOCUMENTS)}
    assert len(scored) <= DOCUMENTS + 2 * 3  # a shard of each worker
    assert read_board(whole, out) == read_board(whole, "one")


def test_checkpoints_and_several_tasks_give_the_board_of_one_worker(two, tmp_path):
    two.fill()
    (tmp_path / "kinds.yaml").write_text(KINDS)
    pairs = [{"id": f"p{i}", "question": f"Who is {i}?", "answer": f"number {i}"} for i in range(9)]
    texts = [{"id": f"t{i}", "text": text} for i, text in enumerate(small_checkpoints.LINES)]
    for name, rows in (("pairs", pairs), ("test", texts)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind in ("gpt2", "t5"):
        small_checkpoints.MAKERS[kind](tmp_path / f"my-{kind}")
    models = ("--model", "hf:my-gpt2", "--model", "hf:my-t5", "--offline", "--threads", "1")
    for out, more in (("one", ()), ("two", ("--engine", two.engine))):
        done = llmbench("run", "kinds.yaml", *models, "--out", out, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert {failure["reason"] for failure in run_json(tmp_path / "two")["failures"]} <= {
        "unsupported"
    }
    assert read_board(tmp_path, "two") == read_board(tmp_path, "one")
    where = [json.loads(line)["where"] for line in (tmp_path / "two/work.jsonl").open()]
    assert len(set(where)) == 2
