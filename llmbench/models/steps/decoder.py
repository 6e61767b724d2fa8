"""The step of the sliding transformer.

Keys and values lie in a ring: a new symbol takes the place of the one that is no longer seen, and
nothing else moves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from llmbench.models.networks.transformer_decoder import Memory, State, TransformerDecoder
from llmbench.models.steps.row_step import RowStep, make_buffer, share_array


class DecoderStep(RowStep):
    """See RowStep. `place`: of the next symbol in the rings of `size` keys and values."""

    def __init__(self, network: TransformerDecoder, state: State):
        self.size, self.place = network.window + 1, network.window
        # by distance, the farthest first, twice: each part of `size` is right for one place
        self.biases = network.bias[:, :1, : self.size].repeat(1, 1, 2)
        self.embedding = share_array(network.embedding.weight)
        self.x, self.x_array = make_buffer(self.embedding.shape[1])
        self.layers = [
            _LayerStep(layer, state[3 * at : 3 * at + 3], self.x)  # type: ignore[arg-type]  # three
            for at, layer in enumerate(network.layers)
        ]
        self.norm, self.output = network.norm.weight.detach(), network.output.weight.detach()

    def __call__(self, symbol: int) -> Tensor:
        self.x_array[:] = self.embedding[symbol]
        bias = self.biases.narrow(2, self.size - 1 - self.place, self.size)
        for layer in self.layers:
            layer.advance(self.place, bias)
        self.place = (self.place + 1) % self.size
        return torch.mv(self.output, torch.layer_norm(self.x, self.x.shape, self.norm))[None]


class _LayerStep:
    """A layer's weights, its memory, and buffers for what lies between."""

    def __init__(self, layer: torch.nn.Module, memory: Memory, x: Tensor):
        weights = dict(layer.named_parameters())
        self.norm1, self.qkv, self.out, self.norm2, self.up, self.down = (
            weights[f"{name}.weight"].detach()
            for name in ("norm1", "qkv", "out", "norm2", "up", "down")
        )
        self.neighbours = share_array(weights["neighbours"])
        keys, values, before = (part[0] for part in memory)
        heads, window, size = keys.shape
        self.x, self.heads, self.scale = x, heads, size**-0.5
        self.keys, self.key_array = make_buffer(heads, window + 1, size)
        self.values, self.value_array = make_buffer(heads, window + 1, size)
        self.keys[:, :window], self.values[:, :window] = keys, values
        self.turned_keys = self.keys.transpose(1, 2)
        line, self.line = make_buffer(*self.neighbours.shape)
        line[1:] = before
        self.products = np.empty_like(self.line)
        self.mixed, self.mixed_array = make_buffer(len(x))
        self.parts, parts = make_buffer(3 * len(x))
        self.queries_keys = self.parts[: 2 * len(x)].view(2 * heads, size)
        self.value = parts[2 * len(x) :].reshape(heads, size)
        self.query, self.query_array = make_buffer(heads, 1, size)
        self.weights = make_buffer(heads, 1, window + 1)[0]
        self.found = make_buffer(heads, 1, size)[0]
        self.flat = self.found.view(-1)
        self.inner, self.inner_array = make_buffer(len(self.up))

    def advance(self, place: int, bias: Tensor) -> None:
        """Turn `x` into the layer's result; keep the symbol's keys and values at this place.

        bias: (heads, 1, window + 1), what is added to the logits of attention.
        """
        x, line = self.x, self.line
        line[:-1] = line[1:]
        line[-1] = torch.layer_norm(x, x.shape, self.norm1).numpy()
        np.multiply(line, self.neighbours, out=self.products)
        np.add.reduce(self.products, 0, out=self.mixed_array)
        torch.mv(self.qkv, self.mixed, out=self.parts)
        normed = torch.layer_norm(self.queries_keys, self.queries_keys.shape[1:]).numpy()
        self.query_array[:, 0] = normed[: self.heads]
        self.key_array[:, place] = normed[self.heads :]
        self.value_array[:, place] = self.value
        torch.baddbmm(bias, self.query, self.turned_keys, alpha=self.scale, out=self.weights)
        torch.softmax(self.weights, 2, out=self.weights)
        torch.bmm(self.weights, self.values, out=self.found)
        x.addmv_(self.out, self.flat)
        torch.mv(self.up, torch.layer_norm(x, x.shape, self.norm2), out=self.inner)
        np.maximum(self.inner_array, 0, out=self.inner_array)
        np.multiply(self.inner_array, self.inner_array, out=self.inner_array)
        x.addmv_(self.down, self.inner)
