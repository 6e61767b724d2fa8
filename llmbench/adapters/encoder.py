"""An encoder trained here to fill gaps, over a byte-level BPE: pseudo-bits, in a table apart from the bits of models that only look back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Materials
from llmbench.bpe import Bpe
from llmbench.card import NetworkSpec, VocabularySpec
from llmbench.checkpoints import checkpoint_folder, usual_vocabulary
from llmbench.gap_lessons import Gaps
from llmbench.imports import source_files
from llmbench.masked_adapter import MaskedAdapter
from llmbench.models.transformer_encoder import TransformerEncoder
from llmbench.trained_networks import BpeNetwork, bpe_size, made, obtained, taught, texts_of
from llmbench.training import valid_passages

SIZE = 2048  # ids of the BPE, where the card says nothing
ASKED = 400  # gaps of the validation text that tell which state is the best


class EncoderNetwork(BpeNetwork, MaskedAdapter):
    """A network that sees both sides, and its vocabulary."""

    network_kind = TransformerEncoder
    context: int

    def __init__(self, network: TransformerEncoder, bpe: Bpe, training: Mapping[str, Any] | None = None, source: bytes = b""):
        super().__init__(network, bpe, training, source)
        self.context, self.mask = network.context, network.mask
        self.before = self.after = (network.edge,)

    @classmethod
    def build(cls, arguments: Mapping[str, Any], materials: Materials) -> EncoderNetwork:
        """From the cache, or trained now on `materials.train`."""
        spec, recipe = arguments["network"], arguments["recipe"]
        vocabulary: VocabularySpec = arguments.get("vocabulary") or usual_vocabulary("encoder")
        size, (text, valid) = bpe_size(vocabulary, SIZE), texts_of(materials, recipe)

        def load(facts: Mapping[str, Any], weights: dict[str, Tensor]) -> EncoderNetwork:
            bpe = Bpe(facts["bpe"])
            network = made(spec, TransformerEncoder, bpe.symbols, seed=0)
            network.load_state_dict(weights)
            return cls(network, bpe, facts["training"], _source(spec))

        def train(partial: Path) -> EncoderNetwork:
            materials.progress("vocabulary", 0.0, "")
            bpe = Bpe.learn((document.text for document in text.documents), size)
            adapter = cls(made(spec, TransformerEncoder, bpe.symbols, materials.seed), bpe, source=_source(spec))
            adapter.to(materials.device)
            passages = valid_passages(valid)

            def evaluate() -> float:
                ledgers = [ledger for ledger in adapter.pseudo_score(passages, ASKED, seed=0) if len(ledger.bits)]
                return math.fsum(ledger.bits.sum() for ledger in ledgers) / max(1, sum(int((ledger.end - ledger.start).sum()) for ledger in ledgers))

            lessons = Gaps(adapter.network, [bpe.encode(document.text).ids for document in text.documents])
            adapter.training = taught(adapter.network, lessons, evaluate, recipe, materials, partial)
            return adapter

        return obtained(checkpoint_folder(spec, vocabulary, recipe, materials, "encoder"), load, train)

    def words(self, text: str) -> NDArray[np.int64]:
        return self.bpe.words(text)

    def predict(self, ids: Tensor, attention: Tensor, rows: Tensor) -> Tensor:
        logits: Tensor = self.network.head(self.network.hidden(ids, attention).flatten(0, 1)[rows])
        return logits


def _source(spec: NetworkSpec) -> bytes:
    return b"".join(file.read_bytes() for file in source_files(spec.cls)) + Path(__file__).read_bytes()
