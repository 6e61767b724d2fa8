"""Stage 4: a causal transformer (Vaswani et al. 2017) whose attention slides: in each layer a
symbol sees itself and the `window` symbols before it (Child et al. 2019). So reading and writing
carry the keys and values of the last `window` symbols and nothing else, however long a text is.

In the small shape that works best here: distances instead of positions (ALiBi, Press et al. 2022);
normalisation before each part and on queries and keys (Henry et al. 2020); squared ReLU (So et al.
2021); and in each layer a short causal convolution over neighbours (So et al. 2021). It has few and
wide parts, since writing one symbol takes as long as calling its parts one after the other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.network import Network

# What a layer carries: keys and values of the last symbols, (B, heads, window, D) each, and the
# last inputs of its convolution, (B, taps, width). Before a text there are zeros: empty places,
# which attention may rest on.
Memory = tuple[Tensor, Tensor, Tensor]
State = tuple[Tensor, ...]  # the parts of all layers, one after the other


class Layer(nn.Module):
    """x + attention(x), then x + feed-forward(x); both see x through a normalisation."""

    def __init__(self, width: int, heads: int, window: int, taps: int, dropout: float):
        super().__init__()
        self.heads, self.window, self.dropout = heads, window, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        # weights of the symbols taps .. 1 places back, and of the symbol itself
        self.neighbours = nn.Parameter(torch.cat([torch.zeros(taps, width), torch.ones(1, width)]))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)  # each layer starts as the identity
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, memory: Memory, bias: Tensor) -> tuple[Tensor, Memory]:
        """(B * T, width) after a memory -> the same for the next layer, and the memory after it.

        bias: (heads, T, window + T), what is added to the logits of attention; for T above `window`
        that of a block of `window`.
        """
        keys, values, before = memory
        C = x.shape[1]
        T = x.shape[0] // before.shape[0]
        y = F.layer_norm(x, (C,), self.norm1.weight)
        line = torch.cat([before, y.view(-1, T, C)], dim=1)  # (B, taps + T, width)
        parts = F.linear(self.mix(line), self.qkv.weight).view(
            -1, T, 3 * self.heads, C // self.heads
        )
        q, k, v = parts.transpose(1, 2).chunk(3, dim=1)  # (B, H, T, D)
        q, k = F.layer_norm(q, q.shape[-1:]), F.layer_norm(k, k.shape[-1:])
        k, v = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
        x = self.add(x, self.attend(q, k, v, bias).transpose(1, 2).reshape(-1, C), self.out)
        y = F.layer_norm(x, (C,), self.norm2.weight)
        x = self.add(x, F.relu(F.linear(y, self.up.weight)).square(), self.down)
        return x, (k[:, :, T:], v[:, :, T:], line[:, T:])

    def mix(self, line: Tensor) -> Tensor:
        """(B, taps + T, width) -> of each of the last T symbols, a weighted sum of it and those
        just before it.
        """
        neighbours = self.neighbours
        if line.shape[1] == neighbours.shape[0]:
            return (line * neighbours).sum(1)
        T = line.shape[1] - neighbours.shape[0] + 1
        x = line[:, :T] * neighbours[0]
        for place in range(1, len(neighbours)):
            x = torch.addcmul(x, line[:, place : place + T], neighbours[place])
        return x

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """(B, H, T, D) queries over (B, H, window + T, D) keys and values -> (B, H, T, D).

        More than `window` queries are taken in blocks, each with the keys that it can see.
        """
        (B, H, T, D), size = q.shape, self.window
        if size >= T:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        blocks = -(-T // size)
        q, k, v = (F.pad(part, (0, 0, 0, blocks * size - T)) for part in (q, k, v))
        q = q.view(B, H, blocks, size, D).transpose(1, 2).flatten(0, 1)
        k, v = (
            part.unfold(2, 2 * size, size).permute(0, 2, 1, 4, 3).flatten(0, 1) for part in (k, v)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return y.view(B, blocks, H, size, D).transpose(1, 2).flatten(2, 3)[:, :, :T]

    def add(self, x: Tensor, y: Tensor, layer: nn.Linear) -> Tensor:
        """x + layer(y), with dropout in training."""
        if self.training:
            return x + F.dropout(F.linear(y, layer.weight), self.dropout)
        return torch.addmm(x, y, layer.weight.t())


class TransformerDecoder(Network):
    """Embedding -> layers -> normalisation -> Linear. In each layer a symbol sees `window` others
    before it.
    """

    is_stateful = True
    window: int
    bias: Tensor

    def __init__(
        self,
        symbols: int,
        window: int = 64,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        taps: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.symbols, self.heads, self.window, self.taps = symbols, heads, window, taps
        self.reach = layers * (window + taps) + 1
        self.embedding = nn.Embedding(symbols + 1, width)
        self.layers = nn.ModuleList(
            Layer(width, heads, window, taps, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, bias=False)
        self.output = nn.Linear(width, symbols, bias=False)
        nn.init.normal_(self.embedding.weight, std=1.0)
        nn.init.zeros_(self.output.weight)
        back = torch.arange(window)[:, None] + window - torch.arange(2 * window)
        slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)
        bias = -slopes[:, None, None] * back
        bias.masked_fill_((back < 0) | (back > window), -math.inf)
        self.register_buffer("bias", bias, persistent=False)

    def hidden(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        B, T = ids.shape
        x = F.embedding(ids, self.embedding.weight).flatten(0, 1)  # (B * T, width)
        given = self._begin(x, B) if state is None else state
        bias = self.bias if self.window <= T else self.bias[:, :T, : self.window + T]
        carried: list[Tensor] = []
        for at, layer in enumerate(self.layers):
            keys, values, before = given[3 * at : 3 * at + 3]
            x, memory = layer(x, (keys, values, before), bias)
            carried += memory
        x = F.layer_norm(x, x.shape[1:], self.norm.weight)
        return x.view(B, T, -1), tuple(carried)

    def _begin(self, x: Tensor, rows: int) -> State:
        """What is carried before a text, for so many rows."""
        C = x.shape[1]
        pair = x.new_zeros(rows, self.heads, self.window, C // self.heads)
        return (pair, pair, x.new_zeros(rows, self.taps, C)) * len(self.layers)

    def head(self, rows: Tensor) -> Tensor:
        return F.linear(rows, self.output.weight)

    def select_state(self, state: State, rows: Tensor) -> State:
        return tuple(part.index_select(0, rows) for part in state)

    def clear_state(self, state: State, rows: Tensor) -> State:
        return tuple(part * (~rows).view(-1, *[1] * (part.ndim - 1)) for part in state)
