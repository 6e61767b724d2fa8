"""Several workers at once: the board of one. Each test starts real workers."""

from __future__ import annotations

import os
import sys

import pytest
from support.long_cells import (
    DOCUMENTS,
    read_board,
    read_proof,
    read_scored,
    run,
    write_model,
    write_suite,
)
from support.run_helpers import run_json

from llmbench.errors import UsageError
from llmbench.plan import plan
from llmbench.plan.plan import Options
from llmbench.runner.engine import local
from llmbench.runner.run import run as run_plan

MORE = ("--model", "uniform-bytes", "--model", "zlib")


@pytest.fixture
def place(tmp_path):
    """A folder with a suite, and all cores for the workers: a test process may have one."""
    write_suite(tmp_path)
    if sys.platform != "linux":
        yield tmp_path
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers need two cores")
    yield tmp_path
    os.sched_setaffinity(0, before)


def test_two_workers_give_the_board_of_one(place):
    write_model(place, parent=False)
    one = run(place, "--threads", "1", *MORE, out="one")
    assert one.returncode == 0, one.stderr
    read_scored(place)
    two = run(place, "--workers", "2", *MORE, out="two")
    assert two.returncode == 0, two.stderr
    scored = read_scored(place)
    assert len(scored) == len(set(scored)) == DOCUMENTS
    assert read_board(place, "two") == read_board(place, "one")


@pytest.mark.slow
def test_two_workers_prove_each_model_once(place, monkeypatch):
    write_model(place, parent=False)
    proofs = []
    for number in (1, 2):
        monkeypatch.setenv("LLMBENCH_CACHE", str(place / f"cache-{number}"))
        workers = ("--workers", str(number), "--threads", str(number))
        done = run(place, *workers, *MORE, out=f"out-{number}")
        assert done.returncode == 0, done.stderr
        proofs.append(read_proof(place))
        read_scored(place)
    assert proofs[0] == proofs[1] != []


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_shard_whose_worker_dies_once_is_computed_by_another(place, workers):
    write_model(place, parent=False)
    (place / "stop").write_text("d16")
    done = run(place, "--workers", workers)
    assert done.returncode == 0, done.stderr
    assert run_json(place / "out")["failures"] == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_shard_that_ends_two_workers_is_a_failure(place, workers):
    write_model(place, parent=False, again=True)
    (place / "stop").write_text("d16")
    done = run(place, "--workers", workers)
    assert done.returncode == 1, done.stderr
    (row,) = run_json(place / "out")["failures"]
    assert row["reason"] in ("crashed", "error")
    assert "SIGKILL" in row["message"] or "items 15 to 17 of likelihood" in row["message"]
    assert read_scored(place).count("d16") == 2


@pytest.mark.slow
def test_a_worker_that_an_interrupted_run_ends_has_not_crashed(place):
    """The model interrupts the run, which ends its worker: nothing is wrong with the model."""
    write_model(place, parent=False)
    model = (place / "long_model.py").read_text()
    dies = "run if False else os.getpid(), signal.SIGKILL"
    assert dies in model
    (place / "long_model.py").write_text(model.replace(dies, "run, signal.SIGINT"))
    (place / "stop").write_text("d16")
    done = run(place, "--workers", "2", "--model", "zlib")
    assert done.returncode == 130, done.stderr
    assert "crashed" not in done.stderr
    record = run_json(place / "out")
    assert record["failures"] == []
    assert record["state"]["not_reached"] == {"Long": ["likelihood"]}


def test_each_worker_has_cores_of_its_own(monkeypatch):
    monkeypatch.setattr(local.system, "list_cores", lambda: [0, 2, 4, 6, 7])
    places = local.LocalEngine(2, Options(device="cpu")).places
    assert [place.cores for place in places] == [(0, 2), (4, 6)]
    places = local.LocalEngine(2, Options(device="cpu", threads=2)).places
    assert [place.cores for place in places] == [(0,), (2,)]


def test_more_workers_than_cores_are_refused(monkeypatch):
    monkeypatch.setattr(local.system, "list_cores", lambda: [0, 1])
    with pytest.raises(UsageError, match="--workers 3 is more than the 2 cores"):
        local.LocalEngine(3, Options(device="cpu"))


def test_a_run_with_more_workers_than_cores_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(local.system, "list_cores", lambda: [0])
    monkeypatch.chdir(tmp_path)
    write_suite(tmp_path)
    options = Options(workers=2, models=("zlib",), out=tmp_path / "out")
    with pytest.raises(UsageError, match="more than the 1 core that"):
        run_plan(plan.plan("long.yaml", options))
    assert not (tmp_path / "out").exists()


def test_each_worker_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(local.system, "list_cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(local.machine, "gpus", lambda: [object(), object()])
    engine = local.LocalEngine(4, Options(device="cuda"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = [local.name_gpu(place)["CUDA_VISIBLE_DEVICES"] for place in engine.places]
    assert seen == ["0", "1", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    seen = [local.name_gpu(place)["CUDA_VISIBLE_DEVICES"] for place in engine.places]
    assert seen == ["5", "7", "5", "7"]
