"""Workers on a Ray cluster of two nodes of this machine, which takes some seconds to start."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import psutil
import pytest
from support.remote import MODEL, TASK, log_in, plan_job

from llmbench.runner.engine.ray_engine import RayEngine
from llmbench.runner.process import Child

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow

MARK = "LLMBENCH_TEST_OF_RAY"  # in the environment of all that the cluster starts
DRIVER = """\
import json, sys
from pathlib import Path
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


class Two:
    """Two nodes with a core each. `second`: is None once it is killed."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 1, "object_store_memory": 100 << 20}
        head = {**small, "include_dashboard": False, "ray_client_server_port": 23_901}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.add(**small)

    def add(self, **options):
        self.second = self.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)

    def list_workers(self):
        return list(filter(is_worker, psutil.process_iter()))


def is_worker(process):
    """Whether a process is a worker that this cluster has started."""
    try:
        is_ours = process.environ().get(MARK) == os.environ.get(MARK)
        return is_ours and "llmbench.runner.worker" in process.cmdline()
    except psutil.Error:
        return False


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("cluster")
        patch.setenv(MARK, str(base))
        patch.setenv("LLMBENCH_CACHE", str(base / "cache"))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        found = Two()
        yield found
        found.cluster.shutdown()


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


def test_nothing_is_printed_and_a_client_outside_the_cluster_works_as_well(two, job, tmp_path):
    pytest.importorskip("grpc", reason="Ray's client is not installed")
    done = run_driver("ray://127.0.0.1:23901", tmp_path / "out", "goes on")
    said, error = done.communicate(timeout=170)
    assert (said, error) == ('started\n["task", "cell", "certificate", "end"]\n', "")


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
    place = next(place for place in engine.places if two.second.node_id[:6] in place.machine)
    worker = engine.start(place, log_in(tmp_path / "out"), job[1])
    (process,) = two.list_workers()
    two.cluster.remove_node(two.second, allow_graceful=False)
    assert list(worker.events(100)) == []
    worker.kill()
    reason, message, _ = worker.explain_end(1.0)
    assert reason == "crashed"
    assert message.startswith(f"the machine {place.machine} went away")
    assert psutil.wait_procs([process], timeout=60)[1] == []
    assert place not in engine.places
    with pytest.raises(OSError, match="not in the cluster"):
        engine.start(place, log_in(tmp_path / "out"), job[1])
    two.add()
    engine.refresh()
    assert len(engine.places) == 2
    assert follow(start(engine, engine.places[-1], tmp_path / "again", job))[-1] == "end"
