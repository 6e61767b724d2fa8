"""What a model answers, as it passes from the adapter to a task: kept while a shard is asked, and
given again when the task puts the whole together.

A task asks through `ask_bits`, `ask_texts` and `ask_flags`. Unless somebody listens, they ask the
adapter and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import astuple
from typing import Any, Literal, Protocol, TypeVar

from llmbench.adapter import Adapter, Passage, Request, Window
from llmbench.errors import close_early
from llmbench.ledger import Ledger

Kind = Literal["bits", "texts", "flags"]
Answer = TypeVar("Answer")
Ask = Callable[[Sequence[Any]], Iterable[Answer]]


class Listener(Protocol):
    """What stands between a task and its adapter."""

    def answer(
        self, kind: Kind, asked: Sequence[Any], how: str, ask: Ask[Answer]
    ) -> Iterator[Answer]:
        """Yield the answers to what is `asked`, in order; `ask` has the adapter give them.

        how: all that an answer depends on, besides what is asked.
        """


_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Put a listener between the tasks of this block and their adapters."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def ask_bits(
    adapter: Adapter, passages: Sequence[Passage], window: Window = Window()
) -> Iterator[Ledger]:
    """Yield what `adapter.score` yields."""
    listener = _LISTENER.get()
    if listener is None:
        return adapter.score(passages, window)
    return listener.answer("bits", passages, str(window), lambda some: adapter.score(some, window))


def ask_pseudo_bits(adapter: Adapter, passages: Sequence[Passage]) -> Iterator[Ledger]:
    """Yield what `adapter.pseudo_score` yields for all tokens."""
    listener = _LISTENER.get()
    if listener is None:
        return adapter.pseudo_score(passages)
    return listener.answer("bits", passages, "pseudo", adapter.pseudo_score)


def ask_texts(requests: Sequence[Request], generate: Ask[str]) -> Iterator[str]:
    """Yield what `generate` yields for these requests."""
    listener = _LISTENER.get()
    if listener is None:
        return iter(generate(requests))
    return listener.answer("texts", requests, "", generate)


def ask_flags(passages: Sequence[Passage], find: Ask[bool]) -> Iterator[bool]:
    """Yield what `find` yields for these passages."""
    listener = _LISTENER.get()
    if listener is None:
        return iter(find(passages))
    return listener.answer("flags", passages, "", find)


def digest(how: str, asked: Passage | Request) -> bytes:
    """Return 16 bytes that name a question: all its fields, and how it is asked."""
    raw = repr((how, type(asked).__name__, astuple(asked))).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=16).digest()


class Kept:
    """Answers of one kind, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.answers: list[Any] = []


class Recorder:
    """Passes everything on, and keeps what was answered."""

    def __init__(self) -> None:
        self.kept: dict[Kind, Kept] = {}

    def answer(
        self, kind: Kind, asked: Sequence[Any], how: str, ask: Ask[Answer]
    ) -> Iterator[Answer]:
        kept = self.kept.setdefault(kind, Kept())
        with close_early(iter(ask(asked))) as answers:
            for at, answer in enumerate(answers):
                if at < len(asked):  # too many are an error, which the task will find
                    kept.digests.append(digest(how, asked[at]))
                    kept.answers.append(answer)
                yield answer
