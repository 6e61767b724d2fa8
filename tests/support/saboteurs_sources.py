"""Adapters that read a source and are wrong in one way each about how either side is encoded."""

from __future__ import annotations

import math

import torch
from torch import nn

from llmbench.adapter import ModelInfo
from llmbench.adapters.encoder_decoder import EncoderDecoderAdapter
from llmbench.models.tokenizers.tokens import Tokens
from support.zoo import caught_by

START, END, PAD, SYMBOLS = 256, 257, 258, 259


class Reader(EncoderDecoderAdapter):
    """Honest: bytes on both sides; the last byte and the whole source decide what follows."""

    bos_ids, eos_ids, pad = (START,), (END,), PAD

    def __init__(self):
        torch.manual_seed(0)
        self.last = nn.Embedding(SYMBOLS, SYMBOLS).requires_grad_(False)
        self.source = nn.Embedding(SYMBOLS, SYMBOLS).requires_grad_(False)

    @property
    def info(self):
        return ModelInfo("reader", "reader", "bytes", None, None, "float32", "cpu", "reader")

    def encode(self, text):
        raw = text.encode()
        return Tokens.of(list(raw), [bytes([byte]) for byte in raw])

    def decode(self, ids):
        return bytes(i for i in ids if i < 256)

    def encode_source(self, text):
        return [*text.encode(), END]

    def pair_logits(self, source, attention, target):
        read = (self.source(source) * attention[..., None]).sum(1) / attention.sum(1)[:, None]
        return 2.0 * self.last(target) + read[:, None]

    def reference_bits(self, source, target):
        ids = [*target.encode(), END]
        given = torch.tensor([[*source.encode(), END]])
        logits = self.pair_logits(given, torch.ones_like(given), torch.tensor([[START, *ids[:-1]]]))
        nats = nn.functional.cross_entropy(logits[0].double(), torch.tensor(ids), reduction="sum")
        return float(nats) / math.log(2)


@caught_by("target-encoding", "own-loss")
class ReadsTheTargetAsASource(Reader):
    """targets are encoded by another table than the one that decodes them"""

    def encode(self, text):
        raw = text.encode()
        return Tokens.of([byte ^ 1 for byte in raw], [bytes([byte]) for byte in raw])


@caught_by("own-loss")
class StartsInTheSourcesLanguage(Reader):
    """the decoder is given another symbol to begin with than it was trained with"""

    bos_ids = (PAD,)


@caught_by("source-text")
class EndsAtAMark(Reader):
    """a source that spells the end symbol ends there"""

    def encode_source(self, text):
        parts = text.split("</s>")
        ids = [byte for part in parts for byte in (END, *part.encode())][1:]
        return [*ids, END]
