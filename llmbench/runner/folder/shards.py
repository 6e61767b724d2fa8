"""Where the shards of a cell are while it is at work, and how a worker comes to its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict
from uuid import uuid4

from llmbench.adapter import ModelInfo
from llmbench.config.fingerprints import identifies_weights
from llmbench.errors import ModelError
from llmbench.tasks.shards.files import Shelf

FILES = "shards/*/*/*.npz"


class ShardEvent(TypedDict):
    """A shard of a cell is there. `name`: of its file; `digest`: the file's sha256."""

    event: Literal["shard"]
    task: str
    name: str
    digest: str


class ClaimEvent(TypedDict):
    """A worker asks for a shard of a cell. `edges`: of all its shards, the first time."""

    event: Literal["claim"]
    task: str
    edges: Sequence[int]


class Claimed(TypedDict):
    """The answer. `span`: of the shard; None if nothing is left to be done. `shards`: with None,
    the files of all shards, name -> sha256. `refused`: why the cell is given up.
    """

    span: Sequence[int] | None
    shards: dict[str, str]
    refused: NotRequired[str]


Emit = Callable[[ShardEvent | ClaimEvent], None]


def find_shelf(out: Path, model: str, task: str) -> Path:
    """Return the folder of a cell's shards."""
    return out / "shards" / model / task


def make_shelf(
    out: Path, task: str, key: str, info: ModelInfo, known: Collection[str], emit: Emit
) -> Shelf:
    """Return where the shards of a cell are kept. Those of weights that nobody here sees, such
    as a server's, are of this process alone. known: sha256 of files that are believed.
    """

    def tell(name: str, digest: str) -> None:
        emit({"event": "shard", "task": task, "name": name, "digest": digest})

    mark = {"key": key, "fingerprint": info.fingerprint, "device": info.device}
    if not identifies_weights(info.fingerprint):
        mark["process"] = uuid4().hex
    return Shelf(find_shelf(out, info.name, task), mark, known, tell)


def claim_shards(
    emit: Emit, replies: Iterator[Any], task: str, shelf: Shelf, edges: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield the shards that this worker is to compute, until all of the cell are there (or, for one
    that helps, until nobody is needed). Raises ModelError if the run gives the cell up.
    """
    told = list(edges)
    while True:
        emit({"event": "claim", "task": task, "edges": told})
        told = []  # the run knows them now
        reply = next(replies)
        if reply.get("refused"):
            raise ModelError(reply["refused"], hint="the workers' logs are in the run's cells")
        shelf.believe(reply["shards"].values())
        if reply["span"] is None:
            return
        first, last = reply["span"]
        yield first, last
