"""A server that llmbench starts by the command of a card."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmbench import limits, system
from llmbench.config.server_settings import Serve, ServerSettings
from llmbench.errors import ModelError, Unavailable
from llmbench.hardware import energy
from llmbench.inference.serving.load import ServerMemory

POLL = 0.25  # seconds between two looks whether the server answers
HEALTHY = (401, 403)  # it answers, and wants a key
SOURCE = (
    "psutil: private memory of the server's processes and the largest shared part, sampled every"
    " 0.2 s"
)
GUARD = "llmbench.adapters.servers.serve.guard"


def _name_code(code: int) -> str:
    """The code of a process that ended, or the signal that ended it."""
    if code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            hint = ", which programs built for another processor end with"
            return f"signal {name}{hint if name == 'SIGILL' else ''},"
    return f"code {code}"


class ServerProcess:
    """A server and its guard. Both end with `close`, and with this process however it ends."""

    def __init__(self, serve: Serve, log: Path):
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._begun = log.stat().st_size if log.exists() else 0  # what earlier servers wrote
        self._lock = threading.Lock()
        self._counter: energy.Counter | None = None
        self._guard = subprocess.Popen(
            [sys.executable, "-P", "-m", GUARD],
            env={**os.environ, system.GUARDS: "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # so that it outlives whoever kills this process's group
            start_new_session=system.OWN_SESSION,
            creationflags=system.OWN_GROUP,
        )
        asked = {"command": serve.command, "folder": serve.folder or None, "log": str(log)}
        begun = self._ask(json.dumps(asked))
        if "pid" not in begun:
            self.close()
            why = begun.get("error", "its guard ended")
            raise Unavailable(
                f"cannot start the server: {why}",
                where=serve.command[0],
                hint="correct the `command` under `serve` in the card",
            )

    def _ask(self, line: str) -> dict[str, Any]:
        """What the guard answers to a line; nothing if it has ended."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        with self._lock, suppress(OSError, ValueError):
            self._guard.stdin.write(line.encode() + b"\n")
            self._guard.stdin.flush()
            found = json.loads(self._guard.stdout.readline() or b"{}")
            return found if isinstance(found, dict) else {}
        return {}

    def wait_until_healthy(self, url: str, seconds: float, report: Callable[[str], None]) -> None:
        """Return when the server answers at this address. Raises ModelError if it ends, or does not
        answer in time.
        """
        begun = time.monotonic()
        while True:
            code = self._ask("measure").get("code", -1)
            if code is not None:
                raise ModelError(
                    f"the server's command ended with {_name_code(code)} before it answered"
                    f"{self._quote_log()}",
                    where=url,
                    hint=f"its output is in {self.log}",
                )
            if answers(url):
                return
            waited = time.monotonic() - begun
            if waited > seconds:
                raise ModelError(
                    f"the server did not answer within {seconds:g} s",
                    where=url,
                    hint=f"its output is in {self.log}; give it more with `seconds` under `serve`",
                )
            report(f"waiting for the server, {waited:.0f} s")
            time.sleep(POLL)

    def _quote_log(self) -> str:
        """The last line that the server wrote."""
        with suppress(OSError):
            own = self.log.read_bytes()[self._begun :]
            lines = own[-4096:].decode("utf-8", "replace").strip().splitlines()
            return f": {lines[-1][:300]}" if lines else ""
        return ""

    def measure(self) -> ServerMemory:
        """Return the most memory that its processes have held so far."""
        found = self._ask("measure")
        return ServerMemory(found.get("ram") or None, found.get("gpu") or None, SOURCE)

    def read_energy(self) -> tuple[float | None, str]:
        """Return joules by the counter of the device that it uses, from any beginning, and the
        counter's name; None, and why, if there is none.
        """
        if self._counter is None:
            self._counter, why = energy.counter("cuda:0" if self.measure().gpu else "cpu")
            if self._counter is None:
                return None, why
        return self._counter.read(), self._counter.name

    def close(self) -> None:
        """End the server, and return when all its processes are gone."""
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._guard.wait(2 * limits.GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._guard.terminate()


def start_server(
    settings: ServerSettings, run_folder: Path | None, name: str, report: Callable[[str], None]
) -> ServerProcess | None:
    """Start the server that a card names, and wait until it answers; None if it names none.

    Its output goes into `servers/NAME.log` of the run's folder. Raises ModelError or Unavailable.
    """
    serve = settings.serve
    if serve is None:
        return None
    url = serve.health or f"{settings.url}/models"
    if answers(url):
        raise Unavailable(
            "a server answers here already, and would be taken for the card's",
            where=url,
            hint="stop it, or take `serve` out of the card",
        )
    if run_folder is None:
        run_folder = Path(tempfile.mkdtemp(prefix="llmbench-server-"))
    server = ServerProcess(serve, run_folder / "servers" / f"{name}.log")
    try:
        server.wait_until_healthy(url, serve.seconds, report)
    except BaseException:
        server.close()
        raise
    return server


def answers(url: str) -> bool:
    """Whether a server answers at an address: with success, or by asking for a key."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=5.0)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
        return 200 <= status < 300 or status in HEALTHY
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
