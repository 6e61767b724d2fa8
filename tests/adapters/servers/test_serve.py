"""Servers that llmbench starts: they answer before they are asked, and none outlives its use."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from support import paced_server
from support.paced_server import PacedServer

from llmbench.adapter import BuildContext
from llmbench.adapters.servers.adapter import OpenAIServer
from llmbench.adapters.servers.serve import guard
from llmbench.adapters.servers.serve.process import ServerProcess, answers
from llmbench.config import model_card
from llmbench.config.server_settings import Serve, ServerSettings, parse_spec
from llmbench.errors import ModelError, Unavailable, UsageError
from llmbench.plan import registry
from llmbench.runner import process

SCRIPT = paced_server.__file__


def find_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def arguments(port, *more, **serve):
    command = [sys.executable, SCRIPT, str(port), *more]
    return {
        "model": "tiny",
        "url": f"http://127.0.0.1:{port}/v1",
        "serve": {"command": command, "seconds": 60.0, **serve},
    }


def build(given, folder):
    return OpenAIServer.build(given, BuildContext(kept_answers=folder / "answers" / "m.jsonl"))


def is_gone(pid):
    """Whether a process has ended, within seconds."""
    try:
        process = psutil.Process(pid)
        gone, _ = psutil.wait_procs([process], timeout=20)
        return bool(gone) or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_server_is_started_asked_measured_and_ended_with_its_children(tmp_path):
    port = find_port()
    adapter = build(arguments(port, str(tmp_path / "child")), tmp_path)
    child = int((tmp_path / "child").read_text())
    assert psutil.pid_exists(child)
    own = psutil.Process(child).parent()
    held = adapter.measure_server()
    assert held.ram >= own.memory_info().rss - own.memory_info().shared
    assert held.source
    assert (tmp_path / "servers" / "m.log").read_text().strip() == "serving"
    adapter.close()
    assert is_gone(own.pid)
    assert is_gone(child)  # which ignores SIGTERM, in a session of its own
    assert not answers(f"http://127.0.0.1:{port}/v1/models")


@pytest.mark.slow
def test_a_server_ends_when_the_process_that_started_it_is_killed(tmp_path):
    port = find_port()
    code = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from llmbench.adapter import BuildContext\n"
        "from llmbench.adapters.servers.adapter import OpenAIServer\n"
        "given, folder = json.loads(sys.argv[1]), Path(sys.argv[2])\n"
        "kept = folder / 'answers' / 'm.jsonl'\n"
        "OpenAIServer.build(given, BuildContext(kept_answers=kept))\n"
        "print('built', flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[3]
    given = json.dumps(arguments(port, str(tmp_path / "child")))
    process = subprocess.Popen(
        [sys.executable, "-c", code, given, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == b"built\n"
        child = int((tmp_path / "child").read_text())
        own = psutil.Process(child).parent().pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert is_gone(own)
    assert is_gone(child)


def test_a_killed_worker_leaves_no_process_of_a_server_that_wrote_over_its_environment(
    tmp_path, monkeypatch
):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], env={})\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv(process.MARKER, "the mark of a worker")
    serve = Serve(command=[sys.executable, "-c", code], seconds=60.0)
    server = ServerProcess(serve, tmp_path / "log")
    while not server.log.read_bytes().endswith(b"\n"):
        server.measure()
    child = int(server.log.read_text())
    server._guard.stdin.close()  # as it is when a worker is killed
    process.kill_marked("the mark of a worker")
    assert is_gone(child)
    assert server._guard.wait() == 0


def test_a_command_that_ends_is_an_error_with_its_last_line(tmp_path):
    given = arguments(find_port())
    given["serve"]["command"] = [sys.executable, "-c", "print('no weights'); raise SystemExit(3)"]
    with pytest.raises(ModelError, match="ended with code 3 before it answered: no weights"):
        build(given, tmp_path)


def test_a_command_that_a_signal_ends_names_it_and_quotes_no_earlier_server(tmp_path):
    given = arguments(find_port())
    given["serve"]["command"] = [sys.executable, "-c", "print('no weights'); raise SystemExit(3)"]
    with pytest.raises(ModelError, match="no weights"):
        build(given, tmp_path)
    ill = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    given["serve"]["command"] = [sys.executable, "-c", ill]
    with pytest.raises(ModelError, match=r"signal SIGILL, .* processor") as no:
        build(given, tmp_path)
    assert no.value.what.endswith("before it answered")


def test_a_command_that_is_not_there_is_unavailable(tmp_path):
    given = arguments(find_port())
    given["serve"]["command"] = ["/no/such/program"]
    with pytest.raises(Unavailable, match="cannot start the server: No such file"):
        build(given, tmp_path)


def test_a_server_that_does_not_answer_in_time_is_ended(tmp_path):
    given = arguments(find_port(), seconds=0.5)
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid())); "
    code += "__import__('time').sleep(600)"
    given["serve"]["command"] = [sys.executable, "-c", code]
    with pytest.raises(ModelError, match=r"did not answer within 0\.5 s"):
        build(given, tmp_path)
    with suppress(FileNotFoundError, ValueError):  # it may have been ended before it wrote
        assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_server_that_is_there_already_is_not_taken_for_the_cards(tmp_path):
    with PacedServer() as server, pytest.raises(Unavailable, match="answers here already"):
        build(arguments(server.port), tmp_path)


def test_a_server_that_refuses_its_model_is_ended(tmp_path):
    port = find_port()
    given = {**arguments(port), "model": "another"}
    with pytest.raises(UsageError, match="the server has no model"):
        build(given, tmp_path)
    assert not answers(f"http://127.0.0.1:{port}/v1/models")


CARD = """\
name: mine
adapter: openai
arguments:
  model: tiny
  url: http://127.0.0.1:8000/v1
  serve:
    command: [./serve.sh, --host, 127.0.0.1]
