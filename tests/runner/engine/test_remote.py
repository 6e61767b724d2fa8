"""A worker on another machine gives what one on this machine gives, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading

import pytest
from support.remote import MODEL, TASK, Direct, Scripted, log_in, plan_job

from llmbench import storage
from llmbench.runner.engine import agent as agents
from llmbench.runner.engine import remote
from llmbench.runner.engine.agent import Agent, Piece, open_scratch
from llmbench.runner.engine.remote import Gone, RemoteWorker
from llmbench.runner.folder.answers import EMPTY
from llmbench.runner.process import Child

CELL = f"cells/{MODEL}/{TASK}.json"
END = {"event": "end"}


def digest(raw):
    return hashlib.sha256(raw).hexdigest()


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return plan_job(tmp_path_factory.mktemp("planned"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def agent(place, planned):
    """An agent whose worker waits for a job."""
    found = Agent(f"{MODEL}/worker.log", planned[1])
    yield found
    found.stop()


@pytest.fixture
def start(place, planned):
    """A worker with its job. more: of the job."""

    def begin(link, **more):
        worker = RemoteWorker(link, log_in(place / "out"))
        worker.send({**planned[0], "out": str(place / "out"), **more})
        return worker

    return begin


def say_cell(raw):
    return {"event": "cell", "task": TASK, "outcome": "done", "digest": digest(raw)}


def follow(worker):
    events = []
    for event in worker.events(60):
        events.append(event)
        if event["event"] == "end":
            break
    worker.wait()
    worker.kill()
    return events


def read_files(out):
    """The files of a run's folder, without what tells how long it took."""
    found = {}
    for file in sorted(out.rglob("*")):
        name = file.relative_to(out).as_posix()
        if file.is_file() and not name.startswith("certificates/"):
            found[name] = file.read_bytes()
    cell = json.loads(found.pop(CELL))
    return found, {key: cell[key] for key in cell.keys() - {"seconds", "digest"}}


def test_a_cell_from_another_machine_has_the_bytes_of_one_from_here(place, planned, agent, start):
    here = Child(log_in(place / "here"), planned[1])
    here.send({**planned[0], "out": str(place / "here")})
    follow(here)
    names = [event["event"] for event in follow(start(Direct(agent)))]
    assert [name for name in names if name != "progress"] == ["task", "cell", "certificate", "end"]
    assert read_files(place / "out") == read_files(place / "here")
    assert (place / "out" / "certificates" / f"{MODEL}.json").is_file()
    assert not agent.folder.exists()


def test_the_end_of_a_worker_there_is_said_as_that_of_one_here(place, planned, start):
    modules, options = ("no_such_module",), planned[1]
    here = Child(log_in(place / "here"), options, arguments=modules)
    there = start(Direct(Agent(f"{MODEL}/worker.log", options, modules)))
    assert follow(here) == follow(there) == []
    reason, message, hint = here.explain_end(1.0)
    assert message.startswith("the worker ended with exit code 1: ModuleNotFoundError")
    assert there.explain_end(1.0) == (reason, f"{message} (on away)", hint)
    assert "Traceback" in log_in(place / "out").read_text()


def test_a_worker_ends_while_its_events_are_waited_for(agent):
    os.killpg(agent._child.process.pid, signal.SIGKILL)
    assert agent.poll(60.0).is_over
    (_, message, _), _ = agent.stop()
    assert "signal SIGKILL" in message
    assert agent.poll(60.0).is_over


def test_files_that_are_larger_than_a_piece_travel_both_ways(place, agent, monkeypatch):
    for module in (agents, remote):
        monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    worker = RemoteWorker(Direct(agent), log_in(place / "out"))
    for size in (0, 1, 999, 1000, 1001, 123_456):
        raw = os.urandom(size)
        (place / "big").write_bytes(raw)
        worker._out = place
        worker._push([("big", digest(raw))])
        assert (agent.folder / "big").read_bytes() == raw
        worker._out = place / "out"
        worker._fetch("big", digest(raw))
        assert (place / "out" / "big").read_bytes() == raw


def test_an_agent_takes_no_file_with_another_digest_and_none_outside_its_folder(agent):
    with pytest.raises(storage.Damaged, match="changed on its way"):
        agent.store([Piece("a/b", b"one", None), Piece("a/b", b"two", digest(b"other"))])
    assert list((agent.folder / "a").iterdir()) == []
    for name in ("../b", "/etc/passwd", "a/../../b", ""):
        with pytest.raises(storage.Damaged):
            agent.store([Piece(name, b"", digest(b""))])
        with pytest.raises(storage.Damaged):
            agent.read(name, 0, 1)


