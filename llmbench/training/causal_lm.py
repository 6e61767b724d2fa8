"""Batches and loss of a model that predicts the next symbol."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from llmbench.config.model_card import Recipe
from llmbench.data.text import Document
from llmbench.errors import UsageError
from llmbench.models.networks.network import Network, State
from llmbench.models.tokenizers.tokens import Tokens

IGNORE = -100  # cross_entropy's own mark for rows that do not count


Batch = tuple[
    Tensor, Tensor, Tensor | None
]  # (B, T) ids, (B, T) targets, and what the network is to start from


@dataclass(frozen=True)
class TrainingLine:
    """A document as ids, of which those from `first` on are to be learnt: of a pair the target,
    after its source.
    """

    ids: NDArray[np.int64]
    first: int = 0


def as_training_line(tokens: Tokens, document: Document) -> TrainingLine:
    """The line of a document whose `whole` is these tokens."""
    return TrainingLine(
        tokens.ids,
        (
            int(np.searchsorted(tokens.end, len(document.context.encode()), side="right"))
            if document.context
            else 0
        ),
    )


class NextSymbols:
    """Lessons of a causal network: the next id after each."""

    def __init__(self, network: Network, documents: Sequence[TrainingLine]):
        self.network, self.documents = network, documents

    def batches(self, recipe: Recipe, seed: int) -> Iterator[Batch]:
        return _batches(self.network, self.documents, recipe, seed)

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        network = self.network
        device = next(network.parameters()).device
        ids, targets, begin = (None if part is None else part.to(device) for part in batch)
        assert ids is not None
        assert targets is not None
        if network.is_stateful and state is not None and begin is not None:
            state = network.clear_state(state, begin)
        rows, state = network.hidden(ids, state if network.is_stateful else begin)
        charged = (targets != IGNORE).flatten()
        if not charged.any():  # sources alone, of which nothing is to be learnt
            return rows.sum() * 0.0, _detach(state) if network.is_stateful else None
        loss = F.cross_entropy(
            network.head(rows.flatten(0, 1)[charged]), targets.flatten()[charged]
        )
        return loss, _detach(state) if network.is_stateful else None


def _detach(state: State) -> State:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def _batches(
    network: Network, documents: Sequence[TrainingLine], recipe: Recipe, seed: int
) -> Iterator[Batch]:
    rng = np.random.default_rng(seed)
    some = [document for document in documents if len(document.ids) > document.first]
    if not some:
        raise UsageError("there is nothing to train on", hint="the training text is empty")
    if network.is_stateful:
        return lanes(some, network.bos_id, recipe.batch, recipe.length, rng)
    length = recipe.length if network.context is None else min(recipe.length, network.context)
    return random_windows(some, network.bos_id, recipe.batch, length, network.reach, rng)


def random_windows(
    documents: Sequence[TrainingLine],
    start: int,
    batch: int,
    length: int,
    reach: int | None,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Windows inside documents, drawn so that each symbol to be learnt has the same chance. A
    network of limited reach is also given the reach-1 ids before.
    """
    before = (reach or 1) - 1
    pad = np.full(before + 1, start, dtype=np.int64)
    line = np.concatenate([part for document in documents for part in (pad, document.ids)])
    sizes, given = (
        np.array(numbers)
        for numbers in zip(
            *((len(document.ids), document.first) for document in documents), strict=True
        )
    )
    firsts = np.cumsum(
        np.concatenate(([0], sizes[:-1] + before + 1))
    )  # where each document's padding starts in the line
    learnt = sizes - given
    share = np.cumsum(learnt)
    span = np.arange(before + length + 1)
    while True:
        target = rng.integers(0, share[-1], size=batch)
        which = np.searchsorted(share, target, side="right")
        inside = (
            given[which] + target - (share[which] - learnt[which])
        )  # the charged symbol's place in its document
        begin = np.clip(
            inside - rng.integers(0, length, size=batch), 0, np.maximum(0, sizes[which] - length)
        )
        at = firsts[which] + begin
        places = np.minimum(at[:, None] + span, len(line) - 1)
        window = torch.from_numpy(line[places])
        targets = window[:, before + 1 :].clone()
        spots = begin[:, None] + np.arange(length)
        targets[
            torch.from_numpy((spots >= sizes[which][:, None]) | (spots < given[which][:, None]))
        ] = IGNORE  # beyond a short document, or given
        yield window[:, before:-1], targets, window[:, :before] if reach else None


def lanes(
    documents: Sequence[TrainingLine], start: int, batch: int, length: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """`batch` lanes of text side by side for networks that carry a state: a lane goes through a
    document in order, then takes another, drawn without repeat until all were seen. The third part
    says which lanes begin one. Documents longer than a lane's share are cut.
    """
    most = max(length, math.ceil(sum(len(document.ids) for document in documents) / batch))
    pieces = []  # (2, n) each: ids, and what is to be learnt after them
    for document in documents:
        wanted = np.where(np.arange(len(document.ids)) < document.first, IGNORE, document.ids)
        both = np.stack([np.concatenate(([start], document.ids[:-1])), wanted])
        cuts = max(1, math.ceil(len(document.ids) / most))
        edges = [len(document.ids) * i // cuts for i in range(cuts + 1)]
        pieces += [both[:, a:b] for a, b in zip(edges, edges[1:], strict=False)]
    waiting: list[int] = []
    current: list[NDArray[np.int64]] = [np.empty((2, 0), dtype=np.int64)] * batch
    while True:
        ids = np.full((batch, length), start, dtype=np.int64)
        targets = np.full((batch, length), IGNORE, dtype=np.int64)
        fresh = np.zeros(batch, dtype=bool)
        for row in range(batch):
            if not current[row].shape[1]:
                if not waiting:
                    waiting = list(rng.permutation(len(pieces)))
                current[row], fresh[row] = pieces[waiting.pop()], True
            size = min(length, current[row].shape[1])
            ids[row, :size], targets[row, :size] = current[row][:, :size]
            current[row] = current[row][:, size:]
        yield torch.from_numpy(ids), torch.from_numpy(targets), torch.from_numpy(fresh)
