"""Signatures of scores: the parts they are made of, and what tells two of them apart."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN = 12  # characters of a part's value: enough of a hash, and all of most others
ABSENT = "none"


def parts(signature: str) -> dict[str, str]:
    """The parts by their keys, in their order: `text=1f7e;protocol=likelihood/1` -> {"text":
    "1f7e", "protocol": "likelihood/1"}. A metric's own signature, `nrefs:1|version:2.6.0`, gives
    its parts too; what has no key is the part `metric`.
    """
    found: dict[str, str] = {}
    for piece in signature.split(";"):
        name, equals, rest = piece.partition("=")
        for key, value in [(name, rest)] if equals else map(_of_a_metric, piece.split("|")):
            found[key] = f"{found[key]};{value}" if key in found else value
    return found


def _of_a_metric(piece: str) -> tuple[str, str]:
    key, colon, value = piece.partition(":")
    return (key, value) if colon else ("metric", piece)


def differing(signatures: Iterable[str]) -> list[str]:
    """The keys of the parts that are not the same in all, in the order in which they appear."""
    known = [parts(signature) for signature in dict.fromkeys(signatures)]
    keys = dict.fromkeys(key for found in known for key in found)
    return [key for key in keys if len({found.get(key, ABSENT) for found in known}) > 1]


def difference(one: str, other: str) -> str:
    """Which parts of two signatures differ, and how, in full."""
    a, b = parts(one), parts(other)
    said = [
        f"{key} ({a.get(key, ABSENT)} against {b.get(key, ABSENT)})"
        for key in differing([one, other])
    ]
    return ", ".join(said) or "the order of their parts"


def value(signature: str, key: str) -> str:
    """A part's value, cut for readers."""
    whole = parts(signature).get(key, ABSENT)
    return whole if len(whole) <= SHOWN else f"{whole[: SHOWN - 4]}…"
