"""Stage 4, whole: an encoder reads a source, a decoder writes a target and looks at what was read by cross-attention (Vaswani et al. 2017).
Normalisation before each part (Xiong et al. 2020), fixed sinusoidal positions, one embedding for source, target and output (Press & Wolf 2017).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Cache = list[dict[str, Tensor]]  # one a layer: keys and values of the target so far, and of the source


def positions(first: int, count: int, width: int, device: torch.device) -> Tensor:
    """(count, width): sine and cosine of the place, over wavelengths from 2 pi to 10,000 x 2 pi."""
    at = torch.arange(first, first + count, device=device, dtype=torch.float32)[:, None]
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    return torch.cat([(at * frequency).sin(), (at * frequency).cos()], dim=1)


class Attention(nn.Module):
    """Queries from one line, keys and values from another or the same."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.pair, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, C) -> keys and values, (B, H, S, D) each."""
        k, v = self.pair(x).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
        drop = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(self._split(self.query(x)), keys, values, attn_mask=mask, dropout_p=drop, is_causal=causal)
        mixed: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)


class Layer(nn.Module):
    """Attention to oneself, in the decoder to the source, and a feed-forward part; each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float, crosses: bool):
        super().__init__()
        self.own = Attention(width, heads, dropout)
        self.cross = Attention(width, heads, dropout) if crosses else None
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 + crosses))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: dict[str, Tensor] | None) -> Tensor:
        """`cache`: of a decoder's layer; holds `source_keys` and `source_values`, and takes the target's."""
        y = self.norms[0](x)
        keys, values = self.own.keys_values(y)
        if cache is not None:
            past = "keys" in cache
            if past:
                keys, values = torch.cat([cache["keys"], keys], dim=2), torch.cat([cache["values"], values], dim=2)
            cache["keys"], cache["values"] = keys, values
            x = x + self.drop(self.own(y, keys, values, None, causal=not past))
            assert self.cross is not None
            x = x + self.drop(self.cross(self.norms[2](x), cache["source_keys"], cache["source_values"], mask))
        else:
            x = x + self.drop(self.own(y, keys, values, mask))
        out: Tensor = x + self.drop(self.down(F.relu(self.up(self.norms[1](x)))))
        return out


class TransformerSeq2Seq(nn.Module):
    """Ids 0 .. symbols-1 stand for text; `end` closes source and target, `start` opens a target. `context`: most ids of either."""

    def __init__(self, symbols: int, context: int = 128, width: int = 128, heads: int = 4, layers: int = 2, dropout: float = 0.1):
        super().__init__()
        self.symbols, self.context, self.width = symbols, context, width
        self.end, self.start = symbols, symbols + 1
        self.embedding = nn.Embedding(symbols + 2, width)
        self.encoder = nn.ModuleList(Layer(width, heads, dropout, crosses=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(width, heads, dropout, crosses=True) for _ in range(layers))
        self.read, self.written = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def encode(self, source: Tensor, attention: Tensor) -> tuple[Cache, Tensor]:
        """(B, S) ids and their (B, S) mask -> a fresh cache, and the mask of the source, as decoding takes them."""
        mask = attention.bool()[:, None, None, :]  # (B, 1, 1, S)
        x = self._embed(source, 0)
        for layer in self.encoder:
            x = layer(x, mask, None)
        memory = self.read(x)
        cache: Cache = []
        for layer in self.decoder:
            assert isinstance(layer, Layer)
            assert layer.cross is not None
            keys, values = layer.cross.keys_values(memory)
            cache.append({"source_keys": keys, "source_values": values})
        return cache, mask

    def decode(self, target: Tensor, cache: Cache, mask: Tensor) -> tuple[Tensor, Cache]:
        """(B, T) target ids after what the cache holds -> (B, T, C) rows, and the cache with them. Several new ids only onto a fresh one."""
        kept: Cache = [dict(layer) for layer in cache]
        x = self._embed(target, kept[0]["keys"].shape[2] if "keys" in kept[0] else 0)
        for layer, memory in zip(self.decoder, kept, strict=True):
            x = layer(x, mask, memory)
        return self.written(x), kept

    def head(self, rows: Tensor) -> Tensor:
        """(..., C) rows -> (..., symbols + 1) logits of the next id; the last is the end's."""
        return F.linear(rows, self.embedding.weight[: self.symbols + 1])

    def forward(self, source: Tensor, attention: Tensor, target: Tensor) -> Tensor:
        """(B, S) source, its mask, (B, T) target -> (B, T, symbols + 1) logits."""
        return self.head(self.decode(target, *self.encode(source, attention))[0])

    def _embed(self, ids: Tensor, first: int) -> Tensor:
        x = self.embedding(ids) * self.width**0.5
        embedded: Tensor = self.drop(x + positions(first, ids.shape[1], self.width, ids.device).to(x.dtype))
        return embedded
