"""A worker on another machine, as the run sees it: like `process.Child`, but what it reads and
writes travels between the run's folder and one that stands for it there.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from llmbench import storage
from llmbench.errors import Reason
from llmbench.runner.engine.agent import PIECE_BYTES, Batch, End, Piece, find_inside
from llmbench.runner.engine.kept import AnswersCopy
from llmbench.runner.folder.shards import find_shelf
from llmbench.runner.messages import Event, Job, encode
from llmbench.runner.process import SETTLING

POLL_SECONDS = 20.0  # in one call that waits for events
STOP_SECONDS = 30.0  # for a worker's end
OF_CELL = ("samples", "charges", "events")  # folders with what belongs to a cell


class Gone(ConnectionError):
    """The machine of a worker does not answer any more. `reason`: as in the record's failures."""

    def __init__(self, what: str, reason: Reason = "crashed"):
        super().__init__(what)
        self.what, self.reason = what, reason


class Link(Protocol):
    """The way to the agent of a worker. `machine`: the name of its machine."""

    machine: str

    def call(self, method: str, *arguments: object, timeout: float | None = None) -> Any:
        """Return what a method of the agent returns, and raise what it raises; Gone if there is no
        answer, or none within `timeout` seconds.
        """

    def close(self) -> None:
        """End the agent."""


