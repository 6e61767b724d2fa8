"""Stage 2: a feed-forward model over words. Embedding -> Linear -> Linear, and the same embedding
again to score every word of the vocabulary (Bengio et al. 2003; tied: Press & Wolf 2017): with few
words to learn from, each word's vector is learnt from both sides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.network import Network


class WordFFN(Network):
    """The last `reach` words, embedded, -> width -> embedding; logits are products with all words'
    embeddings.
    """

    def __init__(
        self,
        symbols: int,
        reach: int = 4,
        embedding: int = 128,
        width: int = 256,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.symbols, self.reach = symbols, reach
        self.embedding = nn.Embedding(symbols + 1, embedding)
        self.first = nn.Linear(reach * embedding, width)
        self.second = nn.Linear(width, embedding)
        self.norm = nn.LayerNorm(embedding)
        self.bias = nn.Parameter(torch.zeros(symbols))
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=embedding**-0.5)

    def hidden(self, ids: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert self.reach is not None
        if state is None:  # before the text there is nothing but start symbols
            state = ids.new_full((ids.shape[0], self.reach - 1), self.symbols)
        ids = torch.cat([state, ids], dim=1)  # (B, reach-1+T)
        windows = self.dropout(self.embedding(ids)).unfold(1, self.reach, 1)  # (B, T, E, reach)
        x = self.second(self.dropout(F.gelu(self.first(windows.flatten(2)))))
        return self.dropout(self.norm(x)), ids[:, ids.shape[1] - self.reach + 1 :]

    def head(self, rows: Tensor) -> Tensor:
        return F.linear(rows, self.embedding.weight[: self.symbols], self.bias)
