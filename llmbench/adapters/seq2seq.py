"""An encoder-decoder trained here, on pairs: one byte-level BPE for both sides, a network from models/, a checkpoint in the cache."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmbench.adapter import Materials, Passage
from llmbench.bpe import Bpe
from llmbench.card import NetworkSpec, VocabularySpec
from llmbench.checkpoints import checkpoint_folder, usual_vocabulary
from llmbench.data import Text
from llmbench.encoder_decoder_adapter import EncoderDecoderAdapter
from llmbench.errors import UsageError
from llmbench.imports import source_files
from llmbench.ledger import END
from llmbench.models.transformer_seq2seq import TransformerSeq2Seq
from llmbench.pair_lessons import Pairs
from llmbench.trained_networks import BpeNetwork, bpe_size, made, obtained, taught, texts_of

SIZE = 4096  # ids of the BPE, where the card says nothing


class Seq2SeqNetwork(BpeNetwork, EncoderDecoderAdapter):
    """A network that reads a source and writes a target, and the vocabulary of both."""

    network_kind = TransformerSeq2Seq

    def __init__(self, network: TransformerSeq2Seq, bpe: Bpe, training: Mapping[str, Any] | None = None, source: bytes = b""):
        super().__init__(network, bpe, training, source)
        self.context = self.source_context = network.context
        self.start, self.ends, self.pad = (network.start,), (network.end,), network.end

    @classmethod
    def build(cls, arguments: Mapping[str, Any], materials: Materials) -> Seq2SeqNetwork:
        """From the cache, or trained now on `materials.train`, whose documents are pairs."""
        spec, recipe = arguments["network"], arguments["recipe"]
        vocabulary: VocabularySpec = arguments.get("vocabulary") or usual_vocabulary("seq2seq")
        size, (text, valid) = bpe_size(vocabulary, SIZE), texts_of(materials, recipe)
        if not all(document.given for part in (text, valid) for document in part.documents):
            raise UsageError("this model learns from pairs, and the training text has none", hint="a .jsonl file with the fields `given` and `text`")

        def load(facts: Mapping[str, Any], weights: dict[str, Tensor]) -> Seq2SeqNetwork:
            bpe = Bpe(facts["bpe"])
            network = made(spec, TransformerSeq2Seq, bpe.symbols, seed=0)
            network.load_state_dict(weights)
            return cls(network, bpe, facts["training"], _source(spec))

        def train(partial: Path) -> Seq2SeqNetwork:
            materials.progress("vocabulary", 0.0, "")
            bpe = Bpe.learn((part for document in text.documents for part in (document.given, document.text)), size)
            adapter = cls(made(spec, TransformerSeq2Seq, bpe.symbols, materials.seed), bpe, source=_source(spec))
            adapter.to(materials.device)
            passages, many = _passages(valid, adapter)

            def evaluate() -> float:
                return math.fsum(ledger.total() + ledger.total(END) for ledger in adapter.score(passages)) / many

            lessons = Pairs(adapter.network, [(bpe.encode(d.given).ids.tolist(), bpe.encode(d.text).ids.tolist()) for d in text.documents])
            adapter.training = taught(adapter.network, lessons, evaluate, recipe, materials, partial)
            return adapter

        return obtained(checkpoint_folder(spec, vocabulary, recipe, materials, "seq2seq"), load, train)

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.bpe.decode(ids)

    def encode_source(self, text: str) -> list[int]:
        return [*self.bpe.encode(text).ids.tolist(), self.network.end]

    def pair_logits(self, source: Tensor, attention: Tensor, target: Tensor) -> Tensor:
        logits: Tensor = self.network(source, attention, target)
        return logits

    def begin(self, source: Tensor) -> tuple[Any, Tensor]:
        cache, mask = self.network.encode(source, torch.ones_like(source))
        rows, cache = self.network.decode(torch.full_like(source[:, :1], self.network.start), cache, mask)
        return (cache, mask), self.network.head(rows[:, -1])

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        cache, mask = state
        rows, cache = self.network.decode(ids[:, None], cache, mask)
        return (cache, mask), self.network.head(rows[:, -1])


def _passages(valid: Text, adapter: Seq2SeqNetwork) -> tuple[list[Passage], int]:
    """Pairs of the validation text that fit, to be scored again and again, and the bytes of their targets."""
    room = adapter.network.context - 1
    fits = [d for d in valid.documents if max(len(adapter.bpe.encode(d.given).ids), len(adapter.bpe.encode(d.text).ids)) < room]
    return [Passage(d.text, given=d.given, id=d.id, end=True) for d in fits], max(1, sum(len(d.text.encode()) for d in fits))


def _source(spec: NetworkSpec) -> bytes:
    return b"".join(file.read_bytes() for file in source_files(spec.cls)) + Path(__file__).read_bytes()
