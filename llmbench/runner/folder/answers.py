"""Which kept answers of servers are believed: those that were in the run's folder when the run
began, and those that a worker of the same model says it wrote.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypedDict

from llmbench.adapter import KeptSeal

EMPTY: KeptSeal = (0, hashlib.sha256().hexdigest())


class AnswersEvent(TypedDict):
    """A model's answers were kept. `seal`: of the file as it is now."""

    event: Literal["answers"]
    seal: KeptSeal


class Answers:
    """The files of the folder `answers`, each with its last two seals: a worker tells the next one
    before it writes.
    """

    def __init__(self, out: Path):
        self._folder = out / "answers"
        self._seals = {file.stem: [_seal(file.read_bytes())] for file in self._find_files()}

    def _find_files(self) -> list[Path]:
        return sorted(file for file in self._folder.glob("*.jsonl") if file.is_file())

    def find_seal(self, model: str) -> KeptSeal:
        """Return how much of a model's file is believed."""
        raw, file = b"", self._folder / f"{model}.jsonl"
        with suppress(OSError):
            raw = file.read_bytes()
        return self._match(model, raw)

    def accept(self, model: str, seal: KeptSeal) -> None:
        """Believe what a worker of this model has written."""
        self._seals[model] = [*self._seals.get(model, [])[-1:], (int(seal[0]), str(seal[1]))]

    def _match(self, model: str, raw: bytes) -> KeptSeal:
        """The last seal that is of the beginning of these bytes."""
        seals = reversed(self._seals.get(model, []))
        return next((seal for seal in seals if _seal(raw[: seal[0]]) == seal), EMPTY)

    def remove_unknown(self) -> list[str]:
        """Remove what no worker of the model wrote: the end of a file, or all of it if its
        beginning was changed. Return the paths in the run's folder.
        """
        removed = []
        for file in self._find_files():
            with suppress(OSError):
                raw = file.read_bytes()
                size, _ = self._match(file.stem, raw)
                if size == len(raw):
                    continue
                if size:
                    os.truncate(file, size)
                else:
                    file.unlink()
                removed.append(f"{self._folder.name}/{file.name}")
        return removed


def _seal(raw: bytes) -> KeptSeal:
    return len(raw), hashlib.sha256(raw).hexdigest()