def test_a_cell_with_another_digest_is_not_taken_and_the_log_says_so(place, start):
    forged = Scripted([[say_cell(b"what it says"), END]], {CELL: b"what is there"})
    worker = start(forged)
    assert follow(worker) == [say_cell(b"what it says"), END]
    assert not (place / "out" / CELL).exists()
    log = log_in(place / "out").read_text()
    assert f"not taken from away: {CELL}: not the file that its worker says it wrote" in log


@pytest.mark.parametrize(
    "name",
    [
        "../samples/x.jsonl",
        f"samples/{MODEL}/../../x.jsonl",
        f"/samples/{MODEL}/x.jsonl",
        "samples/other/x.jsonl",
        f"cells/{MODEL}/x.json",
    ],
)
def test_a_cell_brings_no_file_that_is_not_its_own(place, start, name):
    raw = json.dumps({"files": {name: digest(b"x")}}).encode()
    worker = start(Scripted([[say_cell(raw), END]], {CELL: raw, name: b"x"}))
    assert len(follow(worker)) == 2
    files = [file.name for file in (place / "out").rglob("*") if file.is_file()]
    assert files == ["worker.log"]
    assert "does not belong to it" in log_in(place / "out").read_text()


def test_a_cell_is_not_there_before_what_belongs_to_it(place, start):
    name = f"samples/{MODEL}/x.jsonl"
    raw = json.dumps({"files": {name: digest(b"x")}}).encode()
    agent = Scripted([[say_cell(raw), END]], {CELL: raw, name: b"not x"})
    follow(start(agent))
    assert not (place / "out" / CELL).exists()
    agent = Scripted([[say_cell(raw), END]], {CELL: raw, name: b"x"})
    follow(start(agent))
    assert (place / "out" / CELL).read_bytes() == raw
    assert (place / "out" / name).read_bytes() == b"x"


def test_a_shard_is_here_when_its_event_is(place, start):
    shard = {"event": "shard", "task": TASK, "name": "0-3.npz", "digest": digest(b"shard")}
    agent = Scripted([[shard, END]], {f"shards/{MODEL}/{TASK}/0-3.npz": b"shard"})
    file = place / "out" / "shards" / MODEL / TASK / "0-3.npz"
    for event in start(agent).events(60):
        if event["event"] == "shard":
            assert file.read_bytes() == b"shard"
            break
    else:
        pytest.fail("no event")


def test_a_worker_has_the_shards_and_the_certificate_that_its_job_names(place, start):
    names = [f"shards/{MODEL}/{TASK}/{i}.npz" for i in range(3)]
    names += [f"certificates/{MODEL}.json", "certificates/other.json"]
    for name in names:
        storage.write_bytes(place / "out" / name, name.encode())
    digests = [digest(name.encode()) for name in names]
    agent = Scripted()
    start(agent, shards=digests[:2], certificates=digests[3:])
    assert agent.stored == {name: name.encode() for name in (*names[:2], names[3])}
    assert agent.calls[-1] == "feed"
    assert json.loads(agent.fed.split(b"\n")[0])["out"] == "/scratch"


def test_the_shards_of_a_reply_are_there_before_it_and_none_travels_twice(place, start):
    folder = f"shards/{MODEL}/{TASK}"
    claim = {"event": "claim", "task": TASK, "edges": [0, 1, 2]}
    own = {"event": "shard", "task": TASK, "name": "own.npz", "digest": digest(b"own")}
    agent = Scripted([[claim, own, claim, END]], {f"{folder}/own.npz": b"own"})
    worker = start(agent)
    storage.write_bytes(place / "out" / folder / "other.npz", b"other")
    follow(worker)
    reply = {"span": None, "shards": {"own.npz": digest(b"own"), "other.npz": digest(b"other")}}
    for _ in range(2):
        worker.send(reply)
    assert agent.stored == {f"{folder}/other.npz": b"other"}
    assert agent.calls[-3:] == ["store", "feed", "feed"]
    assert agent.fed.endswith(2 * (json.dumps(reply).encode() + b"\n"))


