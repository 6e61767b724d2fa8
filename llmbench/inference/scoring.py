"""Scoring owned once for every token model: windows, batches, the head on charged rows only,
spelling, the ledger.

Every target is charged exactly once, the first included. log-softmax in float32 or better, sums in
float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llmbench.adapter import Passage, Window
from llmbench.errors import ModelError, Unsupported
from llmbench.inference import packing
from llmbench.inference.batching import TOKEN_BUDGET, in_batches
from llmbench.inference.blocked_attention import CausalBlocks
from llmbench.inference.cpu_kernels import CpuKernels
from llmbench.inference.stateful import score_carried
from llmbench.inference.token_bits import charge, check_logits
from llmbench.inference.token_model import TokenModel
from llmbench.inference.windows import Piece, windows
from llmbench.ledger import END, SPELLING, TOKEN, Ledger
from llmbench.models.tokenizers.tokens import Tokens

LOSSY = "lossy tokenizer: "  # what such an error begins with


@dataclass
class _PassageLine:
    """A passage as ids: start symbols, what is given, the text, and its end where that is asked
    for; `bits` of each target from `first` on. `shared`: bytes of the context that the text's first
    token covers, too.
    """

    passage: Passage
    ids: NDArray[np.int64]
    tokens: Tokens
    first: int
    shared: int = 0
    bits: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def score(
    model: TokenModel,
    passages: Sequence[Passage],
    window: Window = Window(),
    budget: int | None = None,
) -> Iterator[Ledger]:
    """The ledgers of `passages`, in order. The result depends neither on their order nor on
    `budget`, the ids in one forward pass, beyond float rounding.
    """
    lines = _lines(model, passages)
    with torch.inference_mode(), CpuKernels():
        if model.context is None and model.is_stateful:
            score_carried(model, lines, budget or TOKEN_BUDGET)
        else:
            _score_windows(model, lines, window, budget)
    for line in lines:
        yield _ledger(line)


def _lines(model: TokenModel, passages: Sequence[Passage]) -> list[_PassageLine]:
    whole = model.encode_all([passage.context + passage.text for passage in passages])
    return [_line(model, passage, tokens) for passage, tokens in zip(passages, whole, strict=True)]


def _line(model: TokenModel, passage: Passage, tokens: Tokens) -> _PassageLine:
    """`tokens`: of `context` and `text` encoded as one string, as a model reads them. They part at
    the last token border before the text: a token that covers the end of the context and the
    beginning of the text is charged whole, to the text.
    """
    if not model.bos_ids:
        raise ModelError(
            "`bos_ids` is empty, so nothing predicts the first token of a text",
            hint="set it to ids that may stand before any text, as that of a newline",
        )
    check_tokens(model, tokens, (passage.context + passage.text).encode())
    given = len(passage.context.encode())
    split = tokens.find_border(given)
    shared = max(0, given - int(tokens.start[split])) if split < len(tokens.ids) else 0
    before = tokens.ids[:split]
    text = Tokens(
        tokens.ids[split:],
        np.maximum(tokens.start[split:] - given, 0),
        tokens.end[split:] - given,
        tokens.spelling[split:],
    )
    end = model.eos_ids[:1] if passage.score_eos else ()
    if passage.score_eos and not end:
        raise Unsupported(
            "the model has no end symbol, so it cannot be charged for where a text ends",
            hint="set `eos_ids`",
        )
    start = model.bos_ids if passage.add_bos or not len(before) else ()
    ids = np.concatenate(
        [np.asarray(start, dtype=np.int64), before, text.ids, np.asarray(end, dtype=np.int64)]
    )
    charged = len(text.ids) + len(end)
    first = len(ids) - charged
    return _PassageLine(passage, ids, text, first, shared, np.full(charged, np.nan))


def check_tokens(model: TokenModel, tokens: Tokens, raw: bytes) -> None:
    """The spans must tile the text, and the ids must stand for the bytes of their spans, spelled
    pieces apart: a tokenizer that loses, changes or gives away bytes is caught before anything is
    charged.
    """
    if tokens.loss:  # first: of what is lost no token may be left to cover it
        raise Unsupported(f"{LOSSY}{tokens.loss}")
    edges = np.concatenate(([0], tokens.end))
    if (
        not len(tokens.ids) == len(tokens.start) == len(tokens.spelling)
        or int(edges[-1]) != len(raw)
        or bool((tokens.start != edges[:-1]).any())
    ):
        raise ModelError(
            f"the tokens' spans do not tile the text: they cover {int(edges[-1])} of {len(raw)}"
            f" bytes in {len(tokens.ids)} tokens",
            hint="`encode` must account for every byte",
        )
    if tokens.loss == "":
        return
    spelled = tokens.spelling > 0
    runs = np.flatnonzero(np.diff(spelled.astype(np.int8))) + 1
    bounds = [0, *runs.tolist(), len(spelled)] if len(spelled) else [0]
    for a, b in zip(bounds, bounds[1:], strict=False):
        want = raw[tokens.start[a] : tokens.end[b - 1]]
        if not spelled[a] and (got := model.decode(tokens.ids[a:b].tolist())) != want:
            at = next(
                (i for i, (x, y) in enumerate(zip(got, want, strict=False)) if x != y),
                min(len(got), len(want)),
            )
            raise Unsupported(
                f"{LOSSY}byte {int(tokens.start[a]) + at} of the text does not come back"
                " from decode(encode(text))",
                hint="spell unknown pieces out (docs/adapters.md), or change nothing in the text",
            )


def find_loss(model: TokenModel, passage: Passage) -> str:
    """Return what a tokenizer loses of a passage and its context; "" if it holds all of them."""
    whole = passage.context + passage.text
    try:
        check_tokens(model, model.encode(whole), whole.encode())
    except Unsupported as error:
        return error.what.removeprefix(LOSSY)
    return ""


def find_prompt_loss(model: TokenModel, prompt: str) -> str:
    """Return what a tokenizer loses of a prompt, or the first piece that it reads as unknown."""
    if loss := find_loss(model, Passage(prompt)):
        return loss
    tokens = model.encode(prompt)
    unknown = np.flatnonzero(tokens.spelling > 0)
    if not len(unknown):
        return ""
    start, end = int(tokens.start[unknown[0]]), int(tokens.end[unknown[0]])
    piece = prompt.encode()[start:end].decode(errors="replace")
    return f"{piece!r} at byte {start} is not in the vocabulary"


def _score_windows(
    model: TokenModel, lines: Sequence[_PassageLine], window: Window, budget: int | None
) -> None:
    jobs: list[tuple[_PassageLine, Piece]] = []
    for line in _score_packed(model, lines, budget):
        context = len(line.ids) if model.context is None else model.context
        if (
            line.passage.context and 0 < len(line.bits) <= context
        ):  # what is given is read as far back as one window holds it
            jobs.append(
                (line, Piece(max(0, len(line.ids) - 1 - context), len(line.ids) - 1, line.first))
            )
        else:
            jobs += [
                (line, piece)
                for piece in windows(len(line.ids), line.first, context, window.stride(context))
            ]
    in_batches(model, jobs, lambda job: job[1].b - job[1].a, _forward, budget)


def _score_packed(
    model: TokenModel, lines: Sequence[_PassageLine], budget: int | None
) -> Sequence[_PassageLine]:
    """Score what shares a prompt with its neighbours, where the model can; give the lines that are
    left.
    """
    if not any(line.passage.context for line in lines) or not model.supports_packing:
        return lines
    packs, alone = packing.pack(
        lines, min(model.context or TOKEN_BUDGET, budget or TOKEN_BUDGET)
    )  # the mask grows with the square of a row
    in_batches(model, packs, lambda pack: pack.length, _forward_packed, budget)
    return alone


def _forward(model: TokenModel, jobs: Sequence[tuple[_PassageLine, Piece]]) -> int:
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


def _forward_packed(model: TokenModel, packs: Sequence[packing.Pack[_PassageLine]]) -> int:
    ids, positions, mask = (part.to(model.device) for part in packing.rows(packs, model.bos_ids[0]))
    with CausalBlocks(mask):
        rows = model.forward_packed(ids, positions, mask)
    spots = [
        (row, line, at)
        for row, pack in enumerate(packs)
        for line, at in zip(pack.lines, packing.places(pack), strict=True)
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


def _ledger(line: _PassageLine) -> Ledger:
    """Token charges over their spans; an unknown piece is an empty token charge, then a spelling
    charge over its bytes.
    """
    tokens, size = line.tokens, len(line.passage.text.encode())
    spelled = tokens.spelling > 0
    if spelled.any():
        start, end, bits, kind = _charges(tokens, spelled, line.bits)
    else:
        start, end, bits, kind = (
            tokens.start,
            tokens.end,
            line.bits[: len(tokens.ids)],
            np.full(len(tokens.ids), TOKEN, dtype=np.uint8),
        )
    if line.passage.score_eos:
        start, end = np.append(start, size), np.append(end, size)
        bits, kind = np.append(bits, line.bits[-1]), np.append(kind, np.uint8(END))
    ledger = Ledger(start, end, bits, kind, size, line.passage.id, context_bytes=line.shared)
    ledger.check()
    return ledger


def _charges(
    tokens: Tokens, spelled: NDArray[np.bool_], price: NDArray[np.float64]
) -> tuple[NDArray[Any], ...]:
    """Start, end, bits and kind where there are unknown pieces; `price`: bits of each token."""
    where = np.cumsum(1 + spelled) - 1 - spelled  # place of each token charge in the ledger
    count = len(tokens.ids) + int(spelled.sum())
    start, end = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    bits, kind = np.empty(count), np.full(count, TOKEN, dtype=np.uint8)
    start[where], bits[where] = tokens.start, price[: len(tokens.ids)]
    end[where] = np.where(spelled, tokens.start, tokens.end)
    after = where[spelled] + 1
    start[after], end[after], bits[after], kind[after] = (
        tokens.start[spelled],
        tokens.end[spelled],
        tokens.spelling[spelled],
        SPELLING,
    )
    return start, end, bits, kind
