"""What a change of a model's weights cost: the Kullback-Leibler divergence of its predictions from
those of its parent, over the whole vocabulary, at every token of a text.

Both read the same ids in the same windows. Log-softmax, divergence and sums are in float64.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Passage, Window
from llmbench.data.splitting import block_edges
from llmbench.errors import Unsupported
from llmbench.inference.text.lines import PassageLine, cut_line, encode_lines
from llmbench.inference.token_model import TokenModel
from llmbench.inference.windows import Piece
from llmbench.ledger import Blocks
from llmbench.stats import Interval, block_difference, difference_interval, ratio_interval

ROWS = 64  # of logits at once: in float64, four times, for a large vocabulary


@dataclass(frozen=True)
class Item:
    """A document, or a block of the only one: sums over its tokens. `bits` and `parent_bits` of the
    text, `nats` of divergence, `agreed`: tokens at which both find the same one likeliest.
    """

    id: str
    bytes: int
    tokens: float
    bits: float
    parent_bits: float
    nats: float
    agreed: float


@dataclass
class Compared:
    """A document: of each of its tokens the bits under both models, the nats of divergence, and
    whether both find the same token likeliest. `seconds`: what each model took to read it, the
    model first.
    """

    passage: Passage
    line: PassageLine
    bits: NDArray[np.float64]
    parent_bits: NDArray[np.float64]
    nats: NDArray[np.float64]
    agreed: NDArray[np.float64]
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])

    @classmethod
    def begin(cls, passage: Passage, line: PassageLine) -> Compared:
        """One whose numbers are still to come."""
        size = len(line.bits)
        return cls(passage, line, np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size))

    @property
    def columns(self) -> tuple[NDArray[np.float64], ...]:
        """Tokens, bits, the parent's bits, nats and agreement; with the bits of spelling."""
        spelling = self.line.tokens.spelling
        ones = np.ones(len(self.bits))
        return ones, self.bits + spelling, self.parent_bits + spelling, self.nats, self.agreed


def diverge(
    model: TokenModel,
    parent: TokenModel,
    passages: Sequence[Passage],
    window: Window = Window(),
) -> Iterator[Compared]:
    """Yield what `model` and `parent` predict of each passage.

    Raises Unsupported if they do not cut a text into the same ids, or have other vocabularies.
    """
    lines, others = encode_lines(model, passages), encode_lines(parent, passages)
    context = find_context(model, parent)
    for number, (passage, line, other) in enumerate(zip(passages, lines, others, strict=True)):
        if not np.array_equal(line.ids, other.ids):
            raise Unsupported(
                "they do not cut a text into the same tokens, so their predictions cannot be"
                " compared one by one",
                hint="`llmbench compare` compares bits per byte",
            )
        found = Compared.begin(passage, line)
        order = (0, 1) if number % 2 == 0 else (1, 0)  # neither is always read first
        with torch.inference_mode():
            for piece in cut_line(line, context, window):
                _compare(found, (model, parent), piece, order)
        yield found


def agree(model: TokenModel, passages: Sequence[Passage]) -> Iterator[Compared]:
    """Yield what a model is beside itself: no divergence. Bits are not computed, and 0."""
    for passage, line in zip(passages, encode_lines(model, passages), strict=True):
        found = Compared.begin(passage, line)
        found.agreed[:] = 1.0
        yield found


def find_context(model: TokenModel, parent: TokenModel) -> int | None:
    """Return the most ids that both read at once: the shorter context of the two."""
    sizes = (model.context, parent.context)
    return min((size for size in sizes if size is not None), default=None)


def _compare(
    found: Compared, models: Sequence[TokenModel], piece: Piece, order: Sequence[int]
) -> None:
    """Fill in the targets of one window."""
    line = found.line
    targets = torch.from_numpy(line.ids[piece.first : piece.b + 1])
    readings = [_read(model, line, piece) for model in models]
    at = 0
    while at < len(targets):
        logs = [torch.empty(0)] * 2
        for which in order:
            begun = time.perf_counter()
            logits = next(readings[which])
            found.seconds[which] += time.perf_counter() - begun
            logs[which] = torch.log_softmax(logits.cpu().double(), -1)
        if logs[0].shape != logs[1].shape:
            raise Unsupported(
                f"their vocabularies differ: {logs[0].shape[-1]} and {logs[1].shape[-1]} logits"
            )
        _write(found, logs, targets[at : at + ROWS], piece.first - line.first + at)
        at += ROWS


