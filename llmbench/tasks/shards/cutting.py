"""Where the items of a task are cut into shards. The cut depends on the items and on the model
alone: neither on how fast a machine is, nor on how many work.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmbench import limits

# (parameters x bytes) of a shard: half a minute of two cores at 20 billion products a second, where
# a token has four bytes
WORK = 9_000_000_000_000
UNKNOWN = 64 << 10  # bytes of a shard where the number of parameters is not known


def size_shards(parameters: int | None, device: str) -> int:
    """Return the bytes of text in a shard of a model: about half a minute of work.

    parameters: of the model; None if they are not known. device: a GPU's shards are larger.
    """
    if parameters is None:
        return UNKNOWN
    whole = WORK // max(1, parameters) * (1 if device.startswith("cpu") else limits.GPU_SHARDS)
    return min(max(whole, limits.LEAST_SHARD_BYTES), limits.MOST_SHARD_BYTES)


def cut(sizes: Sequence[int], most: int) -> list[int]:
    """Return the edges of shards: shard i has the items edges[i] .. edges[i+1]-1.

    sizes: bytes of each item. most: bytes of a shard, unless a single item has more.
    """
    edges, held = [0], 0
    for at, size in enumerate(sizes):
        if held + size > most and at > edges[-1]:
            edges.append(at)
            held = 0
        held += size
    return [*edges, len(sizes)] if len(sizes) else edges
