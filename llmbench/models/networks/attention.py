"""What the transformers of stage 4 are made of that read both ways: positions, attention from one
line to another, a layer (Vaswani et al. 2017), with normalisation before each part (Xiong et al.
2020).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def positions(first: int, count: int, width: int, device: torch.device) -> Tensor:
    """(count, width): sine and cosine of the place, over wavelengths from 2 pi to 10,000 x 2 pi."""
    at = torch.arange(first, first + count, device=device, dtype=torch.float32)[:, None]
    frequency = torch.exp(
        -math.log(10_000.0) * torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    )
    return torch.cat([(at * frequency).sin(), (at * frequency).cos()], dim=1)


class Attention(nn.Module):
    """Queries from one line, keys and values from another or the same."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.pair, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, C) -> keys and values, (B, H, S, D) each."""
        k, v = self.pair(x).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool = False
    ) -> Tensor:
        drop = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            self._split(self.query(x)),
            keys,
            values,
            attn_mask=mask,
            dropout_p=drop,
            is_causal=causal,
        )
        mixed: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)


class Layer(nn.Module):
    """Attention to oneself, in the decoder to the source, and a feed-forward part; each added to
    what came in.
    """

    def __init__(self, width: int, heads: int, dropout: float, crosses: bool):
        super().__init__()
        self.own = Attention(width, heads, dropout)
        self.cross = Attention(width, heads, dropout) if crosses else None
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 + crosses))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, cache: dict[str, Tensor] | None) -> Tensor:
        """`cache`: of a decoder's layer; holds `source_keys` and `source_values`, and takes the
        target's.
        """
        y = self.norms[0](x)
        keys, values = self.own.keys_values(y)
        if cache is not None:
            past = "keys" in cache
            if past:
                keys, values = (
                    torch.cat([cache["keys"], keys], dim=2),
                    torch.cat([cache["values"], values], dim=2),
                )
            cache["keys"], cache["values"] = keys, values
            x = x + self.drop(self.own(y, keys, values, None, causal=not past))
            assert self.cross is not None
            x = x + self.drop(
                self.cross(self.norms[2](x), cache["source_keys"], cache["source_values"], mask)
            )
        else:
            x = x + self.drop(self.own(y, keys, values, mask))
        out: Tensor = x + self.drop(self.down(F.relu(self.up(self.norms[1](x)))))
        return out
