"""Which machines of a cluster have workers, and what is said if none can have one."""

from __future__ import annotations

import socket
import sys

import pytest
from support.fake_ray import (
    ActorUnavailableError,
    FakeRay,
    GetTimeoutError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    describe_node,
)

from llmbench import storage
from llmbench.errors import UsageError
from llmbench.plan.plan import Options, plan
from llmbench.runner.engine import ray_engine
from llmbench.runner.engine.agent import describe_machine
from llmbench.runner.engine.ray_engine import RayEngine
from llmbench.runner.engine.remote import Gone

HERE = describe_machine()


@pytest.fixture
def make(monkeypatch):
    return lambda *rows: FakeRay(*rows, here=HERE).install(monkeypatch)


def names(engine):
    return [place.name for place in engine.places]


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as caught:
        RayEngine.connect(None)
    assert caught.value.hint == "pip install 'llmbench[ray]'"


def test_each_machine_has_as_many_places_as_it_has_room_for(make):
    make(describe_node("a", cpus=5), describe_node("b", cpus=1), describe_node("c", cpus=2))
    assert names(RayEngine.connect("x:1", threads=2)) == ["a/0", "a/1", "c/0"]


def test_without_threads_a_machine_has_one_place_with_all_its_cores(make, tmp_path):
    ray = make(describe_node("a", cpus=5), describe_node("b", cpus=1))
    engine = RayEngine.connect("x:1")
    assert names(engine) == ["a/0", "b/0"]
    engine.start(engine.places[0], tmp_path / "m" / "worker.log", Options(threads=1))
    (actor,) = ray.actors
    assert (actor.node, actor.options["num_cpus"], actor.arguments[1].threads) == ("a", 5, 5)
    assert actor.arguments[0] == "m/worker.log"


def test_gpus_and_memory_limit_the_places_and_are_asked_of_ray(make, tmp_path):
    ray = make(describe_node("a", cpus=8, gpus=2), describe_node("b", cpus=8))
    engine = RayEngine.connect("x:1", threads=1, gpus=1, memory=5 << 30)
    assert names(engine) == ["a/0"]
    engine.start(engine.places[0], tmp_path / "m" / "worker.log", Options())
    options = ray.actors[0].options
    assert (options["num_gpus"], options["memory"], options["num_cpus"]) == (1, 5 << 30, 1)


@pytest.mark.parametrize(("gpus", "hides"), [(0, True), (1, False)])
def test_a_worker_sees_the_gpus_that_it_was_given_and_no_others(make, tmp_path, gpus, hides):
    ray = make(describe_node("a", gpus=1))
    engine = RayEngine.connect("x:1", threads=1, gpus=gpus)
    engine.start(engine.places[0], tmp_path / "m" / "worker.log", Options())
    assert ray.actors[0].arguments[-1] is hides


def test_what_fits_nowhere_is_one_line_with_what_there_is(make):
    make(describe_node("a", cpus=2), describe_node("b", cpus=4, gpus=1))
    with pytest.raises(UsageError) as caught:
        RayEngine.connect("x:1", threads=3, gpus=2)
    assert str(caught.value).startswith(
        "no machine of the cluster has room for a worker (3 CPUs, 2 GPUs):"
        " a has 2 CPUs, 0 GPUs, 8.6 GB; b has 4 CPUs, 1 GPUs, 8.6 GB"
    )


def test_machines_of_one_name_are_told_apart(make):
    make(describe_node("abcdef123", name="vm"), describe_node("fedcba321", name="vm"))
    assert names(RayEngine.connect("x:1")) == ["vm-abcdef/0", "vm-fedcba/0"]


def test_a_machine_with_other_versions_has_no_workers(make):
    ray = make(*(describe_node(name) for name in "abcd"))
    ray.answers = {
        "b": {**HERE, "torch": "1.0"},
        "c": {**HERE, "the code of llmbench": "other"},
        "d": RayTaskError(ModuleNotFoundError("No module named 'llmbench'")),
    }
    engine = RayEngine.connect("x:1")
    assert names(engine) == ["a/0"]
    assert engine.refused["b"] == f"it has torch 1.0, and this machine {HERE['torch']}"
    assert engine.refused["c"] == "it has other code of llmbench"
    assert set(engine.refused) == {"b", "c", "d"}
    ray.answers = {}
    engine.refresh()
    assert names(engine) == ["a/0", "d/0"]


def test_a_cluster_of_other_versions_is_refused_in_one_line(make):
    ray = make(describe_node("a"))
    ray.answers = {"a": {**HERE, "Python": "3.9.1"}}
    with pytest.raises(UsageError, match=r"a: it has Python 3\.9\.1, and this machine 3\."):
        RayEngine.connect("x:1")
    assert not ray.is_up


def test_no_cluster_is_one_line(make):
    ray = make()
    ray.refuses = {"x:1": ConnectionError("a page\n\nof words: nobody is there")}
    with pytest.raises(UsageError) as caught:
        RayEngine.connect("x:1")
    assert (caught.value.where, caught.value.what) == (
        "x:1",
        "no cluster answers: of words: nobody is there",
    )


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nobody_listens_ray_is_not_asked_as_it_would_wait_for_minutes(
    make, monkeypatch, scheme
):
    knock = ray_engine.knock
    ray = make(describe_node("a"))
    monkeypatch.setattr(ray_engine, "knock", knock)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
        RayEngine.connect(address).close()
    with pytest.raises(UsageError, match=r"no cluster answers: .*refused") as caught:
        RayEngine.connect(address)
    assert caught.value.where == address
    assert ray.begun == [address]