class RemoteWorker:
    """A worker that an agent has started. log: gets what it prints."""

    def __init__(self, link: Link, log: Path):
        self._link, self._log, self.late = link, log, False
        self._job: Job | None = None
        self._out, self._task = log.parent, ""
        self._waiting, self._is_over = deque[Event](), False
        self._gone: Gone | None = None
        self._end: End | None = None
        self._there: set[tuple[str, str]] = set()  # names and digests of files that both have
        self._answers: AnswersCopy | None = None
        self._ending = threading.Lock()
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()

    @property
    def is_gone(self) -> bool:
        """Whether its machine went away, through no fault of what it worked on."""
        return self._gone is not None and self._gone.reason != "out_of_memory" and not self.late

    # What the run says
    # ----------------------------------------------------------------------------------------------

    def send(self, message: Mapping[str, object]) -> None:
        """Send a job or a command, with the files that it names. If the worker or its machine is
        gone, reading its events finds out.
        """
        try:
            if "model" in message:
                message = self._prepare(cast(Job, message))
            elif shards := cast("Mapping[str, str]", message.get("shards")):
                self._push_shards(shards)
            for raw in join(encode(message)):
                self._link.call("feed", raw)
        except Gone as error:
            self._gone = error

    def _prepare(self, job: Job) -> Mapping[str, object]:
        """Send the files of a job; return it as the worker is to have it."""
        self._job, self._out = job, Path(job["out"])
        self._push(self._list_files(job))
        seal = job.get("answers")
        if seal is not None and not job.get("helps"):
            self._answers = AnswersCopy(self._out, self._model, seal)
            self._push_answers(self._answers)
        cache = job["options"]["cache"]
        options = {**job["options"], "cache": str(Path(cache).absolute()) if cache else None}
        return {**job, "options": options, "out": self._link.call("find_folder")}

    @property
    def _model(self) -> str:
        assert self._job is not None
        return str(cast("Mapping[str, Any]", self._job["model"])["card"]["name"])

    def _list_files(self, job: Job) -> Iterator[tuple[str, str]]:
        """Names and digests of the files that the worker may look for: shards and certificate."""
        known = {*job.get("shards", ()), *job["certificates"]}
        for pattern in (f"shards/{self._model}/*/*.npz", f"certificates/{self._model}.json"):
            for file in sorted(self._out.glob(pattern)):
                with suppress(OSError):
                    if (found := storage.digest_file(file)) in known:
                        yield file.relative_to(self._out).as_posix(), found

    def _push_shards(self, shards: Mapping[str, str]) -> None:
        if self._job is not None and not self._job.get("helps"):  # a helper reads none of them
            folder = find_shelf(Path(), self._model, self._task)
            self._push((f"{folder}/{name}", found) for name, found in shards.items())

    def _push(self, files: Iterable[tuple[str, str]]) -> None:
        """Send files that the agent does not have; one that is not as it was said is left out."""
        waiting, size = list[Piece](), 0
        for name, found in files:
            if (name, found) in self._there:
                continue
            with suppress(OSError, storage.Damaged):
                for piece in cut_file(self._out, name, found):
                    waiting.append(piece)
                    size += len(piece.raw)
                    if size >= PIECE_BYTES:
                        self._link.call("store", waiting)
                        waiting, size = [], 0
                self._there.add((name, found))
        if waiting:
            self._link.call("store", waiting)

    def _push_answers(self, answers: AnswersCopy) -> None:
        raw = answers.read()
        if raw:
            pieces = [raw[at : at + PIECE_BYTES] for at in range(0, len(raw), PIECE_BYTES)]
            for number, piece in enumerate(pieces, 1):
                found = answers.digest if number == len(pieces) else None
                self._link.call("store", [Piece(answers.name, piece, found)])

    # What the worker says
    # ----------------------------------------------------------------------------------------------

    def events(self, timeout: float) -> Iterator[Event]:
        """Its events, until it ends, or is `late`: none of those that settle something came within
        `timeout` seconds. Files that an event tells of are in the run's folder by then; one that
        is not as the worker said is not, and a line of the log says so.
        """
        deadline = time.monotonic() + timeout
        while True:
            while self._waiting:
                event = self._waiting.popleft()
                if not self._take_in(event):
                    continue
                if event["event"] in SETTLING:
                    deadline = time.monotonic() + timeout
                yield event
            if self._is_over or self._gone is not None:
                return
            left = max(0.0, deadline - time.monotonic())
            if not self._poll(min(left, POLL_SECONDS)) and left == 0:
                self.late = True
                return

    def _poll(self, timeout: float) -> bool:
        """Ask for events; return whether there is something new."""
        try:
            batch: Batch = self._link.call("poll", timeout)
            self._waiting.extend(batch.events)
            self._is_over = batch.is_over
            self._write_log(batch.log)
            if self._answers is not None:
                self._answers.follow(self._read)
        except Gone as error:
            self._gone = error
            return True
        return bool(batch.events) or batch.is_over

    def _take_in(self, event: Event) -> bool:
        """Fetch what an event tells of; return whether the run is to hear of it."""
        try:
            if event["event"] == "shard" and self._is_asked(event["task"]):
                shelf = find_shelf(Path(), self._model, event["task"])
                self._fetch(f"{shelf}/{Path(event['name']).name}", event["digest"])
            elif event["event"] == "certificate":
                self._fetch(f"certificates/{self._model}.json", event["digest"])
            elif event["event"] == "cell" and event["digest"] and self._is_asked(event["task"]):
                self._fetch_cell(event["task"], event["digest"])
            elif event["event"] == "answers":
                if self._answers is None:
                    return False
                self._answers.seal = event["seal"]
            elif (claim := cast("Mapping[str, Any]", event))["event"] == "claim":
                self._task = str(claim["task"])
        except Gone as error:
            self._gone = error
            self._waiting.clear()
            return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._write_log(f"not taken from {self._link.machine}: {error}\n".encode())
        return True

    def _is_asked(self, task: str) -> bool:
        return self._job is not None and task in self._job["keys"]

    def _fetch(self, name: str, expected: str) -> None:
        """Bring a file into the run's folder. Damaged if it has another digest."""
        path = find_inside(self._out, name)
        storage.write_stream(path, check(self._read(name, 0), name, expected))
        self._there.add((name, expected))

    def _fetch_cell(self, task: str, expected: str) -> None:
        """Bring a cell into the run's folder, after what belongs to it."""
        name = f"cells/{self._model}/{task}.json"
        raw = b"".join(check(self._read(name, 0), name, expected))
        for other, found in json.loads(raw)["files"].items():
            parts = PurePosixPath(other).parts
            if len(parts) != 3 or parts[0] not in OF_CELL or parts[1] != self._model:
                raise storage.Damaged(f"{name}: {other!r} does not belong to it")
            self._fetch(other, found)
        storage.write_bytes(find_inside(self._out, name), raw)

    def _read(self, name: str, first: int) -> Iterator[bytes]:
        """Yield the pieces of a file of the agent's."""
        while True:
            raw: bytes = self._link.call("read", name, first, PIECE_BYTES)
            yield raw
            first += len(raw)
            if len(raw) < PIECE_BYTES:
                return

    def _write_log(self, raw: bytes) -> None:
        if raw:
            with self._log.open("ab") as file:
                file.write(raw)

    # Its end
    # ----------------------------------------------------------------------------------------------

    def explain_end(self, timeout: float) -> tuple[Reason, str, str]:
        """(reason, message, hint) for a worker that ended with work left open."""
        if self.late:
            return "timeout", f"no result within {timeout:g} s", "give more with --timeout"
        self.kill()
        if self._gone is None and self._end is not None:
            reason, message, hint = self._end
            return reason, f"{message} (on {self._link.machine})", hint
        what = "" if self._gone is None else f": {self._gone.what}"
        return (
            "crashed" if self._gone is None else self._gone.reason,
            f"the machine {self._link.machine} went away{what}",
            "run again with the same --out: what it had finished is kept",
        )

    def wait(self) -> None:
        """Let a worker that said all end by itself."""
        with suppress(Gone):
            self._link.call("wait")

    def kill(self) -> None:
        """End it, whatever its model started, and its agent."""
        with self._ending:
            try:
                if self._end is None and self._gone is None:
                    if self._answers is not None:
                        self._answers.follow(self._read)
                    self._end, log = self._link.call("stop", timeout=STOP_SECONDS)
                    self._write_log(log)
            except Gone as error:
                self._gone = error
            finally:
                self._link.close()


def cut_file(out: Path, name: str, expected: str) -> Iterator[Piece]:
    """Yield the pieces of a file of the run's folder, the last with its digest."""
    with storage.open_regular(out / name) as file:
        size = os.fstat(file.fileno()).st_size
        while True:
            raw = file.read(PIECE_BYTES)
            is_last = file.tell() >= size or not raw
            yield Piece(name, raw, expected if is_last else None)
            if is_last:
                return


def check(pieces: Iterable[bytes], name: str, expected: str) -> Iterator[bytes]:
    """Yield these pieces of a file; raise Damaged after the last if it has another digest."""
    whole = hashlib.sha256()
    for raw in pieces:
        whole.update(raw)
        yield raw
    if whole.hexdigest() != expected:
        raise storage.Damaged(f"{name}: not the file that its worker says it wrote")


def join(frames: Iterable[bytes | bytearray | memoryview]) -> Iterator[bytes]:
    """Yield the same bytes in pieces for one call each."""
    waiting = bytearray()
    for frame in frames:
        view = memoryview(frame).cast("B")
        for at in range(0, len(view), PIECE_BYTES):
            waiting += view[at : at + PIECE_BYTES]
            if len(waiting) >= PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
    if waiting:
        yield bytes(waiting)
