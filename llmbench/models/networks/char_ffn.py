"""Stage 1: the smallest neural language model. The last `context` characters, embedded and laid
side by side, go through two hidden layers; the output is a distribution over the next character
(Bengio et al. 2003, on characters).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.network import Network


class CharFFN(Network):
    """Embedding -> Linear -> Linear (residual) -> Linear over a fixed window of `reach` ids."""

    def __init__(
        self,
        symbols: int,
        reach: int = 12,
        embedding: int = 24,
        width: int = 512,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.symbols, self.reach = symbols, reach
        self.embedding = nn.Embedding(symbols + 1, embedding)
        self.first = nn.Linear(reach * embedding, width)
        self.second = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, symbols)

    def hidden(self, ids: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert self.reach is not None
        if state is None:  # before the text there is nothing but start symbols
            state = ids.new_full((ids.shape[0], self.reach - 1), self.symbols)
        ids = torch.cat([state, ids], dim=1)  # (B, reach-1+T)
        windows = self.embedding(ids).unfold(1, self.reach, 1)  # (B, T, E, reach)
        x = F.gelu(self.first(windows.flatten(2)))  # (B, T, width)
        x = x + F.gelu(self.second(self.dropout(x)))
        return self.norm(x), ids[:, ids.shape[1] - self.reach + 1 :]

    def head(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.output(self.dropout(rows))
        return logits