def test_a_helper_is_sent_no_shards_of_others(place, start):
    agent = Scripted()
    worker = start(agent, helps=True)
    storage.write_bytes(place / f"out/shards/{MODEL}/{TASK}/other.npz", b"other")
    worker.send({"span": None, "shards": {"other.npz": digest(b"other")}})
    assert agent.stored == {}


def test_a_machine_that_goes_away_ends_the_events_and_is_named(place, start):
    agent = Scripted([[{"event": "task", "task": TASK}], Gone("its node has died")])
    worker = start(agent)
    assert [event["event"] for event in worker.events(60)] == ["task"]
    worker.kill()
    reason, message, hint = worker.explain_end(1.0)
    assert (reason, message) == ("crashed", "the machine away went away: its node has died")
    assert "same --out" in hint
    assert agent.is_closed
    assert not worker.late


def test_a_machine_that_goes_away_before_the_job_is_found_out_by_reading(place, start):
    class Dead(Scripted):
        def call(self, method, *arguments, timeout=None):
            raise Gone("memory ran out", "out_of_memory")

    worker = start(Dead())
    assert list(worker.events(60)) == []
    assert worker.explain_end(1.0)[0] == "out_of_memory"


def test_a_silent_worker_is_late_and_not_gone(place, start):
    worker = start(Scripted([[{"event": "task", "task": TASK}]], is_silent=True))
    assert [event["event"] for event in worker.events(0.0)] == ["task"]
    assert worker.late
    assert worker.explain_end(0.5) == (
        "timeout",
        "no result within 0.5 s",
        "give more with --timeout",
    )


def test_what_a_worker_printed_is_in_the_log_of_the_run(place, start):
    worker = start(Scripted())
    follow(worker)
    assert log_in(place / "out").read_text() == "last words\n"
    assert worker.explain_end(1.0)[1] == "the worker ended with exit code 3 (on away)"


def seal(raw):
    return len(raw), digest(raw)


def say_answers(raw):
    return {"event": "answers", "seal": list(seal(raw))}


def test_kept_answers_go_there_and_come_back_as_they_grow(place, start):
    name, file = f"answers/{MODEL}.jsonl", place / "out" / f"answers/{MODEL}.jsonl"
    storage.write_bytes(file, b"one\nnot believed")
    agent = Scripted([[say_answers(b"one\ntwo\n")], [], [say_answers(b"one\ntwo\nthree\n"), END]])
    agent.files[name] = b"one\ntw"  # told of before it is written
    worker = start(agent, answers=seal(b"one\n"))
    assert agent.stored == {name: b"one\n"}
    events = worker.events(60)
    assert next(events)["seal"] == list(seal(b"one\ntwo\n"))
    assert file.read_bytes() == b"one\nnot believed"
    agent.files[name] = b"one\ntwo\n"
    assert next(events)["event"] == "answers"
    assert file.read_bytes() == b"one\ntwo\n"
    agent.files[name] = b"one\ntwo\nthree\nfour"
    follow(worker)
    assert file.read_bytes() == b"one\ntwo\nthree\n"


def test_answers_that_are_not_as_the_worker_said_stay_there(place, start):
    agent = Scripted([[say_answers(b"one\n")], [END]], {f"answers/{MODEL}.jsonl": b"two\n"})
    follow(start(agent, answers=EMPTY))
    assert not (place / "out" / f"answers/{MODEL}.jsonl").exists()


def test_a_helper_keeps_no_answers(place, start):
    agent = Scripted([[say_answers(b"one\n"), END]], {f"answers/{MODEL}.jsonl": b"one\n"})
    assert follow(start(agent, answers=EMPTY, helps=True)) == [END]
    assert not (place / "out" / f"answers/{MODEL}.jsonl").exists()


def test_folders_of_agents_that_were_killed_are_removed_and_others_are_not(place):
    dead, lock = open_scratch()
    lock.close()
    alive, lock = open_scratch()
    assert not dead.exists()
    _, other = open_scratch()
    assert alive.exists()
    lock.close()
    other.close()


def test_a_worker_is_killed_while_another_thread_waits_for_its_events(place, planned, agent):
    worker, ended = RemoteWorker(Direct(agent), log_in(place / "out")), []
    thread = threading.Thread(target=lambda: ended.extend(worker.events(600)), daemon=True)
    thread.start()
    worker.kill()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert ended == []
    assert not worker.late
