"""What lies beside a record in its run's folder. A record from elsewhere does not choose which
other files are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmbench.results.record import ModelRow, Record


def inside(folder: Path, kind: str, model: str) -> Path | None:
    """The folder of a model's files of this kind (samples, charges); None where its name would lead
    elsewhere.
    """
    return None if Path(model).name != model or model == ".." else folder / kind / model


def sample_files(folder: Path, model: str) -> list[Path]:
    """A model's files of samples, one a task."""
    place = inside(folder, "samples", model)
    try:
        return [] if place is None else sorted(place.glob("*.jsonl"))
    except (OSError, ValueError):  # no name that a folder can have
        return []


def samples(record: Record, folder: Path) -> Iterator[tuple[ModelRow, str, list[dict[str, Any]]]]:
    """Model, task and rows of each file of samples that belongs to the record, in the order of its
    models.
    """
    for model in record.models:
        for file in sample_files(folder, model.name):
            if record.notes.cells and file.stem not in record.notes.cells.get(model.name, []):
                continue  # left by another run in this folder
            yield model, file.stem, [row for row in _rows(file) if isinstance(row, dict)]


def _rows(file: Path) -> list[Any]:
    """Lines end at \\n alone: what a model says may hold other signs that part lines."""
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError, RecursionError):
        return []
