"""Every error llmbench raises on purpose.

LlmbenchError            what, where, hint: printed as one line +-- UsageError           wrong
command line, suite, card, text or model file: exit code 2, nothing ran +-- CellError            one
model on one task cannot be done: a row in the board's failures
    +-- Unavailable      weights or data are not on this machine and can't be fetched +--
    Unsupported      the model cannot do what is asked (a missing capability, a lossy tokenizer) +--
    ModelError       the model did something wrong: logits of a wrong shape, NaN, a raised exception
    +-- OutOfMemory      the machine refused the memory
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LlmbenchError(Exception):
    """`what` went wrong, `where` (file:line:column, a name), and what to do next (`hint`)."""

    def __init__(self, what: str, *, where: str = "", hint: str = ""):
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        whole = f"{text} ({self.hint})" if self.hint else text
        return " ".join(
            "".join(c if c.isprintable() else " " for c in whole).split()
        )  # it may quote a file: nothing speaks to the terminal


class UsageError(LlmbenchError):
    """What the user wrote cannot be run."""


class CellError(LlmbenchError):
    """A cell that cannot be filled; `reason` is the word that the record's failure row carries."""

    reason = "error"


class Unavailable(CellError):
    reason = "unavailable"


class Unsupported(CellError):
    reason = "unsupported"


class ModelError(CellError):
    reason = "error"


class OutOfMemory(CellError):
    reason = "out_of_memory"


NO_MEMORY = (
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't start new thread",
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or torch, on whichever device, could not allocate. Told by name, so that torch
    need not be imported.
    """
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or any(words in str(error) for words in NO_MEMORY)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint: the nearest known word, or all of them where there are few, or nothing."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names and len(names) <= 30 else ""
