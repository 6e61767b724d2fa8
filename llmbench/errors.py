"""Every error llmbench raises on purpose.

LlmbenchError: what, where and a hint, printed as one line.

- UsageError: wrong command line, suite, card, text or model file; exit code 2, nothing ran.
- CellError: one model cannot do one task; a row in the board's failures.
    - Unavailable: weights or data are not on this machine and cannot be fetched.
    - Unsupported: the model lacks a capability, or its tokenizer is lossy.
    - ModelError: the model misbehaved: logits of a wrong shape, NaN, an exception.
    - OutOfMemory: an allocation failed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import GeneratorType
from typing import ClassVar, Literal, NoReturn, TypeVar

from llmbench.limits import CLOSES, MESSAGE_CHARACTERS, NAME_CHARACTERS

Piece = TypeVar("Piece")

Reason = Literal["unavailable", "unsupported", "error", "crashed", "timeout", "out_of_memory"]


class LlmbenchError(Exception):
    """`what` went wrong, `where` (file:line:column, a name), and what to do next (`hint`)."""

    def __init__(self, what: str, *, where: str = "", hint: str = ""):
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        whole = f"{text} ({self.hint})" if self.hint else text
        line = " ".join(
            # it may quote a file: no control character reaches the terminal
            "".join(c if c.isprintable() else " " for c in whole).split()
        )
        half = MESSAGE_CHARACTERS // 2
        return line if len(line) <= MESSAGE_CHARACTERS else f"{line[:half]} … {line[-half:]}"


# of an absolute path, its folders: from / or ~ or a drive on, and no part of an address
_FOLDER = r"[^\s/\\'\"`:;,()<>|]+"
_FOLDERS = re.compile(
    r"(?<![\w./\\:~%-])(?:file://)?"
    rf"(?:(~[\w.-]*|[A-Za-z]:)[/\\](?:{_FOLDER}[/\\])*|/(?P<first>{_FOLDER})/(?:{_FOLDER}/)*)(?=[\w.])"
)


def drop_folders(text: str) -> str:
    """Cut each absolute path of this machine in a text down to the name of its file: for records,
    which people publish. Other words with slashes stay, as `/v1/completions`.
    """
    for find in (Path.home, Path.cwd):  # their names may have spaces
        with suppress(OSError, RuntimeError):
            if len(folder := str(find())) > 1:
                text = text.replace(folder + os.sep, "~/")
    return _FOLDERS.sub(_drop_if_here, text)


def _drop_if_here(found: re.Match[str]) -> str:
    first = found["first"]
    return "" if first is None or Path("/", first).is_dir() else found[0]


class UsageError(LlmbenchError):
    """What the user wrote cannot be run."""


def check_utf8(text: str, what: str, where: str = "") -> None:
    """Raise UsageError if a string is not text: it holds half a surrogate pair, or a byte of a
    command line that is not UTF-8 (which Python shows as one).
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        is_byte = 0xDC80 <= code <= 0xDCFF
        broken = f"byte 0x{code - 0xDC00:02x}" if is_byte else f"U+{code:04X}, half a pair,"
        raise UsageError(
            f"{what} is not UTF-8: {broken} at character {error.start + 1}", where=where
        ) from None


class CellError(LlmbenchError):
    """One model cannot do one task; `reason` goes into the record's failure row."""

    reason: ClassVar[Reason] = "error"


class Unavailable(CellError):
    reason = "unavailable"


class Unsupported(CellError):
    reason = "unsupported"


# what an adapter's methods say that its class does not override
SKILLS = ("score text", "fill gaps", "generate text", "give a next-symbol distribution")
REMOTE = "the model runs behind a server: the time and the memory of this process are not its own"


def is_inapplicable(reason: Reason, message: str) -> bool:
    """Return whether a failure says that a task does not apply to a kind of model at all: nothing
    is wrong with it, and nothing can be done about it.
    """
    return reason == "unsupported" and message.endswith(
        (REMOTE, *(f" does not {skill}" for skill in SKILLS))
    )


class ModelError(CellError):
    reason = "error"


class OutOfMemory(CellError):
    reason = "out_of_memory"


class Exit(SystemExit):
    """A model's code called os._exit, which was held up."""


@contextmanager
def hold_exits() -> Iterator[None]:
    """Make os._exit raise Exit in this process, so that no model's code ends it in silence.

    Processes that it forks may end so. What ends the process without Python, as C code can, is not
    held up.
    """
    before, owner = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != owner:
            before(status)
        raise Exit(f"os._exit({status!r})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = before


def describe_exit(error: BaseException) -> str:
    """Return what a model's code did to end the program; "" if it did not."""
    if not isinstance(error, SystemExit):
        return ""
    call = str(error) if isinstance(error, Exit) else f"sys.exit({error.code!r})"
    return f"the model's code called {call}; only llmbench ends the program"


@contextmanager
def close_early(pieces: Iterator[Piece]) -> Iterator[Iterator[Piece]]:
    """Close a model's generator at the end of a block, whatever the generator does about it.

    One that yields in a `finally` refuses to be closed. Python would print a traceback as it
    collects it.
    """
    try:
        yield pieces
    finally:
        for _ in range(CLOSES):
            try:
                if isinstance(pieces, GeneratorType):
                    pieces.close()
                break
            except RuntimeError:  # it has yielded again, or is at an end
                continue
            except Exception:
                break


NO_MEMORY = (
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't start new thread",
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python or torch failed to allocate memory, on any device.

    Looks at names and messages only, so torch need not be imported.
    """
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or any(words in str(error) for words in NO_MEMORY)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest known word, else all of them (at most 30), else nothing."""
    names = sorted(known)
    if len(word) > NAME_CHARACTERS:
        return ""  # like none of them; and the search takes the square of its length
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names and len(names) <= 30 else ""
