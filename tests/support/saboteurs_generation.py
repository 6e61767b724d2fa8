"""Adapters that are wrong in one way each when they speak, or in what they say of themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from llmbench.inference import generation
from llmbench.ledger import PSEUDO, Ledger
from support.zoo import Windowed, caught_by

# Speaking
# --------------------------------------------------------------------------------------------------


@caught_by("step-by-step", "greedy")
class StaleCache(Windowed):
    """the state after a step has not read the token of that step"""

    def step(self, state, ids):
        return state, self.net(ids[:, None], state)[0][:, -1]


@caught_by("step-by-step")
class MixesUpRows(Windowed):
    """the rows of the KV cache change order after a step"""

    def step(self, state, ids):
        state, logits = super().step(state, ids)
        return state.flip(1), logits


@caught_by("limits")
class DeafToStops(Windowed):
    """stop strings are ignored, and a limit in bytes is taken for tokens, plus one"""

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
    """temperature 0 is taken for 1"""

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
    """samples from all tokens instead of the top k"""

    def generate(self, requests):
        yield from generation.generate(
            self, [dataclasses.replace(request, top_k=None) for request in requests]
        )


# What it says of itself
# -------------------------------------------------------------------------------------------------


@caught_by("info")
class SaysItIsSmall(Windowed):
    """leaves out half of its parameters"""

    @property
    def info(self):
        return dataclasses.replace(super().info, parameters=super().info.parameters // 2)


@caught_by("info")
class SaysItHasHalfTheBits(Windowed):
    """claims 16-bit weights, which would loosen the tolerances"""

    @property
    def info(self):
        return dataclasses.replace(super().info, dtype="float16")


@caught_by("pseudo")
class MasksNothing(Windowed):
    """a masked model is shown what stands in the gap"""

    def pseudo_score(self, passages, positions=None, seed=0):
        for passage in passages:
            n = len(passage.text.encode())
            at = np.arange(n)
            yield Ledger.build(at, at + 1, np.zeros(n), np.full(n, PSEUDO), n, passage.id)


@caught_by("info")
class SaysItLooksBackLess(Windowed):
    """its context is four times what it says"""

    @property
    def info(self):
        return dataclasses.replace(super().info, context=6)


@caught_by("elsewhere")
class HasALooseTensor(Windowed):
    """a tensor that no module holds stays behind when the model is moved"""

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
    """raises an error on text that is not ASCII"""

    def encode(self, text):
        text.encode("ascii")
        return super().encode(text)
