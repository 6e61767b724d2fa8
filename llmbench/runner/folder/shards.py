"""Where the shards of a cell are while it is at work."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

FILES = "shards/*/*/*.npz"


class ShardEvent(TypedDict):
    """A shard of a cell is there. `name`: of its file; `digest`: the file's sha256."""

    event: Literal["shard"]
    task: str
    name: str
    digest: str


def find_shelf(out: Path, model: str, task: str) -> Path:
    """Return the folder of a cell's shards."""
    return out / "shards" / model / task
