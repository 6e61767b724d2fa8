"""Scoring of models that carry a state: a document is read in pieces one after the other, and the state is never reset inside it.

Texts after the same prompt go on from its state, which is made once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench import packing
from llmbench.charging import Headed, charge

LEAST_PIECE = 64  # ids of a document in one pass


class Carrier(Headed, Protocol):
    """What is needed of a model; TokenAdapter says what each part means."""

    start: tuple[int, ...]

    @property
    def device(self) -> str: ...
    @property
    def shares(self) -> bool: ...
    def carry(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]: ...
    def take(self, state: Any, rows: Tensor) -> Any: ...


class Line(packing.Line, Protocol):
    """A line whose bits are to be filled in, one for each id from `first` on."""

    bits: NDArray[np.float64]


Pack = packing.Pack[Line]


def score_carried(model: Carrier, lines: Sequence[Line], budget: int) -> None:
    """Fill in the bits of the lines, about `budget` ids in one pass."""
    packs, alone = packing.shared(lines, None) if model.shares else ([], lines)
    packs.sort(key=lambda pack: -pack.first)
    for at in range(0, len(packs), size := max(1, budget // LEAST_PIECE)):
        for some, state, rows in _prompts(model, packs[at : at + size]):
            _texts(model, some, state, rows, budget)
    ordered = sorted((line for line in alone if len(line.ids) > 1), key=lambda line: -len(line.ids))
    for at in range(0, len(ordered), size):
        _side_by_side(model, ordered[at : at + size], budget)


def _prompts(model: Carrier, packs: Sequence[Pack]) -> Iterator[tuple[Sequence[Pack], Any, Tensor]]:
    """Read the prompts side by side, the longest first, up to where one ends after the other: packs with prompts of one length, the state after
    them and its (B, D) rows.
    """
    ids = _padded([pack.lines[0].ids[: pack.first] for pack in packs], model.start[0]).to(model.device)
    state, at = None, 0
    for end in sorted({pack.first for pack in packs}):
        left = [pack for pack in packs if pack.first >= end]
        rows, state = model.carry(ids[: len(left), at:end], state)
        goes_on = sum(pack.first > end for pack in left)
        yield left[goes_on:], model.take(state, _places(model, range(goes_on, len(left)))), rows[goes_on:, -1]
        if goes_on:
            state, at = model.take(state, _places(model, range(goes_on))), end


def _texts(model: Carrier, packs: Sequence[Pack], state: Any, rows: Tensor, budget: int) -> None:
    """Charge the texts after their prompts."""
    asked = sorted(((line, number) for number, pack in enumerate(packs) for line in pack.lines), key=lambda one: -len(one[0].bits))
    while asked:
        longest = len(asked[0][0].bits) - 1  # of the last id nothing is predicted
        some, asked = asked[: max(1, budget // (longest + 1))], asked[max(1, budget // (longest + 1)) :]
        owners = _places(model, [number for _, number in some])
        found = rows[owners][:, None]
        if longest:
            ids = _padded([line.ids[line.first : -1] for line, _ in some], model.start[0]).to(model.device)
            found = torch.cat([found, model.carry(ids, model.take(state, owners))[0]], dim=1)
        _fill(model, [(line, 0, len(line.bits)) for line, _ in some], found, [0] * len(some))


def _side_by_side(model: Carrier, lines: Sequence[Line], budget: int) -> None:
    """Documents side by side, the longest first, each in pieces one after the other."""
    step = max(LEAST_PIECE, budget // len(lines))
    ids, state = _padded([line.ids[:-1] for line in lines], model.start[0]), None
    for begin in range(0, ids.shape[1], step):
        rows, state = model.carry(ids[:, begin : begin + step].to(model.device), state)
        spans, firsts = [], []
        for line in lines:
            low, high = max(line.first, begin + 1), min(len(line.ids), begin + rows.shape[1] + 1)  # targets whose row lies in this piece
            spans.append((line, low - line.first, max(low, high) - line.first))
            firsts.append(low - 1 - begin)
        _fill(model, spans, rows, firsts)


def _fill(model: Carrier, spans: Sequence[tuple[Line, int, int]], rows: Tensor, firsts: Sequence[int]) -> None:
    """Charge, of line i, its bits `low` to `high`, which the (B, T, D) rows [i, firsts[i]:] predict."""
    places = [i * rows.shape[1] + first + np.arange(high - low) for i, ((_, low, high), first) in enumerate(zip(spans, firsts, strict=True))]
    index = np.concatenate(places)
    if not len(index):
        return
    flat = rows.reshape(-1, rows.shape[-1])
    if len(index) < len(flat):
        flat = flat[torch.from_numpy(index).to(rows.device)]
    bits = charge(model, flat, np.concatenate([line.ids[line.first + low : line.first + high] for line, low, high in spans]), is_logits=False)
    done = 0
    for line, low, high in spans:
        line.bits[low:high] = bits[done : done + high - low]
        done += high - low


def _padded(lines: Sequence[NDArray[np.int64]], fill: int) -> Tensor:
    ids = torch.full((len(lines), max(len(line) for line in lines)), fill, dtype=torch.long)
    for row, line in enumerate(lines):
        ids[row, : len(line)] = torch.from_numpy(line)
    return ids


def _places(model: Carrier, numbers: Sequence[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.long, device=model.device)
