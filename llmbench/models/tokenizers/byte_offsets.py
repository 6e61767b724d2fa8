"""Which bytes of a text each token of a pretrained tokenizer stands for, and whether the tokenizer
lost any.

Byte-level BPE (a byte behind each character of a token), SentencePiece (▁ for a space, <0x0A> for a
byte), WordPiece, whole words, and tokens that are the characters U+0000 to U+00FF, one for each
byte (ByT5). A token's bytes are looked up and joined; where they are the text's, the spans
are exact to the byte, inside split characters too. Where not (lower-casing, normalisation, unknown
pieces), the tokenizer's own offsets give spans that tile, and `Tokens.loss` says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmbench.errors import ModelError
from llmbench.models.tokenizers.tokens import Tokens

Alphabet = Literal["bytes", "sentencepiece", "wordpiece", "words", "suffix", "latin", "plain"]
SPACE = "\u2581"  # ▁, which SentencePiece writes for a space
LITERAL = "the tokenizer writes \u2581 and a space alike"
FIRST_SPACE = (
    "a space at the beginning of the text is lost: the ids are those of the text without it"
)
WORDS_FOR = {
    "bytes": "byte-level BPE",
    "sentencepiece": "SentencePiece",
    "wordpiece": "WordPiece",
    "words": "words",
    "suffix": "BPE",
    "latin": "bytes",
    "plain": "subwords",
}
BY_WORDS = ("wordpiece", "words", "suffix")  # spaces are not in their tokens, but between words
PORTION = 1024  # texts encoded at once
HIDDEN = "\uf8ff\uf8fe{}\uf8fe\uf8ff"  # private characters: what a special token is renamed to
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte: printable Latin-1 for itself, the
    others counted up from U+0100 (GPT-2).
    """
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in set(kept)]
    return {chr(byte): byte for byte in kept} | {
        chr(256 + place): byte for place, byte in enumerate(moved)
    }


class _Pieces(dict[int, bytes]):
    """Bytes by id, spelled when they are first asked for."""

    def __init__(self, spell: Callable[[int], bytes]):
        super().__init__()
        self._spell = spell

    def __missing__(self, id: int) -> bytes:
        found = self[id] = self._spell(id)
        return found


