"""The steps of the feed-forward networks: a window of embedded symbols moves by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.char_ffn import CharFFN
from llmbench.models.networks.word_ffn import WordFFN
from llmbench.models.steps.row_step import RowStep, make_buffer, share_array


class _Window:
    """The embeddings of the last `reach` symbols, side by side as the first layer reads them."""

    def __init__(self, embedding: nn.Embedding, ids: Tensor):
        self.embedding = share_array(embedding.weight)
        found, self.array = make_buffer(self.embedding.shape[1], ids.shape[1] + 1)
        self.array[:, 1:] = self.embedding[ids[0].numpy()].T
        self.x = found.view(-1)

    def read(self, symbol: int) -> Tensor:
        self.array[:, :-1] = self.array[:, 1:]
        self.array[:, -1] = self.embedding[symbol]
        return self.x


class CharStep(RowStep):
    """See RowStep."""

    def __init__(self, network: CharFFN, state: Tensor):
        self.window = _Window(network.embedding, state)
        self.first, self.second, self.norm, self.output = (
            (layer.weight.detach(), layer.bias.detach())
            for layer in (network.first, network.second, network.norm, network.output)
        )

    def __call__(self, symbol: int) -> Tensor:
        x = F.gelu(_apply(self.first, self.window.read(symbol)))
        x = x.add_(F.gelu(_apply(self.second, x)))
        return _apply(self.output, torch.layer_norm(x, x.shape, *self.norm))[None]


class WordStep(RowStep):
    """See RowStep."""

    def __init__(self, network: WordFFN, state: Tensor):
        self.window = _Window(network.embedding, state)
        self.first, self.second, self.norm = (
            (layer.weight.detach(), layer.bias.detach())
            for layer in (network.first, network.second, network.norm)
        )
        words = network.embedding.weight.detach()[: network.symbols]
        self.output = (words, network.bias.detach())

    def __call__(self, symbol: int) -> Tensor:
        x = _apply(self.second, F.gelu(_apply(self.first, self.window.read(symbol))))
        return _apply(self.output, torch.layer_norm(x, x.shape, *self.norm))[None]


def _apply(layer: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    """(in,) -> (out,) by weights and biases."""
    return torch.addmv(layer[1], layer[0], x)
