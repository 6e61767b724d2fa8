"""A process between llmbench and a server that it started: it samples the memory of the server's
processes, and ends them as soon as its stdin ends, which it does however llmbench ends.

On stdin: a line of JSON with the command, then `measure` as often as wanted. On stdout: a line of
JSON for each. It runs in a session of its own, and so does the server.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import psutil

from llmbench import limits, system

EVERY = 0.2  # seconds between two samples of memory
LONGEST = 3.2  # seconds between two looks for new processes, which cost far more than a sample
PATIENCE = limits.GOODBYE_SECONDS / 2  # for the server to end by itself: the run waits longer


class Tree:
    """A server's processes: the command's, and all that these have started, as far as seen."""

    def __init__(self, command: list[str], folder: str | None, log: str):
        with open(log, "ab") as out:  # noqa: PTH123  # as it was given
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=system.OWN_SESSION,
                creationflags=system.OWN_GROUP,
            )
        self.ram, self.gpu = 0, 0
        self._known = {self.process.pid: psutil.Process(self.process.pid)}
        self._pause, self._next_look = EVERY, 0.0
        self._devices = _find_gpus()

    def sample(self) -> None:
        """Keep the most memory that all held at once, and look for new processes: less and less
        often while there are none, because a look reads the list of all that run on the machine
        and takes time from the server.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._pause = EVERY if self._look() else min(2 * self._pause, LONGEST)
            self._next_look = now + self._pause
        private, shared = 0, 0
        for process in list(self._known.values()):
            try:
                held = process.memory_info()
            except psutil.Error:
                continue
            common = held.shared if sys.platform == "linux" else 0
            private, shared = private + max(0, held.rss - common), max(shared, common)
        self.ram = max(self.ram, private + shared)
        self.gpu = max(self.gpu, sum(self._read_gpu(*device) for device in self._devices))

    def _look(self) -> bool:
        before = len(self._known)
        for process in list(self._known.values()):
            with suppress(psutil.Error):
                for child in process.children(recursive=True):
                    self._known.setdefault(child.pid, child)
        return len(self._known) > before

    def _read_gpu(self, library: Any, handle: Any) -> int:
        with suppress(Exception):  # a driver that does not tell
            rows = library.nvmlDeviceGetComputeRunningProcesses(handle)
            return sum(row.usedGpuMemory or 0 for row in rows if row.pid in self._known)
        return 0

    def end(self) -> None:
        """Ask all to end; kill what has not after PATIENCE, and what has left the group."""
        self._look()
        system.ask_group_to_end(self.process.pid)
        for process in self._list_alive():
            with suppress(psutil.Error):
                process.terminate()
        deadline = time.monotonic() + PATIENCE
        while self._list_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
            self.process.poll()
            self._look()
        system.kill_group(self.process.pid)
        for process in self._list_alive():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait()

    def _list_alive(self) -> list[psutil.Process]:
        found = []
        for process in self._known.values():
            with suppress(psutil.Error):  # is_running: the same process, not its number alone
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def _find_gpus() -> list[tuple[Any, Any]]:
    """The driver's library and the handle of each GPU; none without a driver."""
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return [(pynvml, pynvml.nvmlDeviceGetHandleByIndex(number)) for number in range(count)]
    except Exception:  # no package, no driver, no GPU
        return []


def main() -> None:
    """Entry point of the process."""
    asked = json.loads(sys.stdin.buffer.readline())
    os.environ.pop(system.GUARDS, None)  # the server is no guard
    try:
        tree = Tree(asked["command"], asked["folder"], asked["log"])
    except OSError as error:
        _tell({"error": error.strerror or type(error).__name__})
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _tell({"pid": tree.process.pid})
        _watch(tree)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing stops it from ending the server
        tree.end()


def _watch(tree: Tree) -> None:
    """Answer, and sample, until stdin ends."""
    asked = system.PipeReader(0)
    while True:
        tree.sample()
        data = asked.read(EVERY)
        if data is None:
            continue
        if not data:
            return
        for _ in range(data.count(b"\n")):
            _tell({"ram": tree.ram, "gpu": tree.gpu, "code": tree.process.poll()})


def _tell(row: dict[str, object]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
