"""Stage 4, the encoder: every symbol sees every other, and gaps are filled from both sides (Devlin
et al. 2019). Fixed sinusoidal positions (Vaswani et al. 2017), one embedding for what is read and
what is predicted (Press & Wolf 2017).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.attention import Layer, positions


class TransformerEncoder(nn.Module):
    """Ids 0 .. symbols-1 stand for text; `mask` is a gap, `edge` stands before and after a text.
    `context`: most ids at once.
    """

    def __init__(
        self,
        symbols: int,
        context: int = 128,
        width: int = 128,
        heads: int = 4,
        layers: int = 3,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.symbols, self.context, self.width = symbols, context, width
        self.mask, self.edge = symbols, symbols + 1
        self.embedding = nn.Embedding(symbols + 2, width)
        self.layers = nn.ModuleList(
            Layer(width, heads, dropout, crosses=False) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(nn.init.zeros_(self.embedding.weight.new_empty(symbols)))
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def hidden(self, ids: Tensor, attention: Tensor) -> Tensor:
        """(B, T) ids and their (B, T) mask -> (B, T, C) rows, each made of all that the mask lets
        it see.
        """
        x = self.embedding(ids) * self.width**0.5
        x = self.drop(x + positions(0, ids.shape[1], self.width, ids.device).to(x.dtype))
        for layer in self.layers:
            x = layer(x, attention.bool()[:, None, None, :], None)
        rows: Tensor = self.norm(x)
        return rows

    def head(self, rows: Tensor) -> Tensor:
        """(..., C) rows -> (..., symbols) logits of what stands there."""
        return F.linear(rows, self.embedding.weight[: self.symbols], self.bias)
