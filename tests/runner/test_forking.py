"""Workers that are forked: they are as those that are started, and their ends are told."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
from support.run_helpers import llmbench, run_json

from llmbench.runner.forking.forked import ForkServer, open_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
WORKER = """\
import json, os, sys

at_import = os.getpid()

def main():
    line = json.loads(sys.stdin.readline())
    facts = {"line": line, "forked": at_import != os.getpid(), "session": os.getsid(0)}
    facts["mark"] = os.environ.get("A_MARK")
    print(json.dumps(facts), flush=True)
    print("a log", file=sys.stderr, flush=True)
    sys.stdin.read()
    os._exit(line["code"])
"""


@pytest.fixture
def server(tmp_path):
    (tmp_path / "a_worker.py").write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    server = ForkServer(["a_worker"], environment, tmp_path / "server.log")
    yield server
    server.close()


def fork(server, log, code):
    with log.open("ab") as file:
        child = server.fork(file, {"A_MARK": str(code)})
    child.stdin.write(json.dumps({"code": code}).encode() + b"\n")
    child.stdin.flush()
    return child, json.loads(child.stdout.readline())


def test_a_forked_worker_has_pipes_a_log_a_session_and_an_exit_code_of_its_own(server, tmp_path):
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    (one, said), (other, said_too) = (
        fork(server, log, code) for log, code in zip(logs, (0, 7), strict=True)
    )
    assert said["forked"]
    assert (said["mark"], said_too["mark"]) == ("0", "7")  # so their models' children have it
    assert (said["session"], said_too["session"]) == (one.pid, other.pid)
    assert one.poll() is None
    for child, code in ((other, 7), (one, 0)):
        child.stdin.close()
        assert child.wait(timeout=60) == child.returncode == code
        assert child.stdout.read() == b""
        assert child.poll() == code
    assert [log.read_text() for log in logs] == ["a log\n"] * 2


def test_a_worker_that_was_killed_has_the_signal_as_its_code(server, tmp_path):
    child, _ = fork(server, tmp_path / "log", 0)
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait(timeout=60) == -signal.SIGKILL


def test_without_its_server_a_worker_ends_and_no_other_one_is_forked(server, tmp_path):
    child, _ = fork(server, tmp_path / "log", 0)
    server.close()
    assert child.stdout.read() == b""
    assert child.wait(timeout=60) == -signal.SIGKILL
    with pytest.raises(OSError), (tmp_path / "log").open("ab") as log:
        server.fork(log)


def test_few_workers_have_no_server(tmp_path):
    with open_server([["json"]] * 2, "json", os.environ, tmp_path / "log") as server:
        assert server is None


def test_speed_is_measured_in_forked_workers(tmp_path):
    (tmp_path / "suite.yaml").write_text("""\
name: turns
version: 1
texts:
  train: {source: fables, select: {part: tales, split: train}}
  valid: {source: fables, select: {part: tales, split: valid}}
  test: {source: fables, select: {part: tales, split: test}}
tasks: [{task: speed, prompt_bytes: 20, answer_bytes: 10, blocks: 8, block_seconds: 0.01}]
models: [char-ffn, rnn, transformer-decoder]
""")
    done = llmbench("run", "suite.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "cells" / "speed-server.log").read_text() == ""
    record = run_json(tmp_path / "out")
    assert record["failures"] == []
    measured = {path.parent.name for path in (tmp_path / "out" / "cells").glob("*/speed.json")}
    assert measured == {"char-ffn", "rnn", "transformer-decoder"}
