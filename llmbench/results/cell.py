"""A finished cell on disk: its row, its samples, its bit ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from pydantic import ValidationError

from llmbench import storage
from llmbench.ledger import Ledger
from llmbench.results import schema
from llmbench.results.outcome import Outcome
from llmbench.results.record import ModelRow, Score

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    try:
        data = storage.read_sealed(path, expected)
        for name, digest in data["files"].items():
            if storage.digest_file(path.parents[2] / name) != digest:
                return None
        ModelRow.model_validate(data["model"])
        for row in data["scores"]:
            Score.model_validate({"model": "", "task": "", **row})
        cell = cast(CellRow, data)
        return cell if {"key", "question", "task"} <= cell.keys() else None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def write_cell(out: Path, head: CellHead, outcome: Outcome, seconds: float) -> str:
    """Write samples and charges first, the cell last: a cell that is there is whole. Returns the
    sha256 of the cell's file.
    """
    model, task = head.model.name, head.task
    files = [out / "samples" / model / f"{task}.jsonl"]
    storage.write_lines(files[0], outcome.samples)
    if outcome.ledgers:
        files.append(out / "charges" / model / f"{task}.parquet")
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
    _write_table(
        path,
        {
            name: _strings(values) if name == "what" else _numbers(np.asarray(values))
            for name, values in columns.items()
        },
    )


def write_charges(path: Path, ledgers: Sequence[Ledger]) -> None:
    """The bit ledger as Parquet: document, start, end, bits, kind; one row a charge."""
    import numpy as np
    import pyarrow as pa

    from llmbench.ledger import KINDS

    sizes = [len(ledger.start) for ledger in ledgers]
    ids = np.repeat(np.arange(len(ledgers), dtype=np.int32), sizes)
    kinds = np.concatenate([ledger.kind for ledger in ledgers]).astype(np.int8)
    _write_table(
        path,
        {
            "document": pa.DictionaryArray.from_arrays(
                _numbers(ids), _strings([ledger.id for ledger in ledgers])
            ),
            "start": _numbers(np.concatenate([ledger.start for ledger in ledgers])),
            "end": _numbers(np.concatenate([ledger.end for ledger in ledgers])),
            "bits": _numbers(np.concatenate([ledger.bits for ledger in ledgers])),
            "kind": pa.DictionaryArray.from_arrays(_numbers(kinds), _strings(KINDS)),
        },
    )


def _write_table(path: Path, columns: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(path, sink.getvalue().to_pybytes())


def _numbers(values: NDArray[Any]) -> Any:
    """An Arrow array over the memory of these numbers. Made from its buffer, since `pyarrow.array`
    would import pandas: half a second and about 50 MB in every worker.
    """
    import numpy as np
    import pyarrow as pa

    kind = pa.from_numpy_dtype(values.dtype)
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def _strings(values: Sequence[str]) -> Any:
    """An Arrow array of strings, without pandas (see `_numbers`)."""
    import numpy as np
    import pyarrow as pa

    raw = [value.encode("utf-8", "backslashreplace") for value in values]
    ends = np.cumsum([0, *map(len, raw)], dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(raw))]
    return pa.Array.from_buffers(pa.large_string(), len(raw), buffers).cast(pa.string())
