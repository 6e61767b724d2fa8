"""Answers kept as they come, so that a run that is resumed asks for none of them again.

One line an answer, appended and flushed to disk at once. A line that was cut off or changed is not
read; its request is asked again. A run believes only as much of a file as it knows the seal of,
since the code of another model could have written the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from llmbench.adapter import KeptSeal
from llmbench.storage import open_regular


class KeptAnswers:
    """What one model answered, by the digest of the request; without a path nothing is kept.

    seal: of the beginning of the file that is believed; None: all of it. tell: given the seal of
    the whole file before each answer is written.
    """

    def __init__(
        self,
        path: Path | None,
        seal: KeptSeal | None = None,
        tell: Callable[[KeptSeal], None] = lambda seal: None,
    ):
        self._path, self._lock, self._tell = path, threading.Lock(), tell
        self._file: BinaryIO | None = None
        self._raw = b"" if path is None else _read(path, seal)
        self._known = _parse(self._raw)
        self._size, self._hash = len(self._raw), hashlib.sha256(self._raw)

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
        line = f'{{"key": "{key}", "check": "{_digest(key, text)}", "value": {text}}}\n'.encode()
        with self._lock:
            file = self._file or self._open(self._path)
            self._write(file, line)
            self._known[key] = value

    def _open(self, path: Path) -> BinaryIO:
        """Open the file to append to, without what is not believed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            os.truncate(path, self._size)
        self._file = path.open("ab")
        if self._raw and not self._raw.endswith(b"\n"):
            self._write(self._file, b"\n")
        self._raw = b""
        return self._file

    def _write(self, file: BinaryIO, line: bytes) -> None:
        self._size += len(line)
        self._hash.update(line)
        self._tell((self._size, self._hash.hexdigest()))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())

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


def _read(path: Path, seal: KeptSeal | None) -> bytes:
    """What is believed of a file; nothing if it is missing, or not what was sealed."""
    try:
        with open_regular(path) as file:
            raw = file.read() if seal is None else file.read(seal[0])
    except OSError:
        return b""
    is_sealed = seal is None or (len(raw), hashlib.sha256(raw).hexdigest()) == tuple(seal)
    return raw if is_sealed else b""


def _parse(raw: bytes) -> dict[str, Any]:
    """The answers in the lines of a file, by key."""
    found: dict[str, Any] = {}
    for line in raw.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            text = json.dumps(row["value"], ensure_ascii=True)
            if row["check"] == _digest(row["key"], text):
                found[row["key"]] = row["value"]
    return found
