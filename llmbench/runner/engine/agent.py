"""What runs on another machine for a run: it starts a worker there, passes on what the run and the
worker say to each other, and hands over the files that each needs of the other.

It knows nothing of how it is called: an engine makes it the actor of a cluster, a test calls it as
it is.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TextIO

import llmbench
from llmbench import storage, system
from llmbench.conformance import certificates
from llmbench.errors import Reason
from llmbench.hardware import machine
from llmbench.plan.plan import Options
from llmbench.runner.messages import Event
from llmbench.runner.process import Child

PIECE_BYTES = 8 << 20  # of a file, in one call
BATCH_EVENTS = 1000  # in one answer
PREFIX = "llmbench-worker-"  # of folders that stand for a run's folder
LOCK = ".lock"

End = tuple[Reason, str, str]  # reason, message and hint, as `Child.explain_end` gives them


class Batch(NamedTuple):
    """What a worker has said since it was asked last. `log`: what it printed meanwhile; `is_over`:
    nothing more will come.
    """

    events: list[Event]
    log: bytes
    is_over: bool


class Piece(NamedTuple):
    """The next bytes of a file. `name`: relative to the run's folder; `digest`: sha256 of the whole
    file, with its last piece.
    """

    name: str
    raw: bytes
    digest: str | None


class Agent:
    """One worker on this machine, and a folder that stands for the run's while it works.

    `poll` may wait in one thread while another one calls anything else.
    """

    def __init__(
        self,
        log: str,
        options: Options,
        modules: Sequence[str] = (),
        place: Path | None = None,
        hides_gpus: bool = False,
    ):
        """Start the worker.

        Args:
            log: where what it prints is kept, relative to the folder.
            options: of the run; the worker's environment depends on them.
            modules: that the worker imports at once.
            place: the folder in which the worker starts, if this machine has it.
            hides_gpus: whether the worker sees no GPU, though the machine may have some.
        """
        if place is not None:
            with suppress(OSError):
                os.chdir(place)
        if hides_gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.folder, self._lock = open_scratch()
        self._log, self._logged = self.folder / log, 0
        self._ended: tuple[End, bytes] | None = None
        self._polling, self._feeding = threading.Lock(), threading.Lock()
        self._child = Child(self._log, options, arguments=modules)

    def find_folder(self) -> str:
        """Return the folder that stands for the run's."""
        return str(self.folder)

    def feed(self, raw: bytes) -> None:
        """Write bytes to the worker's stdin. If it is dead, polling finds out."""
        pipe = self._child.process.stdin
        assert pipe is not None
        with self._feeding, suppress(BrokenPipeError, ValueError):  # ValueError: it is closed
            pipe.write(raw)
            pipe.flush()

    def poll(self, timeout: float) -> Batch:
        """Return what the worker says, as soon as it says something, within `timeout` seconds."""
        child, events = self._child, list[Event]()
        with self._polling:
            is_over = self._ended is not None
            while not is_over and len(events) < BATCH_EVENTS:
                event = next(child.events(0.0 if events else timeout), None)
                if event is None:
                    is_over, child.late = not child.late, False
                    break
                events.append(event)
            return Batch(events, self._read_log(), is_over)

    def _read_log(self) -> bytes:
        with suppress(OSError), self._log.open("rb") as file:
            file.seek(self._logged)
            raw = file.read(PIECE_BYTES)
            self._logged += len(raw)
            return raw
        return b""

    def read(self, name: str, first: int, count: int) -> bytes:
        """Return `count` bytes of a file of the folder, or all to its end. OSError if there is no
        such file.
        """
        with storage.open_regular(find_inside(self.folder, name)) as file:
            file.seek(first)
            return file.read(count)

    def store(self, pieces: Sequence[Piece]) -> None:
        """Write pieces of files, in their order; a file is there after its last piece. Raises
        Damaged if it has another digest.
        """
        for piece in pieces:
            path = find_inside(self.folder, piece.name)
            beside = path.with_name(f".{path.name}-coming")
            beside.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("ab") as file:
                file.write(piece.raw)
            if piece.digest is not None:
                if storage.digest_file(beside) != piece.digest:
                    beside.unlink()
                    raise storage.Damaged(f"{piece.name}: changed on its way")
                beside.replace(path)

    def wait(self) -> None:
        """Let a worker that said all end by itself."""
        self._child.wait()

    def stop(self) -> tuple[End, bytes]:
        """End the worker, and whatever its model started; return how it ended, and the rest of what
        it printed. Its folder is removed.
        """
        if self._ended is None:
            system.kill_group(self._child.process.pid)  # so that `poll` returns
        with self._polling:
            if self._ended is None:
                self._child.kill()
                self._ended = self._child.explain_end(0.0), self._read_log()
                shutil.rmtree(self.folder, ignore_errors=True)
                self._lock.close()
            return self._ended


def open_scratch() -> tuple[Path, TextIO]:
    """Make a folder beside other temporary ones; return it and its lock. Those of agents that were
    killed are removed.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), (old / LOCK).open("r+") as lock:
            system.lock(lock)
            shutil.rmtree(old)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = (folder / f"{LOCK}-new").open("w")
    system.lock(lock)  # and only then has it the name by which it is looked for
    (folder / f"{LOCK}-new").rename(folder / LOCK)
    return folder, lock


def find_inside(folder: Path, name: str) -> Path:
    """Return the path of a file of a folder; Damaged if the name leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in name:
        raise storage.Damaged(f"{name!r} is no file of the run's folder")
    return folder / name


def describe_machine() -> dict[str, str]:
    """Return what must be the same on all machines of a run: name -> version."""
    packages = ("torch", "transformers", "tokenizers", "numpy")
    found = {name: machine.version(name) or "none" for name in packages}
    return {
        "Python": platform.python_version(),
        "llmbench": llmbench.__version__,
        **found,
        "the code of llmbench": certificates.version(),
    }
