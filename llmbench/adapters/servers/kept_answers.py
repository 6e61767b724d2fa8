"""Answers kept as they come, so that a run that is resumed asks for none of them again.

One line an answer, appended and flushed to disk at once. A line that was cut off or changed is not
read; its request is asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from llmbench.storage import open_regular


class KeptAnswers:
    """What one model answered, by the digest of the request; without a path nothing is kept."""

    def __init__(self, path: Path | None):
        self._path, self._lock = path, threading.Lock()
        self._file: TextIO | None = None
        self._known = {} if path is None else _read(path)

    @staticmethod
    def key_of(what: Mapping[str, Any]) -> str:
        """The digest of a request: all that its answer depends on."""
        raw = json.dumps(what, sort_keys=True, ensure_ascii=True).encode()
        return hashlib.sha256(raw).hexdigest()

    def find(self, key: str) -> Any:
        """Return the answer to a request; None if there is none."""
        return self._known.get(key)

    def keep(self, key: str, value: Any) -> None:
        """Keep an answer, on disk before this returns. OSError if the disk is full."""
        if self._path is None:
            return
        text = json.dumps(value, ensure_ascii=True)
        line = f'{{"key": "{key}", "check": "{_digest(key, text)}", "value": {text}}}\n'
        with self._lock:
            file = self._file or self._open(self._path)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            self._known[key] = value

    def _open(self, path: Path) -> TextIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_torn = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        if is_torn:
            self._file.write("\n")
        return self._file

    def stop(self) -> None:
        """Find and keep nothing from now on."""
        self.close()
        self._path, self._known = None, {}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None


def _digest(key: str, text: str) -> str:
    return hashlib.sha256(f"{key} {text}".encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    """The answers in a file, by key; none if it is missing."""
    found: dict[str, Any] = {}
    with suppress(OSError), open_regular(path) as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                text = json.dumps(row["value"], ensure_ascii=True)
                if row["check"] == _digest(row["key"], text):
                    found[row["key"]] = row["value"]
    return found
