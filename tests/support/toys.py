"""Small models whose every number can be known by other means."""

from __future__ import annotations

import dataclasses
import itertools
import math
import string

import numpy as np
import torch
from torch import Tensor

from llmbench.adapters.network import NetworkAdapter
from llmbench.adapters.token import TokenAdapter, Tokens
from llmbench.models.networks.char_ffn import CharFFN
from llmbench.models.networks.network import Network
from llmbench.models.networks.recurrent import LSTM, RNN
from llmbench.models.networks.transformer_decoder import TransformerDecoder
from llmbench.models.networks.word_ffn import WordFFN
from llmbench.models.tokenizers.vocabulary import Vocabulary
from support.windowed_transformer import WindowedTransformer

ALPHABET = string.ascii_letters + string.digits + " .,'\"!?\n-;:"
TEXT = (
    "The kettle said nothing. It had said nothing since Tuesday, which was the day the new tap"
    " came.\n\n\"You might at least hum,\" said the tap. 'No,' said the kettle; 'I am waiting for 7"
    " o'clock.'\n" * 6
)


class ByteModel(TokenAdapter):
    """Bytes; subclasses say how logits come about."""

    bos_ids = (256,)

    def encode(self, text: str) -> Tokens:
        data = text.encode()
        return Tokens.of(list(data), [bytes([b]) for b in data])

    def decode(self, ids):
        return bytes(i for i in ids if i < 256)


class Uniform(ByteModel):
    """Exactly 8 bits a byte, but for rounding."""

    def __init__(self, context: int | None = None):
        self.context = context

    def logits(self, ids: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, 256)


class OrderK(ByteModel):
    """Logits are a fixed random function of the last `order` ids and of nothing else: position,
    window and batch cannot matter.
    """

    def __init__(self, order: int, context: int | None):
        self.order, self.context = order, context

    def logits(self, ids: Tensor) -> Tensor:
        padded = torch.cat([torch.full((ids.shape[0], self.order - 1), 256), ids], dim=1)
        key = torch.zeros_like(ids)
        for back in range(self.order):
            key = (
                key * 257 + padded[:, self.order - 1 - back : padded.shape[1] - back]
            ) % 1_000_003
        return 3.0 * torch.sin(
            key[..., None] * 0.37
            + torch.arange(256) * 1.7
            + 0.01 * (key[..., None] % 89) * torch.arange(256)
        )


NETWORKS: dict[str, type[Network]] = {
    "char-ffn": CharFFN,
    "word-ffn": WordFFN,
    "rnn": RNN,
    "lstm": LSTM,
    "transformer-decoder": TransformerDecoder,
    "windowed": WindowedTransformer,
}
SMALL = {
    "char-ffn": {"reach": 5, "embedding": 8, "width": 32},
    "word-ffn": {"reach": 3, "embedding": 16, "width": 32},
    "rnn": {"embedding": 8, "width": 32},
    "lstm": {"embedding": 8, "width": 32},
    "transformer-decoder": {"window": 8, "width": 32, "heads": 2, "layers": 2, "taps": 2},
    "windowed": {"context": 16, "width": 32, "layers": 2},
}


def network(name: str, text: str = TEXT + ALPHABET, seed: int = 0) -> NetworkAdapter:
    """An untrained network of each kind, with weights large enough for its predictions to differ,
    over a vocabulary of `text`.
    """
    words = name == "word-ffn"
    vocabulary = Vocabulary.learn([text], "words" if words else "characters", 20 if words else None)
    torch.manual_seed(seed)
    net = NETWORKS[name](vocabulary.symbols, **SMALL[name])
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5 * 1.5)
    return NetworkAdapter(net, vocabulary)


def reference_bits(model: TokenAdapter, text: str, stride: int | None) -> np.ndarray:
    """The bits of each token, by the rule and without the machinery: one forward pass a token, its
    context cut by hand.
    """
    ids = [*model.bos_ids, *model.encode(text).ids.tolist()]
    first, bits = len(model.bos_ids), []
    context = model.context or len(ids)
    for t in range(first, len(ids)):
        if stride is None or t <= context:
            begin = 0
        else:
            # windows after the first end at context + stride, context + 2 stride, ..., the last one
            # at the end
            end = min(context + math.ceil((t - context) / stride) * stride, len(ids) - 1)
            begin = max(0, end - context)
        seen = torch.tensor([ids[begin:t]])
        with torch.inference_mode():
            bits.append(
                -torch.log_softmax(model.logits(seen)[0, -1].double(), 0)[ids[t]].item()
                / math.log(2)
            )
    return np.array(bits)


def every_string(alphabet: str, length: int):
    return map("".join, itertools.product(alphabet, repeat=length))


class Pieces(Uniform):
    """Pieces of three bytes. Those that begin with `?` are unknown, and half a bit to spell."""

    eos_ids = (9,)

    def encode(self, text):
        data = text.encode()
        pieces = [data[at : at + 3] for at in range(0, len(data), 3)]
        spelling = [0.5 if piece.startswith(b"?") else 0.0 for piece in pieces]
        made = Tokens.of(range(len(pieces)), pieces, spelling)
        return dataclasses.replace(made, loss="")
