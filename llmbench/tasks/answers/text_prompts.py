"""Prompts that are cut from a text, each with what its writer went on with."""

from __future__ import annotations

import random
from dataclasses import dataclass

from llmbench.data.text import Text
from llmbench.errors import UsageError


@dataclass(frozen=True)
class Prompt:
    """A prompt, and the human continuation in its source text; "" if the prompt was given."""

    text: str
    human: str = ""


def cut_prompts(
    text: Text, count: int, prompt_bytes: int, human_bytes: int, seed: int
) -> list[Prompt]:
    """`count` prompts from seeded places of the documents, each from the beginning of a word to
    about `prompt_bytes` bytes on, at the end of one; and the `human_bytes` after it. Documents have
    their turns. Raises UsageError where none is long enough.
    """
    whole = prompt_bytes + human_bytes
    raws = long_documents(text, whole)
    rng, found = random.Random(seed), []
    order = rng.sample(range(len(raws)), len(raws))
    for number in range(count):
        raw = raws[order[number % len(order)]]
        begin = _after_space(raw, rng.randrange(len(raw) - whole - 1), len(raw) - whole)
        end = _before_space(raw, begin, begin + prompt_bytes)
        human = raw[end : end + human_bytes].decode(errors="ignore")
        found.append(Prompt(raw[begin:end].decode(errors="ignore"), human))
    return found


def long_documents(text: Text, size: int) -> list[bytes]:
    """The documents of at least `size` bytes and two more; UsageError if there are none."""
    raws = [document.text.encode() for document in text.documents]
    found = [raw for raw in raws if len(raw) >= size + 2]
    if not found:
        raise UsageError(
            f"no document of the text {text.name!r} has {size:,} bytes",
            hint="smaller `prompt_bytes` and `max_bytes`",
        )
    return found


def _after_space(raw: bytes, at: int, most: int) -> int:
    """The first beginning of a word from `at` on; where there is none up to `most`, the first of a
    character.
    """
    for place in range(at, most):
        if place == 0 or raw[place - 1 : place].isspace():
            return place
    while at < len(raw) and raw[at] & 0xC0 == 0x80:
        at += 1
    return at


def _before_space(raw: bytes, begin: int, end: int) -> int:
    """The last end of a word up to `end`; where there is none after `begin`, the last of a
    character.
    """
    for place in range(end, begin, -1):
        if raw[place : place + 1].isspace() and not raw[place - 1 : place].isspace():
            return place
    while end > begin and raw[end] & 0xC0 == 0x80:
        end -= 1
    return end
