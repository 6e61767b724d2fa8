"""A worker's connection to its parent: the job comes in, events go out."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from llmbench import system
from llmbench.adapter import Progress
from llmbench.runner.messages import Emit, Event

PROGRESS_EVERY = 0.2  # seconds between two progress events


def connect(stays: bool = True) -> tuple[Any, Emit, Iterator[Any]]:
    """Connect a worker to its parent: the job, of a kind that the caller knows; how to report; and
    the lines that come later, each waited for without a turn of the processor.

    Each event stands after the token in the first line from the parent: what a model writes to the
    pipe is not taken for one.

    stays: whether the parent keeps stdin open for as long as it wants this process.
    """
    system.end_with_parent()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    lines = sys.stdin.buffer
    token = lines.readline().decode().strip()
    job = _read_job(lines)
    if "log" in job:
        _print_into(job["log"])
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if stays:
        threading.Thread(target=_read, args=(lines, waiting), daemon=True).start()

    writing = threading.Lock()

    def emit(event: Event) -> None:
        with writing:
            out.write(f"{token}{json.dumps(event)}\n")
            out.flush()

    return job, emit, iter(waiting.get, None)


def _print_into(file: str) -> None:
    """Append to a file what this process, and those that it starts, print from now on."""
    log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


def _read_job(stream: BinaryIO) -> Any:
    """The job in the next line, with the frames of its texts behind it; see `encode`."""
    job = json.loads(stream.readline())
    for row in job.get("texts", {}).values():
        row["frames"] = [stream.read(length) for length in row["frames"]]
    return job


def _read(stream: BinaryIO, into: queue.SimpleQueue[Any]) -> None:
    for line in stream:
        into.put(json.loads(line))
    os._exit(1)  # the parent is gone


def leave() -> None:
    """End at once: nothing is left to be done, and some libraries take seconds to say goodbye."""
    sys.stderr.flush()
    os._exit(0)


def progress(emit: Emit) -> Progress:
    """A report function that says no more than is worth saying."""
    last = 0.0

    def report(what: str, share: float, remark: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_EVERY or share >= 1:
            last = now
            emit({"event": "progress", "what": what, "share": share, "remark": remark})

    return report
