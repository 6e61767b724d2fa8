"""Lessons of a network that fills gaps: of each window a seventh of its symbols, most of them
hidden (Devlin et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from llmbench.config.model_card import Recipe
from llmbench.errors import UsageError
from llmbench.models.networks.network import State
from llmbench.models.networks.transformer_encoder import TransformerEncoder

ASKED = 0.15  # of all symbols
HIDDEN, SWAPPED = 0.8, 0.1  # of those that are asked for; the rest are shown as they are
Batch = tuple[Tensor, Tensor, Tensor]  # (B, T) ids, (B, T) attention, (B, T) targets


class Gaps:
    """`documents`: ids, without special ones."""

    def __init__(self, network: TransformerEncoder, documents: Sequence[NDArray[np.int64]]):
        self.network = network
        self.documents = [document for document in documents if len(document)]
        if not self.documents:
            raise UsageError("there is nothing to train on", hint="the training text is empty")

    def batches(self, recipe: Recipe, seed: int) -> Iterator[Batch]:
        """Windows of documents, each symbol about equally often seen, between edges."""
        rng, network = np.random.default_rng(seed), self.network
        room = min(recipe.length, network.context) - 2
        share = np.cumsum([len(document) for document in self.documents])
        while True:
            rows = []
            for place in rng.integers(0, share[-1], size=recipe.batch):
                document = self.documents[int(np.searchsorted(share, place, side="right"))]
                first = int(rng.integers(0, max(1, len(document) - room + 1)))
                rows.append(document[first : first + room])
            width = max(len(row) for row in rows) + 2
            ids = np.full((len(rows), width), network.edge, dtype=np.int64)
            attention, targets = np.zeros_like(ids), np.full_like(ids, -100)
            for number, row in enumerate(rows):
                line, asked = row.copy(), rng.random(len(row)) < ASKED
                asked[rng.integers(0, len(row))] = True  # at least one
                fate = rng.random(len(row))
                line[asked & (fate < HIDDEN)] = network.mask
                swapped = asked & (fate >= HIDDEN) & (fate < HIDDEN + SWAPPED)
                line[swapped] = rng.integers(0, network.symbols, size=int(swapped.sum()))
                ids[number, 1 : 1 + len(row)], attention[number, : len(row) + 2] = line, 1
                targets[number, 1 : 1 + len(row)][asked] = row[asked]
            yield torch.from_numpy(ids), torch.from_numpy(attention), torch.from_numpy(targets)

    def loss(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        device = next(self.network.parameters()).device
        ids, attention, targets = (part.to(device) for part in batch)
        asked = targets >= 0
        rows = self.network.hidden(ids, attention)[asked]
        return F.cross_entropy(self.network.head(rows), targets[asked]), None
