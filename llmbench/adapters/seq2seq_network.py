"""An encoder-decoder trained here, on pairs: one byte-level BPE for both sides, a network from
models/, a checkpoint in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from llmbench.adapter import Passage
from llmbench.adapters.bpe_network import BpeNetwork
from llmbench.adapters.encoder_decoder import EncoderDecoderAdapter
from llmbench.data.text import Text
from llmbench.ledger import END
from llmbench.models.networks.transformer_seq2seq import TransformerSeq2Seq
from llmbench.models.tokenizers.bpe import Bpe
from llmbench.training.seq2seq_lm import Pairs


class Seq2SeqNetwork(BpeNetwork, EncoderDecoderAdapter):
    """A network that reads a source and writes a target, and the vocabulary of both."""

    network_class = TransformerSeq2Seq
    default_size = 4096
    needs_pairs = True

    def __init__(
        self,
        network: TransformerSeq2Seq,
        bpe: Bpe,
        training: Mapping[str, Any] | None = None,
        source: bytes = b"",
    ):
        super().__init__(network, bpe, training, source)
        self.context = self.source_context = network.context
        self.bos_ids, self.eos_ids, self.pad = (network.bos_id,), (network.eos_id,), network.eos_id

    @classmethod
    def strings(cls, text: Text) -> Iterator[str]:
        return (part for document in text.documents for part in (document.context, document.text))

    def lessons(self, text: Text) -> Pairs:
        return Pairs(
            self.network,
            [
                tuple(self.bpe.encode(part).ids.tolist() for part in (d.context, d.text))
                for d in text.documents
            ],
        )

    def judge(self, valid: Text) -> Callable[[], float]:
        """Of the pairs that fit."""
        room = self.network.context - 1
        fits = [
            d
            for d in valid.documents
            if max(len(self.bpe.encode(part).ids) for part in (d.context, d.text)) < room
        ]
        passages, size = (
            [Passage(d.text, context=d.context, id=d.id, score_eos=True) for d in fits],
            max(1, sum(len(d.text.encode()) for d in fits)),
        )
        return lambda: (
            math.fsum(ledger.total() + ledger.total(END) for ledger in self.score(passages)) / size
        )

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.bpe.decode(ids)

    def encode_source(self, text: str) -> list[int]:
        return [*self.bpe.encode(text).ids.tolist(), self.network.eos_id]

    def pair_logits(self, source: Tensor, attention: Tensor, target: Tensor) -> Tensor:
        logits: Tensor = self.network(source, attention, target)
        return logits

    def begin(self, source: Tensor) -> tuple[Any, Tensor]:
        cache, mask = self.network.encode(source, torch.ones_like(source))
        rows, cache = self.network.decode(
            torch.full_like(source[:, :1], self.network.bos_id), cache, mask
        )
        return (cache, mask), self.network.head(rows[:, -1])

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        cache, mask = state
        rows, cache = self.network.decode(ids[:, None], cache, mask)
        return (cache, mask), self.network.head(rows[:, -1])
