"""Stage 4: a causal transformer (Vaswani et al. 2017), in the small shape that works best here:
rotary positions (Su et al. 2021), normalisation before each part and on queries and keys (Henry et
al. 2020), squared ReLU (So et al. 2021), and in each layer a short causal convolution over
neighbours, cheap where attention is wasteful (So et al. 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.network import Network

Cache = list[
    dict[str, Tensor]
]  # one a layer: keys and values so far, and the last inputs of the convolution


def rotate(x: Tensor, first: int) -> Tensor:
    """(B, H, T, D) queries or keys at positions first, first+1, ... -> the same, each pair of
    channels turned by its angle.
    """
    half = x.shape[-1] // 2
    frequency = 1000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = (
        torch.arange(first, first + x.shape[2], device=x.device, dtype=torch.float32)[:, None]
        * frequency
    )  # (T, D/2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Layer(nn.Module):
    """x + attention(x), then x + feed-forward(x); both see x through a normalisation."""

    def __init__(self, width: int, heads: int, taps: int, dropout: float):
        super().__init__()
        self.heads, self.taps, self.dropout = heads, taps, dropout
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.neighbours = nn.Parameter(
            torch.zeros(taps, width)
        )  # weight of the symbol 1 .. taps places back
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)  # each layer starts as the identity
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, cache: dict[str, Tensor]) -> Tensor:
        x = x + self.attention(self.mix(self.norm1(x), cache), cache)
        x = x + F.dropout(
            self.down(F.relu(self.up(self.norm2(x))).square()), self.dropout, self.training
        )
        return x

    def mix(self, x: Tensor, cache: dict[str, Tensor]) -> Tensor:
        """Add to each position a weighted sum of its `taps` predecessors."""
        if not self.taps:
            return x
        before = cache.get("before", x.new_zeros(x.shape[0], self.taps, x.shape[2]))
        line = torch.cat([before, x], dim=1)  # (B, taps+T, width)
        cache["before"] = line[:, line.shape[1] - self.taps :]
        for back in range(1, self.taps + 1):
            x = x + self.neighbours[back - 1] * line[:, self.taps - back : line.shape[1] - back]
        return x

    def attention(self, x: Tensor, cache: dict[str, Tensor]) -> Tensor:
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )  # (B, H, T, D)
        past = cache["keys"].shape[2] if "keys" in cache else 0
        q, k = (rotate(F.rms_norm(part, part.shape[-1:]), past) for part in (q, k))
        if past:
            k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
        cache["keys"], cache["values"] = k, v
        mask = None
        if past and T > 1:
            # several new symbols after old ones: each sees the old and the new up to itself
            mask = torch.ones(T, past + T, dtype=torch.bool, device=x.device).tril(past)
        drop = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=drop, is_causal=past == 0
        )
        return F.dropout(self.out(y.transpose(1, 2).reshape(B, T, C)), self.dropout, self.training)


class TransformerDecoder(Network):
    """Embedding -> layers -> normalisation -> Linear. `context` ids at most in one pass or in the
    cache.
    """

    def __init__(
        self,
        symbols: int,
        context: int = 128,
        width: int = 128,
        heads: int = 4,
        layers: int = 4,
        taps: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.symbols, self.context = symbols, context
        self.embedding = nn.Embedding(symbols + 1, width)
        self.layers = nn.ModuleList(Layer(width, heads, taps, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, symbols, bias=False)
        nn.init.normal_(self.embedding.weight, std=1.0)
        nn.init.zeros_(self.output.weight)

    def hidden(self, ids: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        cache: Cache = [dict(layer) for layer in state] if state else [{} for _ in self.layers]
        x = self.embedding(ids)  # (B, T, width)
        for layer, memory in zip(self.layers, cache, strict=True):
            x = layer(x, memory)
        return self.norm(x), cache

    def head(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.output(rows)
        return logits
