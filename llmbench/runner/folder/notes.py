"""What a worker tells people besides its results."""

from __future__ import annotations

from typing import Literal, TypedDict


class NoteEvent(TypedDict):
    """What a person should know, of something that is no failure."""

    event: Literal["note"]
    text: str
