"""The zoo: honest adapters, and where the saboteurs that spoil them are entered, with the checks
that are there for their faults.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from llmbench.adapters.trivial import UniformBytes
from support.toys import ByteModel, network


class Net(nn.Module):
    """Bytes and a start symbol -> logits of the next byte."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.body, self.output = (
            nn.Embedding(257, 16),
            nn.GRU(16, 24, batch_first=True),
            nn.Linear(24, 256),
        )
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(3.0)

    def forward(self, ids, state=None):
        rows, state = self.body(self.embedding(ids), state)
        return self.output(rows), state


class Windowed(ByteModel):
    """Honest: 24 symbols of context, with a state that is kept while it speaks."""

    context = 24

    def __init__(self):
        self.net = Net().eval()

    def logits(self, ids):
        return self.net(ids)[0]

    def prefill(self, ids):
        logits, state = self.net(ids)
        return state, logits[:, -1]

    def step(self, state, ids):
        logits, state = self.net(ids[:, None], state)
        return state, logits[:, -1]


class Carried(Windowed):
    """Honest: any number of symbols, in pieces."""

    context = None

    def hidden(self, ids):
        return self.net.body(self.net.embedding(ids))[0]

    def head(self, rows):
        return self.net.output(rows)

    def forward_with_state(self, ids, state):
        return self.net.body(self.net.embedding(ids), state)


class Padded(Windowed):
    """Honest: takes padding on the left, by reading each row anew."""

    @property
    def supports_padding(self):
        return True

    def prefill_padded(self, ids, lengths):
        rows = [self.net(row[None, len(row) - n :]) for row, n in zip(ids, lengths, strict=True)]
        return torch.cat([state for _, state in rows], dim=1), torch.cat(
            [logits[:, -1] for logits, _ in rows]
        )


class OnMacsGpu(Windowed):
    """Honest: says that it is on the GPU of a Mac (mps), and computes here what that would."""

    factor = 1.0  # of its logits there

    def __init__(self, device="mps"):
        super().__init__()
        self.place = device

    def to(self, device, dtype="float32"):
        if device == "mps" and dtype == "float64":
            raise TypeError("the MPS framework doesn't support float64")
        if self.place == "mps" and dtype == "float64":
            raise TypeError("a tensor is converted before it leaves the device")
        self.place = device
        return super().to("cpu", dtype)

    @property
    def info(self):
        return dataclasses.replace(super().info, device=self.place)

    def logits(self, ids):
        return self._compute(super().logits(ids))

    def prefill(self, ids):
        state, rows = super().prefill(ids)
        return state, self._compute(rows)

    def step(self, state, ids):
        state, rows = super().step(state, ids)
        return state, self._compute(rows)

    def _compute(self, rows):
        return rows * self.factor if self.place == "mps" else rows


def honest():
    return {
        "windowed": Windowed,
        "on-macs-gpu": OnMacsGpu,
        "carried": Carried,
        "padded": Padded,
        "uniform": UniformBytes,
        **{
            name: lambda name=name: network(name)
            for name in ("char-ffn", "word-ffn", "rnn", "lstm", "transformer-decoder")
        },
    }


ZOO: dict[str, type] = {}


def caught_by(*checks):
    def add(cls):
        cls.caught_by = checks
        ZOO[cls.__name__] = cls
        return cls

    return add
