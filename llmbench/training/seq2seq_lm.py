"""Lessons of a network that reads a source and writes a target: each target id, and its end, given
the source and the target before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from llmbench.config.model_card import Recipe
from llmbench.inference.batching import pad_rows
from llmbench.models.networks.network import State
from llmbench.models.networks.transformer_seq2seq import TransformerSeq2Seq

# batches that are drawn together and sorted by length, so that rows of a batch are of like length
POOL = 50
SMOOTHING = 0.1  # of the targets (Szegedy et al. 2016; Vaswani et al. 2017)
Ids = Sequence[int]


class Pairs:
    """`pairs`: ids of source and target, without special ones."""

    def __init__(self, network: TransformerSeq2Seq, pairs: Sequence[tuple[Ids, Ids]]):
        self.network = network
        most = network.context - 1
        self.pairs = [(list(source[:most]), list(target[:most])) for source, target in pairs]

    def batches(self, recipe: Recipe, seed: int) -> Iterator[list[int]]:
        """Numbers of pairs; every pair once before any comes again."""
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.pairs))
            for first in range(0, len(order), recipe.batch * POOL):
                pool = sorted(
                    order[first : first + recipe.batch * POOL],
                    key=lambda i: len(self.pairs[i][0]) + len(self.pairs[i][1]),
                )
                groups = [pool[i : i + recipe.batch] for i in range(0, len(pool), recipe.batch)]
                for number in rng.permutation(len(groups)):
                    yield [int(i) for i in groups[number]]

    def loss(self, batch: Sequence[int], state: State) -> tuple[Tensor, State]:
        network = self.network
        device = str(next(network.parameters()).device)
        source, attention = pad_rows(
            [[*self.pairs[i][0], network.eos_id] for i in batch], network.eos_id, device
        )
        inputs, mask = pad_rows(
            [[network.bos_id, *self.pairs[i][1]] for i in batch], network.eos_id, device
        )
        targets, _ = pad_rows(
            [[*self.pairs[i][1], network.eos_id] for i in batch], network.eos_id, device
        )
        rows = network.decode(inputs, *network.encode(source, attention))[0]
        charged = mask.bool().flatten()
        logits = network.head(rows.flatten(0, 1)[charged])
        return (
            F.cross_entropy(
                logits,
                targets.flatten()[charged],
                label_smoothing=SMOOTHING if network.training else 0.0,
            ),
            None,
        )
