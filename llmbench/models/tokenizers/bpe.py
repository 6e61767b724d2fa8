"""Byte-level BPE (Sennrich et al. 2016; over bytes: Radford et al. 2019) for networks trained here:
learnt on a text, lossless on any, in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from llmbench.models.tokenizers.byte_offsets import byte_alphabet
from llmbench.models.tokenizers.tokens import Tokens


class Bpe:
    """Ids 0 .. symbols-1, each of which stands for one or more bytes; any text is made of them."""

    def __init__(self, text: str):
        from tokenizers import Tokenizer

        self._text, self._tokenizer = text, Tokenizer.from_str(text)
        back = byte_alphabet()
        self._bytes = [
            bytes(back[c] for c in self._tokenizer.id_to_token(i) or "")
            for i in range(self._tokenizer.get_vocab_size())
        ]
        self._sizes = np.array([len(piece) for piece in self._bytes], dtype=np.int64)

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Bpe:
        """At most `size` ids, the 256 bytes among them."""
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=[], initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer.to_str())

    @property
    def symbols(self) -> int:
        return len(self._bytes)

    def encode(self, text: str) -> Tokens:
        """Ids and spans; the spans tile the text."""
        ids = np.array(self._tokenizer.encode(text).ids, dtype=np.int64)
        end = np.cumsum(self._sizes[ids]) if len(ids) else ids
        return Tokens(
            ids, end - self._sizes[ids] if len(ids) else ids, end, np.zeros(len(ids)), loss=""
        )

    def words(self, text: str) -> NDArray[np.int64]:
        """For each id of `encode(text)` the number of the word that it is a part of."""
        return np.array(
            [0 if word is None else word for word in self._tokenizer.encode(text).word_ids],
            dtype=np.int64,
        )

    def decode(self, ids: Sequence[int]) -> bytes:
        """Bytes; ids beyond the vocabulary, as start and end symbols have, stand for none."""
        return b"".join(self._bytes[i] for i in ids if i < len(self._bytes))

    def to_json(self) -> str:
        return self._text
