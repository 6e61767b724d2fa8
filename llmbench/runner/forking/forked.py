"""Workers that are forked by a process which has imported what they need, as the parent sees
them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO

from llmbench.plan.resolved_model import ResolvedModel
from llmbench.runner.forking.server import REQUEST_BYTES

LOOK_SECONDS = 0.01  # between two looks at a worker that is to end
FEWEST = 3  # workers for which a server pays


class ForkServer:
    """A process that forks workers. OSError wherever it is not there any more."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], log: Path):
        """Start it. modules: what it imports; the last has the `main` of a worker. log: gets what
        it prints.
        """
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        module = "llmbench.runner.forking.server"
        log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._is_ready = False

    def fork(self, log: IO[bytes], environment: Mapping[str, str] = MappingProxyType({})) -> Forked:
        """Start a worker that writes what it prints to `log`.

        environment: variables that it, and what its model starts, have besides the server's.
        """
        if not self._is_ready:
            self._receive()
            self._is_ready = True
        their_in, our_in = os.pipe()
        our_out, their_out = os.pipe()
        stdin, stdout = os.fdopen(our_in, "wb"), os.fdopen(our_out, "rb", buffering=0)
        try:
            request = json.dumps({"do": "fork", "environment": dict(environment)}).encode()
            socket.send_fds(self._socket, [request], [their_in, their_out, log.fileno()])
            return Forked(self, self._receive()["pid"], stdin, stdout)
        except BaseException:
            stdin.close()
            stdout.close()
            raise
        finally:
            os.close(their_in)
            os.close(their_out)

    def find_code(self, pid: int) -> int | None:
        """Return the exit code of a worker, negative for a signal; None while it runs."""
        self._socket.sendall(json.dumps({"do": "wait", "pid": pid}).encode())
        code: int | None = self._receive()["code"]
        return code

    def close(self) -> None:
        """End the process; its workers have to be ended before."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _receive(self) -> dict[str, int]:
        line = self._socket.recv(REQUEST_BYTES)
        if not line:
            raise BrokenPipeError("the process that forks workers has ended")
        answer: dict[str, int] = json.loads(line)
        return answer


class Forked:
    """A worker that a ForkServer forked, with what is used here of subprocess.Popen."""

    def __init__(self, server: ForkServer, pid: int, stdin: IO[bytes], stdout: IO[bytes]):
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode = -9  # if nobody is left to tell it
        self._server, self._is_over = server, False

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        if not self._is_over:
            with suppress(OSError, ValueError):
                code = self._server.find_code(self.pid)
                if code is None:
                    return None
                self.returncode = code
            self._is_over = True
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(LOOK_SECONDS)
        return code


def can_be_forked(model: ResolvedModel) -> bool:
    """Whether the worker of a model may be forked: other people's code runs in a process of its
    own, and what needs no torch has none in it.
    """
    return model.facts.needs_torch and not model.is_outside


@contextmanager
def open_server(
    modules: Sequence[Sequence[str]], worker: str, environment: Mapping[str, str], log: Path
) -> Iterator[ForkServer | None]:
    """A server for workers that each import torch and some of `modules`; None where no process can
    be forked, or where that would save no time.

    worker: the module with the `main` of a worker.
    """
    if sys.platform != "linux" or len(modules) < FEWEST:
        yield None
        return
    names = dict.fromkeys(name for some in modules for name in some)
    server = ForkServer(["torch", *names, worker], environment, log)
    try:
        yield server
    finally:
        server.close()
