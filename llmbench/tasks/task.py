"""What a task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmbench.adapter import Adapter, Progress
from llmbench.results.outcome import Outcome

if TYPE_CHECKING:
    from llmbench.data.text import Text


class Task(ABC):
    """One task of a suite, with its settings and its text."""

    protocol: str  # name/version: part of every signature; the version moves when numbers would

    @abstractmethod
    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        """Ask the model. Raises CellError where it cannot answer."""

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: Any, texts: Mapping[str, Text], options: Mapping[str, Any]) -> Task:
        """From the suite's settings."""