def test_without_an_address_a_cluster_that_runs_is_joined_or_else_one_is_started(make):
    ray = make(describe_node("a"))
    RayEngine.connect(None).close()
    assert ray.begun == ["auto"]
    ray.refuses = {"auto": ConnectionError("none")}
    RayEngine.connect(None).close()
    assert ray.begun == ["auto", "auto", "local"]
    assert not ray.is_up


def test_a_connection_of_the_callers_is_used_and_kept(make):
    ray = make(describe_node("a"))
    ray.is_up = True
    RayEngine.connect(None).close()
    assert ray.begun == []
    assert ray.is_up


def test_of_the_page_that_ray_writes_of_a_death_the_cause_is_said(make, tmp_path):
    ray = make(describe_node("a"))
    engine = RayEngine.connect("x:1")
    worker = engine.start(engine.places[0], tmp_path / "m" / "worker.log", Options())
    page = "The actor died.\n\tclass_name: A\nIt died because its node has died.\nIt never ran."
    ray.actors[0].says["poll"] = RayActorError(page)
    assert list(worker.events(60)) == []
    worker.kill()
    (reason, message, _) = worker.explain_end(1.0)
    assert (reason, message) == (
        "crashed",
        "the machine a went away: It died because its node has died.",
    )


@pytest.mark.parametrize("error", [ActorUnavailableError("gone"), GetTimeoutError()])
def test_a_machine_that_does_not_answer_has_no_place_until_it_is_looked_for(make, tmp_path, error):
    ray = make(describe_node("a"), describe_node("b"))
    engine = RayEngine.connect("x:1")
    place = engine.places[0]
    worker = engine.start(place, tmp_path / "m" / "worker.log", Options())
    assert not worker.is_gone
    ray.actors[0].says["poll"] = error
    assert list(worker.events(60)) == []
    assert worker.is_gone
    assert names(engine) == ["b/0"]
    with pytest.raises(OSError, match="a is not in the cluster any more"):
        engine.start(place, tmp_path / "m" / "worker.log", Options())
    engine.refresh()
    assert sorted(names(engine)) == ["a/0", "b/0"]


@pytest.mark.parametrize(
    "error", [RayActorError("a page\nof a node running low on memory"), OutOfMemoryError("a page")]
)
def test_a_worker_that_ray_ends_leaves_its_machine_its_place(make, tmp_path, error):
    ray = make(describe_node("a"))
    engine = RayEngine.connect("x:1")
    worker = engine.start(engine.places[0], tmp_path / "m" / "worker.log", Options())
    ray.actors[0].says["poll"] = error
    assert list(worker.events(60)) == []
    worker.kill()
    assert ray.killed == ray.actors
    assert worker.explain_end(1.0)[0] == "out_of_memory"
    assert not worker.is_gone
    assert names(engine) == ["a/0"]
    ray.rows.clear()
    engine.drop(engine._find(engine.places[0]), at_once=False)
    assert names(engine) == []


def test_machines_that_come_and_go_are_seen_when_looked_for(make):
    ray = make(describe_node("a"))
    engine = RayEngine.connect("x:1")
    ray.rows = [describe_node("b"), {**describe_node("c"), "Alive": False}]
    assert names(engine) == ["a/0"]
    engine.refresh()
    assert names(engine) == ["b/0"]


def test_a_place_that_is_busy_with_other_work_is_an_oserror(make, tmp_path):
    ray = make(describe_node("a"))
    engine = RayEngine.connect("x:1")
    ray.says = {"find_folder": GetTimeoutError()}
    with pytest.raises(Gone, match="does not answer"):
        engine.start(engine.places[0], tmp_path / "m" / "worker.log", Options())
    assert ray.killed == ray.actors
    assert names(engine) == []


def test_an_error_of_the_agent_is_raised_here(make, tmp_path):
    ray = make(describe_node("a"))
    engine = RayEngine.connect("x:1")
    worker = engine.start(engine.places[0], tmp_path / "m" / "worker.log", Options())
    ray.actors[0].says["read"] = RayTaskError(FileNotFoundError("no such file"))
    with pytest.raises(FileNotFoundError):
        list(worker._read("x", 0))
    ray.actors[0].says["read"] = RayTaskError(storage.Damaged("changed"))
    with pytest.raises(storage.Damaged):
        list(worker._read("x", 0))
    assert names(engine) == ["a/0"]


@pytest.mark.parametrize("engine", ["dask", "ray:HOST", "ray:a/b:1", "ray:// :1", "ray://h:1/x"])
def test_an_engine_that_is_none_is_refused(engine):
    with pytest.raises(UsageError, match="is not an engine"):
        plan("smoke", Options(engine=engine))


def test_a_number_of_workers_is_refused_for_a_cluster():
    with pytest.raises(UsageError, match="--workers 3 is of --engine local"):
        plan("smoke", Options(engine="ray", workers=3))
