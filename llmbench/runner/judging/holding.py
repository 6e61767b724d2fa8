"""A judge of a run, by one process at a time, so that nothing is asked twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmbench import system
from llmbench.votes.answers import digest_texts

FOLDER = "judging"  # in a run's folder, while a judge is at work or after one was stopped


@contextmanager
def hold_judge(run: Path, spec: str) -> Iterator[Path]:
    """Wait until no other process lets the judge `spec` work on a run, and give the file in which
    a server's answers are kept. It is removed in the end, unless the judge was stopped or failed.
    """
    kept = run / FOLDER / f"{digest_texts(spec)[:16]}.jsonl"
    lock = kept.with_suffix(".lock")
    handle = _lock(lock)
    try:
        yield kept
        kept.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # others are at work there
            lock.unlink()
        os.close(handle)
        with suppress(OSError):
            kept.parent.rmdir()


def _lock(path: Path) -> int:
    """The open file, locked, and still the one that is there: who held it has removed it."""
    while True:
        with suppress(FileNotFoundError):
            path.parent.mkdir(exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            system.lock(handle, wait=True)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
            os.close(handle)
