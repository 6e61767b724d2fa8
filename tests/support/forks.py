"""Child processes of tests without the seconds of their imports: one process for each pytest
process imports torch and llmbench once, and forks what tests, and the runs that they start, would
start anew (`llmbench.runner.forking` does so for speed workers). Processes are as before: one each,
with pipes, a session, a signal and an exit code of their own; only the parent of a worker is the
process that forks it, so a model finds its run by RUN.

A process is started anew if its environment differs in what is read at import, on other systems
than Linux, and everywhere if LLMBENCH_TESTS_FRESH is set, as the fixture `fresh` does.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from llmbench import system
from llmbench.data import hub
from llmbench.plan import adapter_code
from llmbench.runner.forking.forked import Forked, ForkServer
from llmbench.runner.forking.server import REQUEST_BYTES, serve
from llmbench.runner.process import MARKER, Child, make_environment

FRESH = "LLMBENCH_TESTS_FRESH"
RUN = "LLMBENCH_TESTS_RUN"  # the process id of a forked run
COMMAND = "LLMBENCH_TESTS_COMMAND"  # of a worker that is forked for a run: module and arguments
IMPORTED = "support.warm"
READ_AT_IMPORT = ("PYTHON", "LD_", "MALLOC", "GLIBC")
WORKERS = ("llmbench.runner.worker", "llmbench.runner.workers.max_batch")
TESTS = Path(__file__).parents[1]
START = dict(os.environ)


class Server(ForkServer):
    """A ForkServer that several threads of a run may ask."""

    def __init__(self, *arguments, connected: socket.socket | None = None):
        """Start it, unless one is `connected` already."""
        self._lock = threading.Lock()
        if connected is None:
            super().__init__(*arguments)
        else:
            self._socket, self._is_ready = connected, False

    def fork(self, *arguments) -> Forked:
        with self._lock:
            return super().fork(*arguments)

    def find_code(self, pid: int) -> int | None:
        with self._lock:
            return super().find_code(pid)


# In the pytest process
# --------------------------------------------------------------------------------------------------


@functools.cache
def _server() -> Server:
    """The process that forks, started by the first test that needs it."""
    folder = tempfile.TemporaryDirectory(prefix="llmbench-tests-")
    server = Server([IMPORTED, __name__], add_tests(START), Path(folder.name) / "log")
    atexit.register(folder.cleanup)
    atexit.register(server.close)
    return server


def add_tests(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that can import `support`."""
    known = environment.get("PYTHONPATH", "")
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), known]))}


def can_be_forked(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment is the same if it is forked."""
    if sys.platform != "linux" or FRESH in os.environ:
        return False
    names = {name for name in {*START, *environment} if name.startswith(READ_AT_IMPORT)}
    return any(
        all(known.get(name) == environment.get(name) for name in names)
        for known in (START, add_tests(START))
    )


class Process:
    """`python -m MODULE ARGUMENTS`, forked, with what is used here of subprocess.Popen."""

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        terminal: int | None = None,
    ):
        """Fork it. terminal: the file descriptor of one that gets all that it prints."""
        ours, theirs = os.pipe()
        with os.fdopen(theirs, "wb") as errors:
            said = errors if terminal is None else os.fdopen(terminal, "wb", closefd=False)
            self._forked = _fork(said, arguments, cwd, environment, terminal is not None)
        self._forked.stdin.close()
        self.pid, self.stdout = self._forked.pid, io.TextIOWrapper(self._forked.stdout)
        self.stderr = os.fdopen(ours, encoding="utf-8")

    @property
    def returncode(self) -> int | None:
        return self._forked.poll()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        return self._forked.wait(timeout)

    def communicate(self, timeout: float) -> tuple[str, str]:
        said: dict[str, str] = {}

        def read(name: str) -> None:
            said[name] = getattr(self, name).read()

        readers = [threading.Thread(target=read, args=(name,)) for name in ("stdout", "stderr")]
        for reader in readers:
            reader.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            system.kill_group(self.pid)
            raise
        finally:
            for reader in readers:
                reader.join(timeout)
        return said["stdout"], said["stderr"]

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.stdout.close()
        self.stderr.close()


def _fork(
    errors: io.BufferedWriter,
    arguments: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    to_terminal: bool = False,
) -> Forked:
    forked = _server().fork(errors)
    request = {
        "arguments": arguments,
        "cwd": str(cwd),
        "environment": dict(environment),
        "cores": list(os.sched_getaffinity(0)),
        "to_terminal": to_terminal,
    }
    forked.stdin.write(json.dumps(request).encode() + b"\n")
    forked.stdin.flush()
    return forked


def run(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ARGUMENTS` and return how it ended and what it printed."""
    command = [sys.executable, "-m", *arguments]
    if not can_be_forked(env):
        return subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False
        )
    with Process(arguments, cwd, env) as child:
        out, err = child.communicate(timeout)
        return subprocess.CompletedProcess(command, child.wait(), out, err)


