"""Scoring of models that carry a state: a document is read in pieces one after the other, and the
state is never reset inside it.

Texts after the same prompt go on from its state, which is made once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.inference import packing
from llmbench.inference.pass_progress import Passes
from llmbench.inference.token_bits import charge
from llmbench.inference.token_model import TokenModel

LEAST_PIECE = 64  # ids of a document in one pass


class TargetLine(packing.PackableLine, Protocol):
    """A line whose bits are to be filled in, one for each id from `first` on."""

    bits: NDArray[np.float64]


Pack = packing.Pack[TargetLine]


def score_carried(model: TokenModel, lines: Sequence[TargetLine], budget: int) -> None:
    """Fill in the bits of the lines, about `budget` ids in one pass."""
    size = max(1, budget // LEAST_PIECE)
    passes = Passes(sum(len(line.ids) for line in lines))
    after = (
        [line for line in lines if line.first > len(model.bos_ids)] if model.can_fork_state else []
    )  # something is given
    packs, _ = packing.pack(after, None)
    packs.sort(key=lambda pack: -pack.first)
    for at in range(0, len(packs), size):
        for some, state, rows in _prompts(model, packs[at : at + size], budget):
            _texts(model, some, state, rows, budget)
            passes.advance(sum(len(line.ids) for pack in some for line in pack.lines))
    packed = {id(line) for pack in packs for line in pack.lines}
    ordered = sorted(
        (line for line in lines if id(line) not in packed and len(line.ids) > 1),
        key=lambda line: -len(line.ids),
    )
    for at in range(0, len(ordered), size):
        some_lines = ordered[at : at + size]
        _in_pieces(model, some_lines, [0] * len(some_lines), None, budget, passes)


def _prompts(
    model: TokenModel, packs: Sequence[Pack], budget: int
) -> Iterator[tuple[Sequence[Pack], Any, Tensor]]:
    """Read the prompts side by side, the longest first, up to where one ends after the other: packs
    with prompts of one length, the state after them and its (B, D) rows.
    """
    ids = _pad([pack.lines[0].ids[: pack.first] for pack in packs], model.bos_ids[0])
    state, at = None, 0
    for end in sorted({pack.first for pack in packs}):
        left = [pack for pack in packs if pack.first >= end]
        step = max(LEAST_PIECE, budget // len(left))
        for begin in range(at, end, step):
            rows, state = model.forward_with_state(
                ids[: len(left), begin : min(end, begin + step)].to(model.device), state
            )
        goes_on = sum(pack.first > end for pack in left)
        yield (
            left[goes_on:],
            model.select_state(state, _places(model, range(goes_on, len(left)))),
            rows[goes_on:, -1],
        )
        if goes_on:
            state, at = model.select_state(state, _places(model, range(goes_on))), end


def _texts(model: TokenModel, packs: Sequence[Pack], state: Any, rows: Tensor, budget: int) -> None:
    """Charge the texts after their prompts: the first id by the prompt's last row, the others as
    they are read.
    """
    asked = sorted(
        ((line, number) for number, pack in enumerate(packs) for line in pack.lines),
        key=lambda one: -len(one[0].bits),
    )
    size = max(1, budget // LEAST_PIECE)
    for at in range(0, len(asked), size):
        some = [line for line, _ in asked[at : at + size]]
        owners = _places(model, [number for _, number in asked[at : at + size]])
        _fill(model, [(line, 0, 1) for line in some], rows[owners][:, None], [0] * len(some))
        if len(some[0].bits) > 1:
            _in_pieces(
                model,
                some,
                [line.first for line in some],
                model.select_state(state, owners),
                budget,
            )


def _in_pieces(
    model: TokenModel,
    lines: Sequence[TargetLine],
    begins: Sequence[int],
    state: Any,
    budget: int,
    passes: Passes | None = None,
) -> None:
    """Read lines side by side, each from its place in `begins` on and after the state, in pieces
    one after the other; charge what is asked for.
    """
    step = max(LEAST_PIECE, budget // len(lines))
    ids = _pad(
        [line.ids[begin:-1] for line, begin in zip(lines, begins, strict=True)], model.bos_ids[0]
    )
    for at in range(0, ids.shape[1], step):
        rows, state = model.forward_with_state(ids[:, at : at + step].to(model.device), state)
        spans, firsts = [], []
        for line, begin in zip(lines, begins, strict=True):
            low, high = (
                max(line.first, begin + at + 1),
                min(len(line.ids), begin + at + rows.shape[1] + 1),
            )  # targets whose row lies in this piece
            spans.append((line, low - line.first, max(low, high) - line.first))
            firsts.append(low - 1 - begin - at)
        _fill(model, spans, rows, firsts)
        if passes is not None:
            passes.advance(sum(min(max(0, len(line.ids) - at), step) for line in lines))


def _fill(
    model: TokenModel,
    spans: Sequence[tuple[TargetLine, int, int]],
    rows: Tensor,
    firsts: Sequence[int],
) -> None:
    """Charge, of line i, its bits `low` to `high`, which the (B, T, D) rows [i, firsts[i]:]
    predict.
    """
    places = [
        i * rows.shape[1] + first + np.arange(high - low)
        for i, ((_, low, high), first) in enumerate(zip(spans, firsts, strict=True))
    ]
    index = np.concatenate(places)
    if not len(index):
        return
    flat = rows.reshape(-1, rows.shape[-1])
    if len(index) < len(flat):
        flat = flat[torch.from_numpy(index).to(rows.device)]
    bits = charge(
        model,
        flat,
        np.concatenate(
            [line.ids[line.first + low : line.first + high] for line, low, high in spans]
        ),
        is_logits=False,
    )
    done = 0
    for line, low, high in spans:
        line.bits[low:high] = bits[done : done + high - low]
        done += high - low


def _pad(lines: Sequence[NDArray[np.int64]], fill: int) -> Tensor:
    ids = torch.full((len(lines), max(len(line) for line in lines)), fill, dtype=torch.long)
    for row, line in enumerate(lines):
        ids[row, : len(line)] = torch.from_numpy(line)
    return ids


def _places(model: TokenModel, numbers: Sequence[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.long, device=model.device)
