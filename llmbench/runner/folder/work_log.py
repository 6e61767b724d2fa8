"""Which worker did what, where, and how long: work.jsonl, a line for each shard and cell."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from llmbench import storage

NAME = "work.jsonl"


class WorkLog:
    """Lines that are added to a run's folder as its work is done."""

    def __init__(self, out: Path):
        self._path = out / NAME

    def add(
        self, model: str, task: str, part: str, where: str, seconds: float, usual: float = 0.0
    ) -> None:
        """Add a line. part: the file of a shard; "" for a whole cell. where: the worker's place.
        usual: what others took, in seconds, if this is a straggler.
        """
        row: dict[str, object] = {
            "model": model,
            "task": task,
            "part": part,
            "where": where,
            "seconds": round(seconds, 3),
        }
        if usual:
            row["usual"] = round(usual, 3)
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(storage.as_line(row))  # a full disk costs the line, not the run