def _read(model: TokenModel, line: PassageLine, piece: Piece) -> Iterator[Tensor]:
    """Yield the (ROWS, V) logits of a window's targets, of the last ones fewer rows."""
    ids = torch.from_numpy(line.ids[piece.a : piece.b])
    start = piece.first - 1 - piece.a
    if model.charges_targets:
        yield from _portion(model.read_logits(ids, start))
        return
    line_of_one = ids[None].to(model.device)
    if model.has_split_head:
        rows = model.hidden(line_of_one)[0, start:]
        yield from (model.head(part) for part in torch.split(rows, ROWS))
    else:
        yield from torch.split(model.logits(line_of_one)[0, start:], ROWS)


def _portion(parts: Iterator[Tensor]) -> Iterator[Tensor]:
    """The rows of parts of any size, ROWS at a time."""
    held: list[Tensor] = []
    for part in parts:
        rows = torch.cat([*held, part])
        whole = len(rows) - len(rows) % ROWS
        yield from torch.split(rows[:whole], ROWS) if whole else ()
        held = [rows[whole:]] if whole < len(rows) else []
    yield from held


def _write(found: Compared, logs: Sequence[Tensor], targets: Tensor, at: int) -> None:
    """What the log-probabilities (N, V) of both say of the targets from number `at` on."""
    mine, parents = logs
    place = slice(at, at + len(targets))
    found.bits[place], found.parent_bits[place] = (
        (-log.gather(1, targets[:, None])[:, 0] / math.log(2)).numpy() for log in logs
    )
    apart = torch.where(parents.isneginf(), 0.0, parents.exp() * (parents - mine))
    found.nats[place] = apart.sum(-1).clamp(min=0.0).numpy()
    found.agreed[place] = (mine.argmax(-1) == parents.argmax(-1)).double().numpy()


def split_into_items(compared: Sequence[Compared]) -> list[Item]:
    """The documents; of a single one its blocks."""
    if len(compared) != 1:
        return [
            Item(one.passage.id, len(one.passage.text.encode()), *map(math.fsum, one.columns))
            for one in compared
        ]
    (one,) = compared
    edges = block_edges(one.passage.text)
    tokens, sums = one.line.tokens, []
    for column in one.columns:
        blocks = Blocks(edges, edges[-1], one.passage.id)
        blocks.add(tokens.start, tokens.end, column)
        sums.append(blocks.bits)
    return [
        Item(f"{one.passage.id}:{i}", edges[i + 1] - edges[i], *(float(s[i]) for s in sums))
        for i in range(len(edges) - 1)
    ]


@dataclass(frozen=True)
class Divergence:
    """What a change of the weights cost, each with its 95 % interval over the items.

    Attributes:
        bits: bits per byte of the model; parent_bits: of its parent.
        difference: bits per byte that the model needs more.
        nats: divergence of its predictions from the parent's, nats a token.
        agreement: share of the tokens at which both find the same one likeliest.
        speed: how many times as fast it reads; None of fewer than two documents.
        items: what the intervals are over.
    """

    bits: Interval
    parent_bits: Interval
    difference: Interval
    nats: Interval
    agreement: Interval
    speed: Interval | None
    items: Sequence[Item]


def _within(found: Interval, most: float) -> Interval:
    """The interval of what is from 0 to `most`, cut at these."""
    if found.low is None or found.high is None:
        return found
    return Interval(found.value, max(0.0, found.low), min(most, found.high), found.n)


def summarise(compared: Sequence[Compared]) -> Divergence:
    """Return the sums over all documents."""
    items = split_into_items(compared)
    sizes, tokens, bits, parents, nats, agreed = (
        np.array(column, dtype=np.float64)
        for column in zip(
            *(
                (item.bytes, item.tokens, item.bits, item.parent_bits, item.nats, item.agreed)
                for item in items
            ),
            strict=True,
        )
    )
    speed = None
    if len(compared) > 1:
        seconds = np.array([one.seconds for one in compared])
        ratio, _ = block_difference(seconds[:, 1], seconds[:, 0])
        low, high = (None if end is None else math.exp(end) for end in (ratio.low, ratio.high))
        speed = Interval(math.exp(ratio.value), low, high, ratio.n)
    return Divergence(
        ratio_interval(bits, sizes),
        ratio_interval(parents, sizes),
        difference_interval(bits, parents, sizes),
        _within(ratio_interval(nats, tokens), math.inf),
        _within(ratio_interval(agreed, tokens), 1.0),
        speed,
        items,
    )
