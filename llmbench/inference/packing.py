"""Many texts after one prompt in one forward pass that reads the prompt once.

Rows of ids, each: the prompt, then one text after the other. A mask lets every text see the prompt
and itself; positions go on from the prompt's end in each. To the model it is as if every text stood
there alone, so the numbers are the same but for rounding. Whether a model takes such rows is tried
when it is loaded (`TokenAdapter.supports_packing`).

Prompts that begin alike, as after the same examples, share that beginning in the same way: a row is
the beginning, then one prompt after the other, each with its texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BUNDLE = 768  # ids in a row of several prompts: attention grows with the square of a row
WORTH = 4  # a prompt joins a row if one id of so many need not be read again


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


@dataclass(frozen=True)
class Bundle(Generic[AnyLine]):
    """Packs whose prompts begin with the same `shared` ids, fewer than any prompt has; `length`:
    ids in their row.
    """

    packs: Sequence[Pack[AnyLine]]
    shared: int = 0

    @property
    def lines(self) -> list[AnyLine]:
        """The lines of all packs."""
        return [line for pack in self.packs for line in pack.lines]

    @property
    def length(self) -> int:
        return self.shared + sum(pack.length - self.shared for pack in self.packs)


def bundle(packs: Sequence[Pack[AnyLine]], most: int | None) -> list[Bundle[AnyLine]]:
    """Put packs whose prompts begin alike into one row if that saves enough ids; each pack is in
    one bundle, perhaps alone. No row is longer than `most`, or than BUNDLE or twice what it shares.
    """
    found: list[Bundle[AnyLine]] = []
    open_: Bundle[AnyLine] | None = None
    for pack in sorted(packs, key=lambda pack: pack.lines[0].ids[: pack.first].tobytes()):
        joined = _join(open_, pack, most) if open_ is not None else None
        if joined is None and open_ is not None:
            found.append(open_)
        open_ = joined or Bundle((pack,), pack.first - 1)
    return found if open_ is None else [*found, open_]


def _join(before: Bundle[AnyLine], pack: Pack[AnyLine], most: int | None) -> Bundle[AnyLine] | None:
    """A bundle with one more pack; None if that saves too little, or the row would be too long."""
    end = min(before.shared, pack.first - 1)
    same = before.packs[0].lines[0].ids[:end] == pack.lines[0].ids[:end]
    shared = end if same.all() else int(np.argmin(same))
    joined = Bundle((*before.packs, pack), shared)
    longest = max(BUNDLE, 2 * shared)
    if joined.length > (longest if most is None else min(longest, most)):
        return None
    saved = before.length + pack.length - joined.length
    return joined if saved * WORTH >= pack.length else None


def rows(bundles: Sequence[Bundle[AnyLine]], fill: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T) ids, padded on the right with `fill`; their (B, T) positions; the (B, 1, T, T) mask,
    true where a query sees a key.
    """
    shape = (len(bundles), max(bundle.length for bundle in bundles))
    ids, positions = np.full(shape, fill, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    # whose an id is: 0 of all prompts, 1, 2, ... of one; and in it 0 of all texts, 1, 2, ... of one
    prompt, text = np.full(shape, -1, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    for row, one in enumerate(bundles):
        at = 0

        def put(
            some: NDArray[np.int64], first: int, of_prompt: int, of_text: int, row: int = row
        ) -> None:
            nonlocal at
            part = slice(at, at + len(some))
            ids[row, part], positions[row, part] = some, first + np.arange(len(some))
            prompt[row, part], text[row, part] = of_prompt, of_text
            at += len(some)

        put(one.packs[0].lines[0].ids[: one.shared], 0, 0, 0)
        for number, pack in enumerate(one.packs, 1):
            put(pack.lines[0].ids[one.shared : pack.first], one.shared, number, 0)
            for place, line in enumerate(pack.lines, 1):
                put(line.ids[pack.first : -1], pack.first, number, place)
    whose, which = torch.from_numpy(prompt), torch.from_numpy(text)
    same_prompt = whose[:, :, None] == whose[:, None, :]
    same_text = (which[:, :, None] == which[:, None, :]) | (which[:, None, :] == 0)
    sees = (same_prompt & same_text) | (whose[:, None, :] == 0)
    return (
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        (sees & torch.ones(shape[1], shape[1], dtype=torch.bool).tril())[:, None],
    )


def places(bundle: Bundle[AnyLine]) -> list[NDArray[np.int64]]:
    """For each line, where in its row its targets are predicted: the first at the prompt's end, the
    others one id before themselves.
    """
    found, at = [], bundle.shared
    for pack in bundle.packs:
        at += pack.first - bundle.shared
        end = at - 1  # of the prompt
        for line in pack.lines:
            more = len(line.ids) - 1 - pack.first
            found.append(np.concatenate(([end], np.arange(at, at + more))))
            at += more
    return found
