"""Parts of sentences: texts cut to a length, names joined."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 2000  # characters of a sentence


def cut(text: str, most: int) -> str:
    """Return the text, shortened to `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cut_start(text: str, most: int) -> str:
    """Return the text, or its last `most` characters: of a prompt, what is answered."""
    return text if len(text) <= most else f"…{text[1 - most :]}"


def join_words(words: Sequence[str]) -> str:
    """Return the words as a list in a sentence: a, b and c."""
    short = [cut(word, LONGEST) for word in words]
    return short[0] if len(short) == 1 else f"{', '.join(short[:-1])} and {short[-1]}"
