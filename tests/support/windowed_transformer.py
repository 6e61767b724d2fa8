"""A causal transformer with a context: the tests of windows need a network that cannot read on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.network import Network


class WindowedTransformer(Network):
    """Learned positions, one cache of keys and values a layer."""

    def __init__(self, symbols: int, context: int = 16, width: int = 32, layers: int = 2):
        super().__init__()
        self.symbols, self.context = symbols, context
        self.embedding = nn.Embedding(symbols + 1, width)
        self.places = nn.Embedding(context, width)
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.output = nn.Linear(width, symbols, bias=False)

    def hidden(self, ids: Tensor, state=None):
        past = 0 if state is None else state[0][0].shape[1]
        x = self.embedding(ids) + self.places.weight[past : past + ids.shape[1]]
        caches = []
        for at, layer in enumerate(self.qkv):
            q, k, v = layer(x).chunk(3, dim=-1)
            if state is not None:
                k, v = torch.cat([state[at][0], k], 1), torch.cat([state[at][1], v], 1)
            mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(past)
            x = x + F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            caches.append((k, v))
        return x, caches

    def head(self, rows: Tensor) -> Tensor:
        return self.output(rows)
