"""Adapters that are wrong in one way each when they speak, or in what they say of themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from llmbench.inference import generation
from llmbench.ledger import PSEUDO, Ledger
from support.zoo import Windowed, caught_by

# Speaking
# ---------------------------------------------------------------------------------------------------------------


@caught_by("step-by-step", "greedy")
class StaleCache(Windowed):
    """The state after a step has not read the symbol of that step."""

    def step(self, state, ids):
        return state, self.net(ids[:, None], state)[0][:, -1]


@caught_by("step-by-step")
class MixesUpRows(Windowed):
    """The cache's rows are in another order after a step."""

    def step(self, state, ids):
        state, logits = super().step(state, ids)
        return state.flip(1), logits


@caught_by("limits")
class DeafToStops(Windowed):
    """Stop strings are passed over, and a limit in bytes is taken for one in symbols and one more."""

    def generate(self, requests):
        deaf = [
            dataclasses.replace(
                r, stop=(), max_bytes=None, max_tokens=r.max_tokens or (r.max_bytes or 0) + 1
            )
            for r in requests
        ]
        yield from generation.generate(self, deaf)


@caught_by("greedy")
class AlwaysSamples(Windowed):
    """Temperature 0 is taken for 1."""

    def generate(self, requests):
        yield from generation.generate(
            self,
            [
                dataclasses.replace(request, temperature=request.temperature or 1.0)
                for request in requests
            ],
        )


@caught_by("greedy")
class HeedsNoTopK(Windowed):
    """Draws from all symbols where it is to draw among the likeliest."""

    def generate(self, requests):
        yield from generation.generate(
            self, [dataclasses.replace(request, top_k=None) for request in requests]
        )


# What it says of itself
# -------------------------------------------------------------------------------------------------


@caught_by("info")
class SaysItIsSmall(Windowed):
    """Half of its parameters are not mentioned."""

    @property
    def info(self):
        return dataclasses.replace(super().info, parameters=super().info.parameters // 2)


@caught_by("info")
class SaysItHasHalfTheBits(Windowed):
    """Claims weights of 16 bits, of which less would be asked."""

    @property
    def info(self):
        return dataclasses.replace(super().info, dtype="float16")


@caught_by("pseudo")
class MasksNothing(Windowed):
    """Gaps are filled by a model that is shown what stands in them."""

    def pseudo_score(self, passages, positions=None, seed=0):
        for passage in passages:
            n = len(passage.text.encode())
            at = np.arange(n)
            yield Ledger.build(at, at + 1, np.zeros(n), np.full(n, PSEUDO), n, passage.id)


@caught_by("info")
class SaysItLooksBackLess(Windowed):
    """Its context is four times what it says."""

    @property
    def info(self):
        return dataclasses.replace(super().info, context=6)


@caught_by("elsewhere")
class HasALooseTensor(Windowed):
    """A tensor that no module holds stays behind when the model is moved."""

    def __init__(self):
        super().__init__()
        self.scale = torch.full((256,), 0.5)
        self.kind = torch.float32

    def logits(self, ids):
        rows = self.net(ids)[0]
        return rows * self.scale if rows.dtype == self.kind else rows

    def prefill(self, ids):
        return ids, self.logits(ids)[:, -1]

    def step(self, state, ids):
        line = torch.cat([state, ids[:, None]], dim=1)[:, -self.context :]
        return line, self.logits(line)[:, -1]


@caught_by("byte-coverage")
class ChokesOnEmoji(Windowed):
    """Raises for what is not ASCII: an error is no pass."""

    def encode(self, text):
        text.encode("ascii")
        return super().encode(text)