def fork_workers() -> None:
    """Have the workers of runs in this process forked."""

    def start(command: Sequence[str], environment: Mapping[str, str], errors: io.BufferedWriter):
        if can_be_forked(environment):
            mine = {**environment, RUN: str(os.getpid())}
            return _fork(errors, ["-P", *command], Path.cwd(), mine)
        return None

    _replace_starts(start)


def _replace_starts(start) -> None:
    """Have `start` start workers, if it can, and the processes that only import a model's code."""
    usual = Child._start

    def start_worker(self, options, command, server):
        if server is None and command[0] in WORKERS:
            environment = {**make_environment(options), **self._environment, MARKER: self.marker}
            with suppress(OSError), self.log.open("ab") as errors:
                if (worker := start(command, environment, errors)) is not None:
                    return worker
        return usual(self, options, command, server)

    def run_child(command, *, input, env=None, timeout=None, text=False, **rest):
        with tempfile.TemporaryFile() as errors:
            child = start(command[3:], os.environ if env is None else env, errors)
            if child is None:
                rest |= {"timeout": timeout, "text": text, "env": env}
                return subprocess.run(command, input=input, **rest)
            timer = threading.Timer(timeout or 600, system.kill_group, (child.pid,))
            timer.start()
            with suppress(BrokenPipeError), child.stdin:
                child.stdin.write(input.encode() if text else input)
            said, code = child.stdout.read(), child.wait()
            if not timer.is_alive():
                raise subprocess.TimeoutExpired(command, timeout)
            timer.cancel()
            errors.seek(0)
            told = [part.decode() if text else part for part in (said, errors.read())]
            return subprocess.CompletedProcess(command, code, *told)

    Child._start = start_worker
    for module in (adapter_code, hub):
        module.subprocess = types.SimpleNamespace(**vars(subprocess) | {"run": run_child})


# In a process that was forked
# --------------------------------------------------------------------------------------------------


def main() -> None:
    """Become what the first line of stdin says."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    request = json.loads(sys.stdin.buffer.readline())
    os.sched_setaffinity(0, request["cores"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # it may be another
    time.tzset()
    if request["to_terminal"]:
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True)
    first, *rest = request["arguments"]
    if first == "-P":
        _become_worker(rest)
        return
    os.environ[RUN] = str(os.getpid())
    _serve_workers()
    sys.path.insert(0, str(Path.cwd()))
    sys.argv[1:] = rest
    runpy.run_module(first, run_name="__main__", alter_sys=True)


def _become_worker(command: Sequence[str]) -> None:
    import torch

    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
        torch.set_num_threads(int(threads))  # it was loaded with another number
    module = importlib.import_module(command[0])
    sys.argv[:] = [str(module.__file__), *command[1:]]
    module.main()


def _serve_workers() -> None:
    """Fork a process that forks the workers of this one, and ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = dict(os.environ)
    if os.fork() == 0:
        system.end_with_parent()
        os.setsid()
        ours.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        if serve(theirs):
            theirs.close()
            _become_worker(json.loads(os.environ.pop(COMMAND)))
            raise SystemExit
        os._exit(0)
    theirs.close()
    server = Server(connected=ours)

    def start(command, wanted, errors):
        more = {name: value for name, value in wanted.items() if environment.get(name) != value}
        more[COMMAND] = json.dumps(list(command))
        is_like = all(not name.startswith(READ_AT_IMPORT) for name in more)
        if is_like and environment.keys() <= wanted.keys() and len(str(more)) < REQUEST_BYTES // 2:
            return server.fork(errors, more)
        return None

    _replace_starts(start)
