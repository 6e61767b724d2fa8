"""An encoder trained here to fill gaps, over a byte-level BPE: pseudo-bits, in a table apart from
the bits of models that only look back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapters.bpe_network import BpeNetwork
from llmbench.adapters.masked import MaskedAdapter
from llmbench.data.text import Text
from llmbench.models.networks.transformer_encoder import TransformerEncoder
from llmbench.models.tokenizers.bpe import Bpe
from llmbench.training.masked_lm import Gaps
from llmbench.training.trainer import valid_passages

ASKED = 400  # gaps of the validation text that tell which state is the best


class EncoderNetwork(BpeNetwork, MaskedAdapter):
    """A network that sees both sides, and its vocabulary."""

    network_class = TransformerEncoder
    default_size = 2048
    context: int

    def __init__(
        self,
        network: TransformerEncoder,
        bpe: Bpe,
        training: Mapping[str, Any] | None = None,
        source: bytes = b"",
    ):
        super().__init__(network, bpe, training, source)
        self.context, self.mask = network.context, network.mask
        self.before = self.after = (network.edge,)

    @classmethod
    def strings(cls, text: Text) -> Iterator[str]:
        return (document.text for document in text.documents)

    def lessons(self, text: Text) -> Gaps:
        return Gaps(
            self.network, [self.bpe.encode(document.text).ids for document in text.documents]
        )

    def judge(self, valid: Text) -> Callable[[], float]:
        passages = valid_passages(valid)

        def evaluate() -> float:
            ledgers = [
                ledger for ledger in self.pseudo_score(passages, ASKED, seed=0) if len(ledger.bits)
            ]
            return math.fsum(ledger.bits.sum() for ledger in ledgers) / max(
                1, sum(ledger.bytes_charged for ledger in ledgers)
            )

        return evaluate

    def words(self, text: str) -> NDArray[np.int64]:
        return self.bpe.words(text)

    def predict(self, ids: Tensor, attention: Tensor, rows: Tensor) -> Tensor:
        logits: Tensor = self.network.head(self.network.hidden(ids, attention).flatten(0, 1)[rows])
        return logits
