"""Whether a text is what a greedy model goes on with: each of its tokens the likeliest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Passage, Window
from llmbench.inference.batching import in_batches
from llmbench.inference.text.lines import PassageLine, cut_line, encode_lines
from llmbench.inference.token_bits import LEAST_ROWS
from llmbench.inference.token_model import TokenModel
from llmbench.inference.windows import Piece

Job = tuple[int, PassageLine, Piece]


def are_greedy(model: TokenModel, passages: Sequence[Passage]) -> list[bool]:
    """Return for each passage whether every token of its text is the likeliest one after those
    before it; False of an empty text, and of one with a piece outside the vocabulary.
    """
    lines = encode_lines(model, passages)
    found = [bool(len(line.bits)) and not (line.tokens.spelling > 0).any() for line in lines]
    jobs = [
        (number, line, piece)
        for number, line in enumerate(lines)
        if found[number]
        for piece in cut_line(line, model.context, Window("rolling"))
    ]

    def forward(model: TokenModel, some: Sequence[Job]) -> int:
        longest = max(piece.b - piece.a for _, _, piece in some)
        ids = torch.full((len(some), longest), model.bos_ids[0], dtype=torch.long)
        for row, (_, line, piece) in enumerate(some):
            ids[row, : piece.b - piece.a] = torch.from_numpy(line.ids[piece.a : piece.b])
        rows = _forward(model, ids.to(model.device))
        for row, (number, line, piece) in enumerate(some):
            chosen = rows[row, piece.first - 1 - piece.a : piece.b - piece.a]
            wanted = line.ids[piece.first : piece.b + 1]
            found[number] &= bool(np.array_equal(_find_likeliest(model, chosen), wanted))
        return int(rows.shape[-1])

    with torch.inference_mode():
        in_batches(model, jobs, lambda job: job[2].b - job[2].a, forward, None)
    return found


def _forward(model: TokenModel, ids: Tensor) -> Tensor:
    """(B, T) ids -> (B, T, D) rows for the head, or logits if there is no head."""
    return model.hidden(ids) if model.has_split_head else model.logits(ids)


def _find_likeliest(model: TokenModel, rows: Tensor) -> NDArray[np.int64]:
    """(N, D) rows -> the (N,) ids of the largest logits; a piece that is never said is none."""
    found = []
    for at in range(0, len(rows), LEAST_ROWS):
        part = rows[at : at + LEAST_ROWS]
        logits = model.head(part) if model.has_split_head else part
        if model.unknown is not None:
            logits = logits.clone()
            logits[:, model.unknown] = -torch.inf
        found.append(logits.argmax(-1).cpu().numpy())
    return np.concatenate(found)
