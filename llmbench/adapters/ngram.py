"""The floor that learns: a byte n-gram, counted on the training text in a second."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Adapter, BuildContext, ModelInfo, Passage, Window
from llmbench.adapters.token import TokenAdapter
from llmbench.ledger import PIECE, TOKEN, ByteLedger, Ledger
from llmbench.models.tokenizers.tokens import Tokens
from llmbench.models.tokenizers.witten_bell import WittenBell


def _bytes(text: str) -> NDArray[np.int64]:
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)


class ByteNgram(TokenAdapter):
    """Interpolated Witten-Bell over bytes, with `order` bytes of history, counted on the training
    text.
    """

    needs_torch, learns_from_text = False, True
    family, tokenizer, bos_ids = "n-gram", "bytes", (256,)

    def __init__(self, documents: Sequence[str], order: int):
        self.order = order
        self.model = WittenBell([_bytes(document) for document in documents], order, 256)

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Adapter:
        text = build_context.require_text("train")
        return cls([document.whole for document in text.documents], **arguments)

    @property
    def info(self) -> ModelInfo:
        digest = hashlib.sha256(
            f"{__name__} {self.order}".encode() + self.model.digest()
        ).hexdigest()
        return ModelInfo(
            "byte-ngram",
            self.family,
            self.tokenizer,
            self.model.size,
            self.order,
            "float64",
            "cpu",
            digest,
        )

    def encode(self, text: str) -> Tokens:
        ids = _bytes(text)
        at = np.arange(len(ids), dtype=np.int64)
        return Tokens(ids, at, at + 1, np.zeros(len(ids)))

    def decode(self, ids: Sequence[int]) -> bytes:
        return bytes(i for i in ids if i < 256)

    def logits(self, ids: Tensor) -> Tensor:
        """log p, in float64. Each row is asked for all 256 bytes: for generation; scoring asks for
        one.
        """
        line = ids.cpu().numpy()
        rows, length = line.shape
        padded = np.concatenate([np.zeros((rows, self.order), dtype=np.int64), line], axis=1)
        histories = np.lib.stride_tricks.sliding_window_view(padded, self.order, axis=1)[
            :, 1:
        ]  # (B, T, order)
        since_start = np.zeros_like(line)
        for t in range(length):  # bytes known at t: none right after a start symbol
            since_start[:, t] = np.where(
                line[:, t] == 256, 0, (since_start[:, t - 1] if t else 0) + 1
            )
        known = np.minimum(since_start, self.order)
        flat = np.where(histories == 256, 0, histories).reshape(-1, self.order)
        p = self.model.distributions(flat, known.reshape(-1))
        return torch.from_numpy(np.log(p).reshape(rows, length, 256))

    def prefill(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        kept = ids[:, -self.order :]
        return kept, self.logits(kept)[:, -1]

    def step(self, state: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.prefill(torch.cat([state, ids[:, None]], dim=1))

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        for passage in passages:
            given = len(passage.context.encode())
            text = passage.context + passage.text
            whole = text if text.isascii() else text.encode()  # no copy of a long one
            n = len(whole) - given
            if n > PIECE:
                yield ByteLedger(partial(self._bits_of, whole, given), n, passage.id)
                continue
            at = np.arange(n, dtype=np.int64)
            kind = np.full(n, TOKEN, dtype=np.uint8)
            yield Ledger(at, at + 1, self._bits_of(whole, given, 0, n), kind, n, passage.id)

    def _bits_of(
        self, whole: str | bytes, given: int, first: int, last: int
    ) -> NDArray[np.float64]:
        """Bits of the bytes first .. last-1 after the context; `whole`: both, as ASCII or UTF-8."""
        a = given + first
        begin = max(0, a - self.order)  # what stands further back changes nothing
        piece = whole[begin : given + last]
        symbols = np.frombuffer(piece.encode() if isinstance(piece, str) else piece, dtype=np.uint8)
        p = self.model.probabilities(symbols.astype(np.int64))
        return -np.log2(p[a - begin :])
