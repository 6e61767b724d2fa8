"""Worker processes as the parent sees them: started in a session of their own, sent lines, read for
events, and said in words how they ended.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from llmbench import limits, system
from llmbench.errors import Reason
from llmbench.hardware import machine
from llmbench.plan.plan import Options
from llmbench.runner.forking.forked import Forked, ForkServer
from llmbench.runner.messages import Event, encode

SETTLING = (
    "cell",
    "shard",
    "failed",
    "loaded",
    "ready",
    "block",
    "probe",
)  # events after which the time that is allowed begins anew
MARKER = "LLMBENCH_WORKER"  # the variable that marks a worker's processes


class Child:
    """One worker. It ends with its parent, since its stdin does, or with `open_child`."""

    is_gone = False  # see engine.Worker: this machine is where the run is

    def __init__(
        self,
        log: Path,
        options: Options,
        module: str = "llmbench.runner.worker",
        arguments: Sequence[str] = (),
        server: ForkServer | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ):
        """Start it. server: forks the worker of `module`, if it can. environment: variables that it
        has besides its parent's.
        """
        self._environment = environment
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.late, self._kills = log, False, machine.oom_kills()
        self._token, self.marker = secrets.token_hex(16).encode(), secrets.token_hex(16)
        self._rest, self._waiting = b"", deque[Event]()
        self._more: Mapping[str, object] = {}  # keys of the next message
        self.process = self._start(options, [module, *arguments], server)
        assert self.process.stdout is not None
        self._said = system.PipeReader(self.process.stdout)
        with suppress(BrokenPipeError):
            assert self.process.stdin is not None
            self.process.stdin.write(self._token + b"\n")
            self.process.stdin.flush()

    def _start(
        self, options: Options, command: Sequence[str], server: ForkServer | None
    ) -> subprocess.Popen[bytes] | Forked:
        with self.log.open("ab") as errors:
            if server is not None:
                with suppress(OSError):  # without it a process does the same, later
                    return server.fork(errors, {MARKER: self.marker})
            return subprocess.Popen(
                [sys.executable, "-P", "-m", *command],  # -P: nothing here hides a library
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**make_environment(options), **self._environment, MARKER: self.marker},
                start_new_session=system.OWN_SESSION,  # so that Ctrl-C reaches the parent alone
                creationflags=system.OWN_GROUP,
            )

    def send(self, message: Mapping[str, object]) -> None:
        """Send a job or a command. If the child is dead, reading its events finds out."""
        assert self.process.stdin is not None
        more, self._more = self._more, {}
        with suppress(BrokenPipeError):
            for piece in encode({**message, **more}):
                self.process.stdin.write(piece)
            self.process.stdin.flush()

    def move_log(self, log: Path) -> None:
        """Copy its log to another file, which it goes on with when it gets its job."""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(self.log.read_bytes())
        self.log, self._more = log, {"log": str(log)}

    def events(self, timeout: float) -> Iterator[Event]:
        """Its events, until it ends, or is `late`: none of those that settle something came within
        `timeout` seconds. Iteration can continue later.
        """
        deadline = time.monotonic() + timeout
        while (event := self._next(deadline)) is not None:
            if event["event"] in SETTLING:
                deadline = time.monotonic() + timeout
            yield event

    def _next(self, deadline: float) -> Event | None:
        while not self._waiting:
            left = deadline - time.monotonic()
            piece = self._said.read(min(max(0.0, left), limits.WAIT_SECONDS))
            if piece is None:
                if left > limits.WAIT_SECONDS:
                    continue
                self.late = True
            if not piece:
                return None
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) > limits.EVENT_BYTES:
                self._rest = b""
            for line in lines:
                _, token, text = line.partition(self._token)
                with suppress(ValueError):
                    if token and isinstance(event := json.loads(text), dict) and "event" in event:
                        self._waiting.append(cast(Event, event))
        return self._waiting.popleft()

    def explain_end(self, timeout: float) -> tuple[Reason, str, str]:
        """(reason, message, hint) for a worker that ended with work left open."""
        if self.late:
            return "timeout", f"no result within {timeout:g} s", "give more with --timeout"
        now = machine.oom_kills()
        if (
            self.process.returncode == system.KILLED
            and self._kills is not None
            and now is not None
            and now > self._kills
        ):
            return (
                "out_of_memory",
                "the worker was killed by the OOM killer",
                "use a smaller model, or a machine with more memory",
            )
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f": {lines[-1][:300]}" if lines else ""
        place = f"see {self.log.parent.name}/{self.log.name} in the run's cells"
        return (
            "crashed",
            f"the worker ended with {_exit_words(self.process.returncode)}{last}",
            place,
        )

    def wait(self) -> None:
        """Let a worker that said all end by itself."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=limits.GOODBYE_SECONDS)

    def kill(self) -> None:
        """End it, and whatever its model started."""
        system.kill_group(self.process.pid)
        self.process.wait()
        kill_marked(self.marker)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()


def make_environment(options: Options) -> dict[str, str]:
    """Return the environment of a worker, but for its mark."""
    threads = machine.thread_settings(options.threads or machine.cores())
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if options.offline else {}
    return {**os.environ, **threads, **offline}


def kill_marked(marker: str) -> None:
    """End what a worker's model has left behind in a session of its own. Processes inherit the mark
    in their environment; one that was started without it, or wrote over it as servers that name
    their processes do, is not found. So guards, which know theirs, are left to end by themselves.
    """
    import psutil

    guards = list[psutil.Process]()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(MARKER) != marker:
                continue
            if system.GUARDS in environment:
                guards.append(process)
            else:
                process.kill()
    deadline = time.monotonic() + limits.GOODBYE_SECONDS
    while any(map(_is_alive, guards)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for guard in guards:
        with suppress(psutil.Error):
            guard.kill()


def _is_alive(process: Any) -> bool:
    """Whether a process of psutil's runs: not its number alone, and no zombie."""
    import psutil

    with suppress(psutil.Error):
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def open_child(
    log: Path,
    options: Options,
    module: str = "llmbench.runner.worker",
    started: Child | None = None,
) -> Iterator[Child]:
    """A child that does not outlive this block: one that is `started` already, or a new one."""
    child = started or Child(log, options, module)
    try:
        yield child
    finally:
        child.kill()


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
