"""The steps of the recurrent networks."""

from __future__ import annotations

import torch
from torch import Tensor

from llmbench.models.networks.recurrent import LSTM, RNN
from llmbench.models.steps.row_step import RowStep, make_buffer


class _Cell:
    """One layer: its matrices, the sum of its biases, its output h so far."""

    def __init__(self, network: RNN | LSTM, layer: int, h: Tensor):
        self.read, self.carry, first, second = (
            getattr(network.body, f"{name}_l{layer}").detach()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.bias = first + second
        self.h = h.clone()
        self.parts = make_buffer(len(self.bias))[0]

    def advance(self, x: Tensor) -> Tensor:
        """The input of the layer after this one."""
        torch.addmv(self.bias, self.read, x, out=self.parts)
        self.parts.addmv_(self.carry, self.h)
        self.finish()
        return self.h

    def finish(self) -> None:
        """Make h from the sums."""
        torch.tanh(self.parts, out=self.h)


class _Gated(_Cell):
    """A layer of an LSTM, with its cell c."""

    def __init__(self, network: LSTM, layer: int, h: Tensor, c: Tensor):
        super().__init__(network, layer, h)
        self.c, width = c.clone(), len(h)
        self.early = self.parts[: 2 * width]  # gates of what comes in and of what is kept
        self.enter, self.keep, self.new, self.leave = self.parts.view(4, width)

    def finish(self) -> None:
        self.early.sigmoid_()
        self.new.tanh_()
        self.leave.sigmoid_()
        self.c.mul_(self.keep).addcmul_(self.enter, self.new)
        torch.tanh(self.c, out=self.h)
        self.h.mul_(self.leave)


class _Step(RowStep):
    def __init__(self, network: RNN | LSTM, cells: list[_Cell]):
        self.embedding = network.embedding.weight.detach()
        self.cells = cells
        self.output, bias = network.output.weight.detach(), network.output.bias
        self.bias = bias.detach()

    def __call__(self, symbol: int) -> Tensor:
        x = self.embedding[symbol]
        for cell in self.cells:
            x = cell.advance(x)
        return torch.addmv(self.bias, self.output, x)[None]


class RNNStep(_Step):
    """See RowStep."""

    def __init__(self, network: RNN, state: Tensor):
        rows = state[:, 0]
        super().__init__(network, [_Cell(network, at, h) for at, h in enumerate(rows)])


class LSTMStep(_Step):
    """See RowStep."""

    def __init__(self, network: LSTM, state: tuple[Tensor, Tensor]):
        rows = zip(state[0][:, 0], state[1][:, 0], strict=True)
        super().__init__(network, [_Gated(network, at, h, c) for at, (h, c) in enumerate(rows)])
