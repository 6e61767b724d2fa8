"""When requests are due, and what they ask."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from llmbench.data.text import Text
from llmbench.inference.serving.load import Level

HEAD = 8  # characters that begin a prompt, different in each


def draw_due(level: Level, count: int, seed: int) -> list[float] | None:
    """Seconds from the beginning at which `count` requests are due; None in a closed loop.

    Poisson: exponential intervals with the mean 1 / rate, drawn by the seed.
    """
    if not level.is_open:
        return None
    if level.arrivals == "constant":
        return [number / level.amount for number in range(count)]
    rng, due, at = random.Random(f"{seed} {level.key}"), [], 0.0
    for _ in range(count):
        due.append(at)
        at += rng.expovariate(level.amount)
    return due


def cut_prompts(text: Text, size: int, count: int, seed: int, nonce: str) -> list[str]:
    """Return `count` prompts of about `size` bytes that share no beginning.

    Each starts with characters of its own, which depend on `nonce`, too: a server that has answered
    an earlier run has nothing of it in its prefix cache. The rest is cut from the text at a place
    that the seed draws, over the ends of documents.
    """
    raw = "\n\n".join(document.text for document in text.documents).encode()
    rng, found, heads = random.Random(f"{seed} prompts"), [], set[str]()
    for number in range(count):
        head = _draw_head(nonce, number, heads)
        at = rng.randrange(len(raw))
        rest = max(0, size - HEAD - 2)
        piece = (raw[at:] + b"\n\n" + raw)[:rest] if len(raw) - at < rest else raw[at : at + rest]
        found.append(f"{head}: {piece.decode(errors='ignore')}")
    return found


def _draw_head(nonce: str, number: int, heads: set[str]) -> str:
    """A beginning that no earlier prompt has."""
    trial = 0
    while True:
        head = hashlib.sha256(f"{nonce} {number} {trial}".encode()).hexdigest()[:HEAD]
        if head not in heads:
            heads.add(head)
            return head
        trial += 1


def find_interval(due: Sequence[float]) -> float:
    """The median time between two requests, in seconds; 0 of fewer than two."""
    gaps = sorted(b - a for a, b in zip(due, due[1:], strict=False))
    return gaps[len(gaps) // 2] if gaps else 0.0
