"""Runs made by hand, in folders, for boards of many of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmbench.results.record import Record
from llmbench.storage import write_lines
from support import hand_record

SIZE = 1000  # bytes of an item
OTHER_MACHINE = {
    "cpu": "Another Processor",
    "cores": 64,
    "gpus": [{"name": "Big GPU"}, {"name": "Big GPU"}],
    "os": "Linux",
    "threads": 8,
}


def bits(level: float, items: int = 20) -> list[float]:
    """Bits of each item of a model that needs about `level` bits a byte: items differ in the same
    way for all models.
    """
    hard = random.Random(0)
    own = random.Random(level)
    return [SIZE * (level + hard.gauss(0, 0.2)) + own.gauss(0, 5) for _ in range(items)]


def quality(name: str, found: Sequence[float], **more: Any) -> dict[str, Any]:
    """The row of a model's bits per byte."""
    return hand_record.score(
        name, "bits_per_byte", sum(found) / SIZE / len(found), 0.1, **{"n": len(found), **more}
    )


def run(
    folder: Path,
    models: Sequence[Mapping[str, Any]],
    scores: Sequence[Mapping[str, Any]],
    **changes: Any,
) -> Path:
    """A run's record in its folder. `changes`: of the record; `machine` may be a part of one."""
    machine = {**hand_record.data()["machine"], **changes.pop("machine", {})}
    whole = {
        **hand_record.data(),
        "models": models,
        "scores": scores,
        "failures": [],
        "notes": {},
        "machine": machine,
        **changes,
    }
    Record.model_validate(whole).write(folder)
    return folder


def sample(
    folder: Path, name: str, found: Sequence[float], task: str = "likelihood", **more: Any
) -> None:
    """The samples of a model's bits per byte. `more`: what else is in a line."""
    rows = [
        {"id": f"doc {i}", "statistics": {"bits_per_byte": [value, SIZE]}, **more}
        for i, value in enumerate(found)
    ]
    write_lines(folder / "samples" / name / f"{task}.jsonl", rows)


def likelihood_run(folder: Path, levels: Mapping[str, float], day: int = 1, **changes: Any) -> Path:
    """A run of models on one text, with samples: name -> about how many bits a byte."""
    rows = [hand_record.model(name, 1, fingerprint=f"{name:x<64}"[:64]) for name in levels]
    for name, level in levels.items():
        sample(folder, name, bits(level))
    scores = [quality(name, bits(level)) for name, level in levels.items()]
    return run(folder, rows, scores, **{"finished": f"2026-01-{day:02d}T00:00:00+00:00", **changes})


def values(table, key="bits_per_byte"):
    return {line.model: line.cells[key].value for line in table.lines}


def ranks(table):
    return {line.model: line.cells["rank"].text for line in table.lines}


def keys(table):
    return {column.key for column in table.columns}


def said(table):
    return "\n".join(table.notes)
