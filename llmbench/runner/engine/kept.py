"""The kept answers of a model on another machine, copied into the run's folder as they grow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from llmbench import storage
from llmbench.adapter import KeptSeal
from llmbench.runner.folder.answers import EMPTY

Read = Callable[[str, int], Iterator[bytes]]  # a file's name, and where to begin


class AnswersCopy:
    """The run's copy of a model's answers. `seal`: of what the worker has written by its own
    account, or is about to write.
    """

    def __init__(self, out: Path, model: str, seal: KeptSeal):
        """`seal`: of what is believed of the file now."""
        self.name = f"answers/{model}.jsonl"
        self._path = out / self.name
        self._size, self.digest = 0, EMPTY[1]
        self._hash = hashlib.sha256()
        self.seal: KeptSeal = (int(seal[0]), str(seal[1]))
        raw = self.read()
        self._hash.update(raw)
        self._size, self.digest = len(raw), self._hash.hexdigest()

    def read(self) -> bytes:
        """Return what is believed of the file."""
        try:
            raw = storage.read_bytes(self._path)[: self.seal[0]]
        except OSError:
            return b""
        return raw if hashlib.sha256(raw).hexdigest() == self.seal[1] else b""

    def follow(self, read: Read) -> None:
        """Append what the worker has written since, if all of it is on its disk by now."""
        wanted, expected = int(self.seal[0]), str(self.seal[1])
        if wanted <= self._size:
            return
        tail = bytearray()
        try:
            for raw in read(self.name, self._size):
                tail += raw
                if self._size + len(tail) >= wanted:
                    break
        except FileNotFoundError:
            return  # it is told of before it is written
        del tail[wanted - self._size :]
        whole = self._hash.copy()
        whole.update(tail)
        if whole.hexdigest() != expected:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            os.truncate(file.fileno(), self._size)
            file.write(tail)
            file.flush()
            os.fsync(file.fileno())
        self._hash, self._size, self.digest = whole, wanted, expected
