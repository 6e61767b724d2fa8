"""Who is told about a run as it goes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Watcher(Protocol):
    """What is told about a run as it goes; the command line draws it."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...
    def measuring(self, task: str) -> AbstractContextManager[None]:
        """While this lasts, nothing may be drawn but when `progress` is told: a clock is running."""
        ...


class Silent:
    """Nobody is watching."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...
    def measuring(self, task: str) -> AbstractContextManager[None]:
        return nullcontext()
