"""A finished cell on disk: its row, its samples, its bit ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from pydantic import ValidationError

from llmbench import storage
from llmbench.results import schema
from llmbench.results.outcome import Outcome
from llmbench.results.record import ModelRow, Score
from llmbench.results.tables.arrow import numbers, strings, write_table
from llmbench.results.tables.charges import write_charges
from llmbench.results.tables.samples_file import write_samples


@dataclass(frozen=True)
class CellHead:
    """What a cell answers. `key`: a hash of all that can change its numbers; `question`: one of the
    suite, its texts and options; `machine`: on which times were taken; `task`: its name.
    """

    key: str
    question: str
    machine: str
    task: str
    model: ModelRow


class CellRow(TypedDict):
    """A cell as it is on disk, with the rows of its scores."""

    key: str
    question: str
    machine: NotRequired[str]
    task: str
    model: Mapping[str, Any]
    scores: Sequence[Mapping[str, Any]]
    files: Mapping[str, str]  # what belongs to it, relative to the run's folder -> sha256
    lossy: NotRequired[Mapping[str, str]]  # see Outcome


def read_cell(path: Path, expected: str | None = None) -> CellRow | None:
    """A cell's content; None if there is none or it is not what a cell must be, or if it or what
    belongs to it was changed since it was written. `expected`: the sha256 that its file must have.
    """
    cell = read_head(path, expected)
    try:
        for name, digest in {} if cell is None else cell["files"].items():
            if storage.digest_file(path.parents[2] / name) != digest:
                return None
    except OSError:
        return None
    return cell


def read_head(path: Path, expected: str | None = None) -> CellRow | None:
    """A cell's content, like `read_cell`, without a look at what belongs to it."""
    try:
        data = storage.read_sealed(path, expected)
        ModelRow.model_validate(data["model"])
        for row in data["scores"]:
            Score.model_validate({"model": "", "task": "", **row})
        cell = cast(CellRow, data)
        is_whole = (
            {"key", "question", "task"} <= cell.keys()
            and isinstance(cell["files"], dict)
            and cell["model"]["name"] == path.parent.name
        )
        return cell if is_whole else None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def write_cell(out: Path, head: CellHead, outcome: Outcome, seconds: float) -> str:
    """Write samples and charges first, the cell last: a cell that is there is whole. Returns the
    sha256 of the cell's file.
    """
    model, task = head.model.name, head.task
    files = write_samples(out / "samples" / model / f"{task}.jsonl", outcome.samples)
    if outcome.charges is not None or outcome.ledgers:
        files.append(out / "charges" / model / f"{task}.parquet")
        if outcome.charges is not None:
            outcome.charges.copy_to(files[-1])
        else:
            write_charges(files[-1], outcome.ledgers)
    if outcome.events:
        files.append(out / "events" / model / f"{task}.parquet")
        write_events(files[-1], outcome.events)
    return storage.write_sealed(
        out / "cells" / model / f"{task}.json",
        {
            "schema": schema.SCHEMA,
            "key": head.key,
            "question": head.question,
            "machine": head.machine,
            "task": task,
            "model": head.model.model_dump(),
            "seconds": seconds,
            "scores": outcome.scores,
            "files": {f.relative_to(out).as_posix(): storage.digest_file(f) for f in files},
            **({} if outcome.lossy is None else {"lossy": outcome.lossy}),
        },
    )


def write_events(path: Path, answers: Sequence[Mapping[str, Any]]) -> None:
    """What was timed as Parquet, a row for each piece that arrived: block, what, answer, asked
    (ns), ns since then, tokens and bytes so far.
    """
    import numpy as np

    rows = [
        (a["block"], a["what"], a["answer"], a["asked"], *event)
        for a in answers
        for event in a["events"]
    ]
    names = ("block", "what", "answer", "asked", "ns", "tokens", "bytes")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    write_table(
        path,
        {
            name: strings(values) if name == "what" else numbers(np.asarray(values))
            for name, values in columns.items()
        },
    )
