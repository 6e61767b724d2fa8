"""Signatures of scores: the parts they are made of, and what tells two of them apart."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN = 12  # characters of a part's value: enough of a hash, and all of most others
ABSENT = "none"


def parts(signature: str) -> dict[str, str]:
    """The parts by their keys, in their order: `text=1f7e;protocol=likelihood/1` -> {"text": "1f7e", "protocol": "likelihood/1"}. What has no
    key, such as a metric's own signature, is the part `metric`.
    """
    found: dict[str, str] = {}
    for piece in signature.split(";"):
        key, equals, value = piece.partition("=")
        if not equals:
            key, value = "metric", piece
        found[key] = f"{found[key]};{value}" if key in found else value
    return found


def differing(signatures: Iterable[str]) -> list[str]:
    """The keys of the parts that are not the same in all, in the order in which they appear."""
    known = [parts(signature) for signature in dict.fromkeys(signatures)]
    keys = dict.fromkeys(key for found in known for key in found)
    return [key for key in keys if len({found.get(key, ABSENT) for found in known}) > 1]


def value(signature: str, key: str) -> str:
    """A part's value, cut for readers."""
    whole = parts(signature).get(key, ABSENT)
    return whole if len(whole) <= SHOWN else f"{whole[: SHOWN - 4]}…"
