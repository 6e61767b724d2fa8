"""The worker's end of the pipe: a job is read as a line of JSON from stdin, events go out as lines of JSON on the descriptor that was stdout.

Whatever a model prints goes to stderr. Stdin stays open, for further lines; when the parent is gone, it ends, and so does the process.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

Emit = Callable[[Mapping[str, Any]], None]
PROGRESS_EVERY = 0.2  # seconds between two progress events


def connected(stays: bool = True) -> tuple[dict[str, Any], Emit, Iterator[dict[str, Any]]]:
    """The job; how to report; and the lines that come later, each waited for without a turn of the processor. `stays`: whether the parent keeps
    stdin open for as long as it wants this process.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    if stays:
        threading.Thread(target=_read, args=(sys.stdin, waiting), daemon=True).start()

    def emit(event: Mapping[str, Any]) -> None:
        out.write(json.dumps(event) + "\n")
        out.flush()

    return job, emit, iter(waiting.get, None)


def _read(stream: TextIO, into: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in stream:
        into.put(json.loads(line))
    os._exit(1)  # the parent is gone


def leave() -> None:
    """End at once: nothing is left to be done, and some libraries take seconds to say goodbye."""
    sys.stderr.flush()
    os._exit(0)


def progress(emit: Emit) -> Callable[[str, float, str], None]:
    """A report function that says no more than is worth saying."""
    last = 0.0

    def report(what: str, share: float, remark: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_EVERY or share >= 1:
            last = now
            emit({"event": "progress", "what": what, "share": share, "remark": remark})

    return report