class ByteTokenizer:
    """A `transformers` tokenizer as the text's bytes see it.

    opens: bytes that it adds before a text and that stand for nothing.
    is_target: whether texts are targets of an encoder-decoder, which may have pieces of their own.
    refuses_first_space: whether a text that begins with a space is a loss if its ids are those of
        the text without it; not so for what only follows a prompt.

    A text is characters alone: one that spells a special token ("</s>") never gives its id.
    """

    refuses_first_space = False

    def __init__(self, tokenizer: Any, is_target: bool = False):
        self.tokenizer, self.is_target = tokenizer, is_target
        self.backend = getattr(tokenizer, "backend_tokenizer", None)
        if self.backend is not None:
            self.backend.no_truncation()
            self.backend.no_padding()
        self.special = set(tokenizer.all_special_ids)
        self.special_words = tuple(str(word) for word in tokenizer.all_special_tokens)
        self.added = {int(i) for i in tokenizer.added_tokens_decoder}
        self.alphabet = _alphabet(tokenizer, self.backend)
        self._bytes = (
            byte_alphabet()
            if self.alphabet == "bytes"
            else {chr(byte): byte for byte in range(256)}
            if self.alphabet == "latin"
            else {}
        )
        self._pieces = _Pieces(self._spell)
        letter = self._known_letter()
        first = self._encode(letter)[0] if letter else []
        opens = self.alphabet in ("wordpiece", "words") or (
            bool(first) and self.piece(first[0]).startswith(b" ")
        )
        self.opens = b" " if opens else b""
        self.loses_first_space = opens and self._encode(f" {letter}")[0] == first
        self._by_words = self.alphabet in BY_WORDS or (
            self.alphabet == "plain" and self._joins_by_words("the tap")
        )

    def _known_letter(self) -> str:
        """A letter that the tokenizer knows, "" if it knows none of those tried."""
        for letter in ("a", "A", "1", "\u4e00"):
            ids = self._encode(letter)[0]
            if ids and not self.special & set(ids):
                return letter
        return ""

    def _joins_by_words(self, text: str) -> bool:
        """Whether the tokens of `text` give it only by the tokenizer's own decoder."""
        ids = self._encode(text)[0]
        return self.decode(ids) != text.encode() and self._decode_words(ids) == text

    @property
    def kind(self) -> str:
        """What boards call such a tokenizer."""
        return WORDS_FOR[self.alphabet]

    @property
    def size(self) -> int:
        """Ids that the tokenizer can give: the largest and one."""
        return max(len(self.tokenizer), max(self.added, default=0) + 1)

    def piece(self, id: int) -> bytes:
        """The bytes that an id stands for; a special one for none."""
        return self._pieces[id]

    def _spell(self, id: int) -> bytes:
        token = self.tokenizer.convert_ids_to_tokens(id)
        if token is None or id in self.special:
            return b""
        if id in self.added:
            return str(token).encode()
        if self._bytes:
            known = [self._bytes.get(c) for c in token]
            return (
                bytes(b for b in known if b is not None)
                if None not in known
                else str(token).encode()
            )
        if self.alphabet == "sentencepiece":
            byte = _BYTE.fullmatch(token)
            return bytes([int(byte[1], 16)]) if byte else token.replace(SPACE, " ").encode()
        if self.alphabet in ("wordpiece", "words"):
            goes_on = self.alphabet == "wordpiece" and token.startswith("##")
            return token[2:].encode() if goes_on else f" {token}".encode()
        if self.alphabet == "suffix":
            return str(token).replace("</w>", " ").encode()
        return str(token).encode()

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of tokens inside a text; in front of a first word stands what `opens` says."""
        return b"".join(map(self._pieces.__getitem__, ids))

    def decode_text(self, ids: Sequence[int]) -> bytes:
        """The bytes of a whole text. Where spaces are between tokens, its own decoder sets them."""
        if self._by_words:
            return self._decode_words(ids).encode()
        return self.decode(ids).removeprefix(self.opens)

    def _decode_words(self, ids: Sequence[int]) -> str:
        return str(
            self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def encode(self, text: str) -> Tokens:
        """Ids and spans of `text`, without special tokens. `loss` is "" where every byte comes
        back, else what is wrong.
        """
        ids, offsets, _ = self._encode(text)
        tokens = self._exact(text, ids)
        return (
            _tokens(ids, _from_offsets(offsets, text, len(ids)), self._loss(ids, text))
            if tokens is None
            else tokens
        )

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        """The same for each of `texts`, in half of the time: side by side, and without the offsets,
        which few need.
        """
        if self.backend is None:
            return [self.encode(text) for text in texts]
        found: list[Tokens] = []
        for at in range(0, len(texts), PORTION):
            part = texts[at : at + PORTION]
            self.backend.encode_special_tokens = True
            encodings = self.backend.encode_batch_fast(part, add_special_tokens=False)
            for text, encoding in zip(part, encodings, strict=True):
                special = self._holds_special_id(text, encoding.ids)
                tokens = None if special else self._exact(text, encoding.ids)
                found.append(self.encode(text) if tokens is None else tokens)
        return found

    def _holds_special_id(self, text: str, ids: Sequence[int]) -> bool:
        """Return whether the text spells a special token, and its id is among `ids`."""
        return not self.special.isdisjoint(ids) and any(word in text for word in self.special_words)

    def _exact(self, text: str, ids: Sequence[int]) -> Tokens | None:
        """Where the ids' bytes are those of `text`."""
        raw, pieces = text.encode(), list(map(self._pieces.__getitem__, ids))
        ends = _exact(pieces, raw)
        if ends is None:
            return None
        if self._by_words:
            loss = self._loss(ids, text)
        elif SPACE in text and b"".join(pieces) not in (raw, b" " + raw):
            loss = LITERAL
        elif self.refuses_first_space and self.loses_first_space and text.startswith(" "):
            loss = FIRST_SPACE
        else:
            loss = ""
        return _tokens(ids, ends, loss)

    def words(self, text: str) -> NDArray[np.int64]:
        """The number of the word that each token is a part of, as the tokenizer cuts words."""
        words = self._encode(text)[2]
        if words is None or None in words:
            raise ModelError(
                "the tokenizer does not say which tokens make a word",
                hint="save a tokenizer.json with the checkpoint",
            )
        return np.asarray(words, dtype=np.int64)

    def _encode(
        self, text: str
    ) -> tuple[list[int], Sequence[tuple[int, int]] | None, list[int | None] | None]:
        if self.backend is not None:
            # a text that says "<s>" means these characters; the tokenizer's own calls set it back
            self.backend.encode_special_tokens = True
            found = self.backend.encode(text, add_special_tokens=False)
            if self._holds_special_id(text, found.ids):
                found = self._text_backend.encode(text, add_special_tokens=False)
            return found.ids, found.offsets, found.word_ids
        given = {"text_target" if self.is_target else "text": text}
        encoded = self.tokenizer(**given, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"]), None, None

    @cached_property
    def _text_backend(self) -> Any:
        """The backend with special tokens that no text can spell.

        A Unigram model finds "</s>" among its pieces even where special tokens are split;
        SentencePiece itself never does (its control symbols match no text).
        """
        assert self.backend is not None
        state = json.loads(self.backend.to_str())
        hidden = {
            word: HIDDEN.format(number) for number, word in enumerate(sorted(self.special_words))
        }
        for token in state["added_tokens"]:
            token["content"] = hidden.get(token["content"], token["content"])
        model = state["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {hidden.get(word, word): id for word, id in model["vocab"].items()}
            model["unk_token"] = hidden.get(model.get("unk_token"), model.get("unk_token"))
        else:
            model["vocab"] = [[hidden.get(word, word), score] for word, score in model["vocab"]]
        state["post_processor"] = None
        backend = type(self.backend).from_str(json.dumps(state))
        backend.encode_special_tokens = True
        return backend

    def _loss(self, ids: Sequence[int], text: str) -> str:
        """Where decode(encode(text)) leaves the text. A WordPiece tokenizer's own decoder knows
        where it sets spaces.
        """
        if text and not ids:
            return "the text has no token"
        back = self._decode_words(ids)
        if back == text:
            return ""
        if back == text.removeprefix(" "):
            return FIRST_SPACE if self.refuses_first_space else ""
        got, want = back.encode(), text.encode()
        at = next(
            (i for i, (x, y) in enumerate(zip(got, want, strict=False)) if x != y),
            min(len(got), len(want)),
        )
        return f"byte {at} of the text does not come back from decode(encode(text))"


def _tokens(ids: Sequence[int], ends: Sequence[int] | NDArray[np.int64], loss: str) -> Tokens:
    end = np.asarray(ends, dtype=np.int64)
    start = np.concatenate(([0], end[:-1])) if len(end) else end
    return Tokens(np.asarray(ids, dtype=np.int64), start, end, np.zeros(len(end)), loss)


def _alphabet(tokenizer: Any, backend: Any) -> Alphabet:
    """How tokens are written, told by the tokenizer's decoder, else by what tokens look like."""
    if backend is not None and backend.decoder is not None:
        state = json.dumps(json.loads(backend.decoder.__getstate__()), ensure_ascii=False)
        for mark, alphabet in (
            ('"ByteLevel"', "bytes"),
            ('"WordPiece"', "wordpiece"),
            ('"Metaspace"', "sentencepiece"),
            (SPACE, "sentencepiece"),
            ("</w>", "suffix"),
        ):
            if mark in state:
                return alphabet  # type: ignore[return-value]  # the tuple's words are Alphabet's
    elif backend is not None and _is_word_level(tokenizer, backend):
        return "words"
    elif backend is None and _is_latin(tokenizer):
        return "latin"
    some = [
        str(token)
        for token in tokenizer.convert_ids_to_tokens(list(range(min(2000, len(tokenizer)))))
        if token is not None
    ]
    for mark, alphabet in (("\u0120", "bytes"), (SPACE, "sentencepiece"), ("##", "wordpiece")):
        if sum(token.startswith(mark) for token in some) > len(some) // 100:
            return alphabet  # type: ignore[return-value]
    return "plain"


def _is_word_level(tokenizer: Any, backend: Any) -> bool:
    """Whether tokens are whole words, and the spaces between them are nobody's."""
    if json.loads(backend.to_str())["model"].get("type") != "WordLevel":
        return False
    word = next((w for w in tokenizer.get_vocab() if len(w) > 1 and w.isalpha()), "")
    ids = backend.encode(f"{word} {word}", add_special_tokens=False).ids if word else []
    return ids == [tokenizer.convert_tokens_to_ids(word)] * 2


def _is_latin(tokenizer: Any) -> bool:
    """Whether each byte is written as the character of its number."""
    return bool(tokenizer.tokenize("\u00e9") == ["\u00c3", "\u00a9"])


def _exact(pieces: Sequence[bytes], raw: bytes) -> list[int] | NDArray[np.int64] | None:
    """End of each piece's bytes in `raw`, where the pieces are the text: as they stand, without the
    space that was put before, or, which is a loss, with a space where the text says ▁. None where
    they are not.
    """
    joined = b"".join(pieces)
    sizes = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
    if joined == raw:
        return np.cumsum(sizes)
    if joined == b" " + raw:
        return np.maximum(np.cumsum(sizes) - 1, 0)
    for first in dict.fromkeys(([pieces[0].removeprefix(b" "), pieces[0]]) if pieces else []):
        ends = _walk([first, *pieces[1:]], raw)
        if ends is not None:
            return ends
    return None


def _walk(pieces: Sequence[bytes], raw: bytes) -> list[int] | None:
    at, ends = 0, []
    for piece in pieces:
        way = next(
            (way for way in (piece, _literal(piece, raw, at)) if raw.startswith(way, at)), None
        )
        if way is None:
            return None
        at += len(way)
        ends.append(at)
    return ends if at == len(raw) else None


def _literal(piece: bytes, raw: bytes, at: int) -> bytes:
    """The piece with each of its spaces written as ▁ where the text does."""
    mark, out = SPACE.encode(), b""
    for byte in piece:
        out += mark if byte == 0x20 and raw.startswith(mark, at + len(out)) else bytes([byte])
    return out


def _from_offsets(offsets: Sequence[tuple[int, int]] | None, text: str, count: int) -> list[int]:
    """Ends of spans that tile the text, from offsets in characters; what no token covers goes to
    the token after it, the rest to the last.
    """
    sizes = np.fromiter((len(c.encode()) for c in text), dtype=np.int64, count=len(text))
    edges = np.concatenate(([0], np.cumsum(sizes)))
    ends, at = [], 0
    for _, end in offsets or [(0, 0)] * count:
        at = max(at, int(edges[end]))
        ends.append(at)
    if ends:
        ends[-1] = int(edges[-1])
    return ends