"""


def test_a_card_runs_its_command_in_its_own_folder(tmp_path):
    (tmp_path / "mine.yaml").write_text(CARD)
    card = registry.resolve(str(tmp_path / "mine.yaml"))
    settings = ServerSettings.model_validate(card.arguments)
    assert settings.serve.folder == str(tmp_path)
    assert settings.serve.command == ["./serve.sh", "--host", "127.0.0.1"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[./serve.sh, --host, 127.0.0.1]", "[]", r"mine\.yaml:7:14: command: too few entries"),
        ("[./serve.sh, --host, 127.0.0.1]", "serve it", r"mine\.yaml:7:14"),
        ("command:", "comand:", r"mine\.yaml:7:5: unknown key 'comand'"),
        ("    command:", "    health: nowhere\n    command:", r"mine\.yaml:7:13: .*expected http"),
    ],
)
def test_a_wrong_serve_is_refused_with_its_place(tmp_path, old, new, said):
    (tmp_path / "mine.yaml").write_text(CARD.replace(old, new))
    with pytest.raises(UsageError, match=said):
        registry.resolve(str(tmp_path / "mine.yaml"))


def test_no_spec_of_a_command_line_starts_a_command():
    with pytest.raises(UsageError, match="unknown option 'serve'"):
        parse_spec("openai:m@http://localhost:1/v1?serve=rm")
    assert "serve" not in model_card.Card.model_fields


def test_new_processes_are_looked_for_less_often_while_there_are_none(monkeypatch, tmp_path):
    tree = guard.Tree([sys.executable, "-c", "input()"], None, str(tmp_path / "log"))
    clock, looks, found = 0.0, [], iter([False] * 9 + [True] + [False] * 99)
    monkeypatch.setattr(guard.time, "monotonic", lambda: clock)
    monkeypatch.setattr(tree, "_look", lambda: (looks.append(round(clock, 1)), next(found))[1])
    for step in range(120):
        clock = step * guard.EVERY
        tree.sample()
    monkeypatch.undo()
    tree.end()
    assert looks[:5] == [0.0, 0.4, 1.2, 2.8, 6.0]
    assert max(b - a for a, b in pairwise(looks)) == pytest.approx(guard.LONGEST, abs=0.3)
    again = looks[9]  # where one was found
    assert looks[10:12] == pytest.approx([again + 0.2, again + 0.6], abs=0.01)
