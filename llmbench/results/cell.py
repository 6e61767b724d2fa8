"""A finished cell on disk: its row, its samples, its bit ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pydantic import ValidationError

from llmbench import storage
from llmbench.ledger import Ledger
from llmbench.results import schema
from llmbench.results.outcome import Outcome
from llmbench.results.record import ModelRow, Score


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


def read_cell(path: Path) -> CellRow | None:
    """A cell's content; None if there is none or it is not what a cell must be."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        ModelRow.model_validate(data["model"])
        for row in data["scores"]:
            Score.model_validate({"model": "", "task": "", **row})
        cell: CellRow = data
        return cell if {"key", "question", "task"} <= cell.keys() else None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def write_cell(out: Path, head: CellHead, outcome: Outcome, seconds: float) -> None:
    """Samples and charges first, the cell last: a cell that is there is whole."""
    model, task = head.model.name, head.task
    storage.write_lines(out / "samples" / model / f"{task}.jsonl", outcome.samples)
    if outcome.ledgers:
        write_charges(out / "charges" / model / f"{task}.parquet", outcome.ledgers)
    if outcome.events:
        write_events(out / "events" / model / f"{task}.parquet", outcome.events)
    storage.write_json(
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
        },
    )


def write_events(path: Path, answers: Sequence[Mapping[str, Any]]) -> None:
    """What was timed as Parquet, a row for each piece that arrived: block, what, answer, asked
    (ns), ns since then, tokens and bytes so far.
    """
    import pyarrow as pa

    rows = [
        (a["block"], a["what"], a["answer"], a["asked"], *event)
        for a in answers
        for event in a["events"]
    ]
    columns = (
        dict(
            zip(
                ("block", "what", "answer", "asked", "ns", "tokens", "bytes"),
                zip(*rows, strict=True),
                strict=True,
            )
        )
        if rows
        else {}
    )
    _write_table(path, pa.table({name: list(column) for name, column in columns.items()}))


def _write_table(path: Path, table: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(path, sink.getvalue().to_pybytes())


def write_charges(path: Path, ledgers: Sequence[Ledger]) -> None:
    """The bit ledger as Parquet: document, start, end, bits, kind; one row a charge."""
    import numpy as np
    import pyarrow as pa

    from llmbench.ledger import KINDS

    sizes = [len(ledger.start) for ledger in ledgers]
    ids = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(len(ledgers), dtype=np.int32), sizes), [ledger.id for ledger in ledgers]
    )
    kinds = pa.DictionaryArray.from_arrays(
        np.concatenate([ledger.kind for ledger in ledgers]).astype(np.int8), list(KINDS)
    )
    columns = {
        "start": np.concatenate([ledger.start for ledger in ledgers]),
        "end": np.concatenate([ledger.end for ledger in ledgers]),
        "bits": np.concatenate([ledger.bits for ledger in ledgers]),
    }
    _write_table(path, pa.table({"document": ids, **columns, "kind": kinds}))
