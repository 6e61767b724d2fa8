"""Scoring owned once for every token model: windows, batches, the head on charged rows only,
spelling, the ledger.

Every target is charged exactly once, the first included. log-softmax in float32 or better, sums in
float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from llmbench.adapter import Passage, Window
from llmbench.inference import packing
from llmbench.inference.batching import TOKEN_BUDGET, in_batches
from llmbench.inference.blocked_attention import CausalBlocks
from llmbench.inference.cpu_kernels import CpuKernels
from llmbench.inference.stateful import score_carried
from llmbench.inference.text.lines import PassageLine, cut_line, encode_lines, make_ledger
from llmbench.inference.token_bits import charge, check_logits
from llmbench.inference.token_model import TokenModel
from llmbench.inference.windows import Piece
from llmbench.ledger import Ledger


def score(
    model: TokenModel,
    passages: Sequence[Passage],
    window: Window = Window(),
    budget: int | None = None,
) -> Iterator[Ledger]:
    """The ledgers of `passages`, in order. The result depends neither on their order nor on
    `budget`, the ids in one forward pass, beyond float rounding.
    """
    lines = encode_lines(model, passages)
    with torch.inference_mode(), CpuKernels():
        if model.context is None and model.is_stateful:
            score_carried(model, lines, budget or TOKEN_BUDGET)
        else:
            _score_windows(model, lines, window, budget)
    for line in lines:
        yield make_ledger(line)


def _score_windows(
    model: TokenModel, lines: Sequence[PassageLine], window: Window, budget: int | None
) -> None:
    jobs = [
        (line, piece)
        for line in _score_packed(model, lines, budget)
        for piece in cut_line(line, model.context, window)
    ]
    in_batches(model, jobs, lambda job: job[1].b - job[1].a, _forward, budget)


def _score_packed(
    model: TokenModel, lines: Sequence[PassageLine], budget: int | None
) -> Sequence[PassageLine]:
    """Score what shares a prompt, or its beginning, with others, where the model can; give the
    lines that are left.
    """
    if not any(line.passage.context for line in lines) or not model.supports_packing:
        return lines
    most = min(model.context or TOKEN_BUDGET, budget or TOKEN_BUDGET)
    packs, alone = packing.pack(lines, most)  # the mask grows with the square of a row
    single = [packing.Pack((line,)) for line in alone if len(line.ids) > line.first > 1]
    bundles = packing.bundle([*packs, *(one for one in single if one.length <= most)], most)
    kept = [bundle for bundle in bundles if len(bundle.lines) > 1]
    in_batches(model, kept, lambda bundle: bundle.length, _forward_packed, budget)
    done = {id(line) for bundle in kept for line in bundle.lines}
    return [line for line in alone if id(line) not in done]


def _forward(model: TokenModel, jobs: Sequence[tuple[PassageLine, Piece]]) -> int:
    if model.charges_targets:
        return _charge_each(model, jobs)
    longest = max(piece.b - piece.a for _, piece in jobs)
    ids = torch.full((len(jobs), longest), model.bos_ids[0], dtype=torch.long)
    places, targets = [], []
    for row, (line, piece) in enumerate(jobs):
        ids[row, : piece.b - piece.a] = torch.from_numpy(line.ids[piece.a : piece.b])
        places.append(row * longest + np.arange(piece.first - 1 - piece.a, piece.b - piece.a))
        targets.append(line.ids[piece.first : piece.b + 1])
    index = torch.from_numpy(np.concatenate(places)).to(model.device)
    ids = ids.to(model.device)
    if model.has_split_head:
        rows = model.hidden(ids)
        width = rows.shape[-1]
        bits = charge(
            model, rows.reshape(-1, rows.shape[-1])[index], np.concatenate(targets), is_logits=False
        )
    else:
        logits = model.logits(ids)
        check_logits(logits, ids)
        width = logits.shape[-1]
        bits = charge(
            model,
            logits.reshape(-1, logits.shape[-1])[index],
            np.concatenate(targets),
            is_logits=True,
        )
    done = 0
    for line, piece in jobs:
        count = piece.b + 1 - piece.first
        line.bits[piece.first - line.first : piece.b + 1 - line.first] = bits[done : done + count]
        done += count
    return width


def _charge_each(model: TokenModel, jobs: Sequence[tuple[PassageLine, Piece]]) -> int:
    asked = [(line.ids[piece.a : piece.b + 1], piece.first - piece.a) for line, piece in jobs]
    for (line, piece), bits in zip(jobs, model.charge_targets(asked), strict=True):
        line.bits[piece.first - line.first : piece.b + 1 - line.first] = bits
    return 1  # no rows are held


def _forward_packed(model: TokenModel, bundles: Sequence[packing.Bundle[PassageLine]]) -> int:
    ids, positions, mask = (
        part.to(model.device) for part in packing.rows(bundles, model.bos_ids[0])
    )
    with CausalBlocks(mask):
        rows = model.forward_packed(ids, positions, mask)
    spots = [
        (row, line, at)
        for row, bundle in enumerate(bundles)
        for line, at in zip(bundle.lines, packing.places(bundle), strict=True)
    ]
    index = torch.from_numpy(np.concatenate([row * ids.shape[1] + at for row, _, at in spots])).to(
        model.device
    )
    targets = np.concatenate([line.ids[line.first :] for _, line, _ in spots])
    bits, done = charge(model, rows.reshape(-1, rows.shape[-1])[index], targets, is_logits=False), 0
    for _, line, at in spots:
        line.bits[:] = bits[done : done + len(at)]
        done += len(at)
    return int(rows.shape[-1])
