"""Many texts after one prompt in one forward pass that reads the prompt once.

Rows of ids, each: the prompt, then one text after the other. A mask lets every text see the prompt
and itself; positions go on from the prompt's end in each. To the model it is as if every text stood
there alone, so the numbers are the same but for rounding. Whether a model takes such rows is tried
when it is loaded (`TokenAdapter.supports_packing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class PackableLine(Protocol):
    """A passage as ids, of which those from `first` on are charged."""

    @property
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def first(self) -> int: ...


AnyLine = TypeVar("AnyLine", bound=PackableLine)


@dataclass(frozen=True)
class Pack(Generic[AnyLine]):
    """Lines that begin with the same `first` ids; `length`: ids in their row, of which the last of
    each text is none: nothing follows it.
    """

    lines: Sequence[AnyLine]

    @property
    def first(self) -> int:
        return self.lines[0].first

    @property
    def length(self) -> int:
        return self.first + sum(len(line.ids) - 1 - line.first for line in self.lines)


def pack(lines: Sequence[AnyLine], most: int | None) -> tuple[list[Pack[AnyLine]], list[AnyLine]]:
    """Packs of neighbours with the same prompt, none longer than `most` ids; and the lines that
    share nothing.
    """
    packs: list[Pack[AnyLine]] = []
    alone: list[AnyLine] = []
    group: list[AnyLine] = []

    def close() -> None:
        if len(group) > 1:
            packs.append(Pack(tuple(group)))
        else:
            alone.extend(group)
        group.clear()

    for line in lines:
        joins = (
            bool(group)
            and line.first == group[0].first
            and np.array_equal(line.ids[: line.first], group[0].ids[: line.first])
        )
        if not joins or (most is not None and Pack([*group, line]).length > most):
            close()
        if len(line.ids) > line.first > 0:
            group.append(line)
        else:
            alone.append(line)
    close()
    return packs, alone


def rows(packs: Sequence[Pack[AnyLine]], fill: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T) ids, padded on the right with `fill`; their (B, T) positions; the (B, 1, T, T) mask,
    true where a query sees a key.
    """
    longest = max(pack.length for pack in packs)
    ids, positions = (
        np.full((len(packs), longest), fill, dtype=np.int64),
        np.zeros((len(packs), longest), dtype=np.int64),
    )
    owner = np.full(
        (len(packs), longest), -1, dtype=np.int64
    )  # 0: the prompt; 1, 2, ...: a text; -1: padding
    for row, pack in enumerate(packs):
        at = pack.first
        ids[row, :at], positions[row, :at], owner[row, :at] = (
            pack.lines[0].ids[:at],
            np.arange(at),
            0,
        )
        for number, line in enumerate(pack.lines, 1):
            text = line.ids[pack.first : -1]
            ids[row, at : at + len(text)], owner[row, at : at + len(text)] = text, number
            positions[row, at : at + len(text)] = pack.first + np.arange(len(text))
            at += len(text)
    whose = torch.from_numpy(owner)
    sees = (whose[:, :, None] == whose[:, None, :]) | (whose[:, None, :] == 0)
    return (
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        (sees & torch.ones(longest, longest, dtype=torch.bool).tril())[:, None],
    )


def places(pack: Pack[AnyLine]) -> list[NDArray[np.int64]]:
    """For each line, where in its row its targets are predicted: the first at the prompt's end, the
    others one id before themselves.
    """
    found, at = [], pack.first
    for line in pack.lines:
        more = len(line.ids) - 1 - pack.first
        found.append(np.concatenate(([pack.first - 1], np.arange(at, at + more))))
        at += more
    return found
