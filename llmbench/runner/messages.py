"""What a worker is told, as plain JSON: a model, tasks, texts, options, where to write."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llmbench.data.text import Document, Text

if TYPE_CHECKING:
    from llmbench.config.model_card import Card
    from llmbench.plan.plan import Plan
    from llmbench.tasks.task import Task


def job_of(
    made: Plan, card: Card, tasks: Sequence[Task.Settings], known: Mapping[str, str]
) -> dict[str, Any]:
    """The job of a worker. `known`: task -> the fingerprint that its finished cell was made with."""
    return {
        "model": made.models[card.name].to_json(),
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "known": dict(known),
        "texts": {role: text_row(text) for role, text in made.suite.texts.items()},
        "missing": {role: [error.what, error.hint] for role, error in made.suite.missing.items()},
        "options": {
            **made.options.for_cells(),
            "offline": made.options.offline,
            "cache": str(made.options.cache or "") or None,
        },
        "question": made.question,
        "machine": made.options.machine,
        "keys": {task.name: made.keys[card.name, task.name] for task in tasks},
        "out": str(made.out),
    }


def log_of(made: Plan, card: Card) -> Path:
    """Where what a model prints is kept."""
    return made.out / "cells" / card.name / "worker.log"


def text_row(text: Text) -> dict[str, Any]:
    """A text as part of a job."""
    documents = [
        [document.id, document.text, document.context, list(document.choices), document.truth]
        for document in text.documents
    ]
    return {"name": text.name, "sampled": text.sampled, "documents": documents}


def read_text(row: Mapping[str, Any]) -> Text:
    """The text of a `text_row`."""
    documents = tuple(
        Document(id, text, given, tuple(choices), truth)
        for id, text, given, choices, truth in row["documents"]
    )
    return Text(row["name"], documents, row["sampled"])


Emit = Callable[[Mapping[str, Any]], None]


PROGRESS_EVERY = 0.2  # seconds between two progress events


def connect(stays: bool = True) -> tuple[dict[str, Any], Emit, Iterator[dict[str, Any]]]:
    """The job; how to report; and the lines that come later, each waited for without a turn of the
    processor. `stays`: whether the parent keeps stdin open for as long as it wants this process.
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
