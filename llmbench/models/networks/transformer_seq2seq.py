"""Stage 4, whole: an encoder reads a source, a decoder writes a target and looks at what was read
by cross-attention (Vaswani et al. 2017). Normalisation before each part (Xiong et al. 2020), fixed
sinusoidal positions, one embedding for source, target and output (Press & Wolf 2017).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from llmbench.models.networks.attention import Layer, positions

Cache = list[
    dict[str, Tensor]
]  # one a layer: keys and values of the target so far, and of the source


class TransformerSeq2Seq(nn.Module):
    """Ids 0 .. symbols-1 stand for text; `end` closes source and target, `start` opens a target.
    `context`: most ids of either.
    """

    def __init__(
        self,
        symbols: int,
        context: int = 128,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.symbols, self.context, self.width = symbols, context, width
        self.eos_id, self.bos_id = symbols, symbols + 1
        self.embedding = nn.Embedding(symbols + 2, width)
        self.encoder = nn.ModuleList(
            Layer(width, heads, dropout, crosses=False) for _ in range(layers)
        )
        self.decoder = nn.ModuleList(
            Layer(width, heads, dropout, crosses=True) for _ in range(layers)
        )
        self.read, self.written = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def encode(self, source: Tensor, attention: Tensor) -> tuple[Cache, Tensor]:
        """(B, S) ids and their (B, S) mask -> a fresh cache, and the mask of the source, as
        decoding takes them.
        """
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
        """(B, T) target ids after what the cache holds -> (B, T, C) rows, and the cache with them.
        Several new ids only onto a fresh one.
        """
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
        embedded: Tensor = self.drop(
            x + positions(first, ids.shape[1], self.width, ids.device).to(x.dtype)
        )
        return embedded
