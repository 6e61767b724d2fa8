"""The cheap checks that a model passes before it scores or generates outside a run.

A run certifies its models and says on the board whose numbers cannot be trusted; one number alone
has no such place, so a model that fails is refused.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from weakref import WeakValueDictionary

from pydantic import BaseModel

from llmbench import limits, storage
from llmbench.adapter import Adapter, Progress
from llmbench.config.fingerprints import identifies_weights
from llmbench.config.source_code import PACKAGE
from llmbench.conformance import kit
from llmbench.conformance.certificates import LIBRARIES
from llmbench.conformance.check import Subject
from llmbench.errors import Unsupported, UsageError

CHECKS = ("causality", "single-bos")

_passed: WeakValueDictionary[int, Adapter] = WeakValueDictionary()  # id -> object of this process


class _Screened(BaseModel):
    """What is kept of weights that passed: which they are, and by which code."""

    fingerprint: str
    device: str
    stamp: str


def screen(
    adapter: Adapter, name: str, progress: Progress | None = None, cache: Path | None = None
) -> None:
    """Raise Unsupported if `adapter` fails one of CHECKS, UsageError if it cannot be asked.

    cache: where it is kept, by fingerprint and device, that a model has passed. Without it an
        object is asked once in this process.
    """
    if not adapter.can_score or _passed.get(id(adapter)) is adapter:
        return
    info = adapter.info if cache is not None else None
    kept = None
    if info is not None and cache is not None and identifies_weights(info.fingerprint):
        kept = _Screened(fingerprint=info.fingerprint, device=info.device, stamp=_stamp())
        if _read(_place(cache, kept)) == kept:
            return
    if progress is not None:
        progress("checking", 0.0, "causality")
    subject = Subject(adapter, thorough=False)
    if subject.obstacle:
        raise UsageError(subject.obstacle, where=name)
    results = list(kit.run(subject, kit.find_checks(CHECKS), limits.SCREENING_SECONDS))
    for result in results:
        if result.state == "failed":
            raise Unsupported(
                f"the check {result.name} failed, so its numbers would be wrong: sent"
                f" {result.sent}; {result.came}; likely cause: {result.cause}",
                where=name,
                hint="`llmbench check` shows all checks",
            )
    if any(result.bad for result in results):
        return
    _passed[id(adapter)] = adapter
    if kept is not None and cache is not None:
        with suppress(OSError):  # a full disk costs the next one a check
            storage.write_sealed(_place(cache, kept), kept.model_dump())


def _place(cache: Path, of: _Screened) -> Path:
    digest = hashlib.sha256(f"{of.fingerprint} {of.device}".encode()).hexdigest()
    return cache / "screened" / f"{digest}.json"


def _read(path: Path) -> _Screened | None:
    try:
        return _Screened.model_validate(storage.read_sealed(path))
    except (OSError, ValueError):  # Damaged and ValidationError are ValueErrors
        return None


@lru_cache
def _stamp() -> str:
    """Which code this is, in a few milliseconds: names, sizes and times of the package's files."""
    files = [(file, file.stat()) for file in sorted(PACKAGE.rglob("*.py"))]
    said = [
        f"{file.relative_to(PACKAGE)} {seen.st_size} {seen.st_mtime_ns}" for file, seen in files
    ]
    said += [metadata.version(library) for library in LIBRARIES]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()
