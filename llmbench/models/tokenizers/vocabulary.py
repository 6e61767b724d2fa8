"""Closed vocabularies: lossless splitters, and the map between pieces of text and ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

import numpy as np

from llmbench.models.tokenizers.spelling import Speller, escape_probability, spelling_examples
from llmbench.models.tokenizers.tokens import Tokens

Splitter = Literal["characters", "words"]

# A word takes the space before it along; so do numbers (digit by digit) and punctuation. Everything
# else is a piece of its own.
_WORDS = re.compile(r" ?[^\W\d_]+(?:'[^\W\d_]+)?| ?\d| ?[^\w\s]|\s|_", re.DOTALL)


def split(text: str, splitter: Splitter) -> list[str]:
    """Pieces that give the text when joined."""
    return list(text) if splitter == "characters" else _WORDS.findall(text)


class VocabularyFacts(TypedDict):
    """What a vocabulary is made from again. `unknown`: whether it has an id for such pieces."""

    splitter: Splitter
    pieces: list[str]
    examples: list[str]
    unknown: bool
    escape: float


class Vocabulary:
    """The pieces a model knows, in the order of their ids; with `unknown`, one id more for all
    other pieces.

    Without it (`escape` > 0), unknown pieces are announced by an escape of that probability, and
    known pieces are multiplied by 1 - escape.
    """

    def __init__(
        self,
        splitter: Splitter,
        pieces: Sequence[str],
        examples: Sequence[str],
        unknown: bool,
        escape: float,
    ):
        self.splitter, self.pieces, self.examples = splitter, list(pieces), list(examples)
        self.unknown = len(self.pieces) if unknown else None
        self.escape = 0.0 if unknown else escape
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        self._bytes = [piece.encode() for piece in self.pieces]
        self._sizes = np.array(
            [*map(len, self._bytes), 0, 0], dtype=np.int64
        )  # the unknown id and the start symbol stand for none
        self._speller: Speller | None = None

    @classmethod
    def learn(cls, texts: Iterable[str], splitter: Splitter, size: int | None = None) -> Vocabulary:
        """The `size` most frequent pieces (ties in code point order), the rest unknown; without
        `size` every piece seen, and an escape.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(split(text, splitter))
        ranked = sorted(counts, key=lambda piece: (-counts[piece], piece))
        known = sorted(ranked) if size is None else ranked[:size]
        unknown = size is not None and len(ranked) > size
        examples = spelling_examples(
            {p.encode(): n for p, n in counts.items()}, [p.encode() for p in known]
        )
        return cls(
            splitter,
            known,
            [example.decode() for example in examples],
            unknown,
            escape_probability(counts),
        )

    @property
    def symbols(self) -> int:
        """How many ids a model over this vocabulary predicts, the unknown one included."""
        return len(self.pieces) + (self.unknown is not None)

    @property
    def bos_id(self) -> int:
        """The start symbol: an id that is given, never predicted; without an unknown id it also
        stands for unknown pieces in the context.
        """
        return self.symbols

    @property
    def speller(self) -> Speller:
        if self._speller is None:
            self._speller = Speller([example.encode() for example in self.examples], self._bytes)
        return self._speller

    def encode(self, text: str) -> Tokens:
        """Ids of the pieces; an unknown piece has the unknown id (or the start symbol) and its
        spelling bits.
        """
        pieces = split(text, self.splitter)
        stand_in = self.bos_id if self.unknown is None else self.unknown
        get = self._ids.get
        ids = np.fromiter(
            (get(piece, stand_in) for piece in pieces), dtype=np.int64, count=len(pieces)
        )
        sizes, spelling = self._sizes[ids], np.zeros(len(ids))
        for i in np.flatnonzero(ids == stand_in):
            raw = pieces[i].encode()
            sizes[i], spelling[i] = len(raw), self.speller.bits(raw)
        end = np.cumsum(sizes)
        return Tokens(ids, end - sizes, end, spelling)

    def decode(self, ids: Iterable[int]) -> bytes:
        """Bytes of known ids; the unknown id and the start symbol stand for no bytes."""
        known = len(self._bytes)
        return b"".join([self._bytes[i] for i in ids if i < known])

    def to_json(self) -> VocabularyFacts:
        """Return what `from_json` makes it from again."""
        return {
            "splitter": self.splitter,
            "pieces": self.pieces,
            "examples": self.examples,
            "unknown": self.unknown is not None,
            "escape": self.escape,
        }

    @classmethod
    def from_json(cls, data: VocabularyFacts) -> Vocabulary:
        return cls(
            data["splitter"], data["pieces"], data["examples"], data["unknown"], data["escape"]
        )
