"""Signatures of scores: the parts they are made of, as text and back, and what tells two of them
apart.

A signature is parts joined by `;`: `text=1f7e;protocol=likelihood/1;window=half`. A part without a
key is a metric's own signature, `nrefs:1|version:2.6.0`. A value stands as it is if the text around
it stays readable: it may hold quoted strings (`template='Q: {given};'`), in which a `;` parts
nothing. Any other value is quoted whole, as a JSON string between backticks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

SHOWN = 12  # characters of a part's value: enough of a hash, and all of most others
ABSENT = "none"
KEY = re.compile(r"[^\s;='\"`]+")
BARE = re.compile(
    r"(?: [^;'\"`\x00-\x1f\x7f] | '(?:[^'\\\x00-\x1f]|\\.)*' | \"(?:[^\"\\\x00-\x1f]|\\.)*\" )+",
    re.VERBOSE,
)
TOKEN = re.compile(
    r" '(?:[^'\\]|\\.)*' | \"(?:[^\"\\]|\\.)*\" | `[^`]*` | [^;'\"`]+ | . ", re.VERBOSE | re.DOTALL
)


@dataclass(frozen=True)
class Part:
    """One part of a signature. `key` is "" if `value` is the signature of a metric, whose own parts
    are joined by `|`.
    """

    key: str
    value: str

    def __post_init__(self) -> None:
        if self.key and not KEY.fullmatch(self.key):
            raise ValueError(f"{self.key!r} cannot be the key of a part of a signature")
        if not self.key and not self.value:
            raise ValueError("a part of a signature needs a key or a value")

    def __str__(self) -> str:
        if self.key:
            return f"{self.key}={_quote(self.value)}"
        return f"`{_escape(self.value)}`" if "=" in self.value else _quote(self.value)

    @classmethod
    def parse(cls, piece: str) -> Part:
        """The part that prints as `piece`."""
        key, equals, value = piece.partition("=")
        if equals and KEY.fullmatch(key):
            return cls(key, _unquote(value))
        return cls("", _unquote(piece) or piece)


@dataclass(frozen=True)
class Signature:
    """All that can change a score besides the model, in order. `str` gives its text, `parse` reads
    it back.
    """

    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, **values: object) -> Signature:
        """A part for each keyword, in their order."""
        return cls(tuple(Part(key, str(value)) for key, value in values.items()))

    def extend(self, metric: str = "", **values: object) -> Signature:
        """This one with more parts behind: a part for each keyword, then the metric's own."""
        own = (Part("", metric),) if metric else ()
        return Signature((*self.parts, *Signature.of(**values).parts, *own))

    def __add__(self, other: Signature) -> Signature:
        return Signature((*self.parts, *other.parts))

    def __str__(self) -> str:
        return ";".join(map(str, self.parts))

    @classmethod
    def parse(cls, text: str) -> Signature:
        """The signature with this text. Also reads text that was not quoted, of older records."""
        return _parse(text)

    def values(self) -> dict[str, str]:
        """The values by key, in order, with those of a metric's own signature; what has no key at
        all is called `metric`. Values of a key that comes again are joined by `;`.
        """
        found: dict[str, list[str]] = {}
        for part in self.parts:
            pairs = [(part.key, part.value)] if part.key else _of_metric(part.value)
            for key, value in pairs:
                found.setdefault(key, []).append(value)
        return {key: ";".join(values) for key, values in found.items()}


@lru_cache(maxsize=256)
def _parse(text: str) -> Signature:
    return Signature(tuple(Part.parse(piece) for piece in _split(text) if piece))


def _split(text: str) -> list[str]:
    """The pieces between `;` outside of quotes; between all `;` if a quote is left open."""
    if not any(mark in text for mark in "'\"`"):
        return text.split(";")
    pieces, begin = [], 0
    for match in TOKEN.finditer(text):
        if match[0] in ("'", '"', "`"):
            return text.split(";")
        if match[0] == ";":
            pieces.append(text[begin : match.start()])
            begin = match.end()
    return [*pieces, text[begin:]]


def _of_metric(signature: str) -> list[tuple[str, str]]:
    pairs = (piece.partition(":") for piece in signature.split("|"))
    return [(key, value) if colon else ("metric", key) for key, colon, value in pairs]


def _quote(value: str) -> str:
    return value if not value or BARE.fullmatch(value) else f"`{_escape(value)}`"


def _escape(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1].replace("`", "\\u0060")


def _unquote(value: str) -> str:
    """What was quoted whole; anything else as it is."""
    if len(value) < 2 or not value.startswith("`") or not value.endswith("`"):
        return value
    try:
        return str(json.loads(f'"{value[1:-1]}"'))
    except ValueError:
        return value


def find_differences(signatures: Iterable[str]) -> list[str]:
    """The keys of the parts that are not the same in all, in the order in which they appear."""
    known = [Signature.parse(signature).values() for signature in dict.fromkeys(signatures)]
    keys = dict.fromkeys(key for found in known for key in found)
    return [key for key in keys if len({found.get(key, ABSENT) for found in known}) > 1]


def difference(one: str, other: str) -> str:
    """Which parts of two signatures differ, and how, in full."""
    a, b = Signature.parse(one).values(), Signature.parse(other).values()
    said = [
        f"{key} ({a.get(key, ABSENT)} against {b.get(key, ABSENT)})"
        for key in find_differences([one, other])
    ]
    return ", ".join(said) or "the order of their parts"


def short_value(signature: str, key: str) -> str:
    """A part's value, cut for readers; ABSENT if there is none."""
    whole = Signature.parse(signature).values().get(key, ABSENT)
    return whole if len(whole) <= SHOWN else f"{whole[: SHOWN - 4]}…"
