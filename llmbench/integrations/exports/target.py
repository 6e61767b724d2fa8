"""What an export is given, and what it makes.

A target is a module with a function `make`, which computes all that is sent from the record and
touches nothing else. A target whose program has to write has a function `send` too, the only one
that imports that program.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from llmbench.results.samples import Opened

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
RESERVED = re.compile(r"(?i:con|prn|aux|nul|data|com\d|lpt\d)(\..*)?")  # by Windows, or a format


@dataclass(frozen=True)
class DatasetId:
    """Where a task's questions are on the Hub: `repo` is ORG/NAME, `task` the benchmark's own name
    for them there.
    """

    repo: str
    task: str


@dataclass(frozen=True)
class Source:
    """A run, and what its record cannot know. `datasets`: task -> its data set on the Hub."""

    opened: Opened
    datasets: Mapping[str, DatasetId] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file to write. `path` is relative, with slashes, each part as `name_file` returns it."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Tracked:
    """A model of a run, as an experiment tracker has a run of its own.

    config: facts that do not change. values: metric -> value, the ends of its interval among them.
    units: metric -> unit. curves: metric -> (step, value), of training.
    """

    name: str
    group: str
    config: Mapping[str, str | int | float]
    values: Mapping[str, float]
    units: Mapping[str, str]
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """All that is sent. `notes`: what the target cannot hold, in words."""

    files: list[File] = field(default_factory=list)
    tracked: list[Tracked] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Maker(Protocol):
    """A target's module."""

    make: Callable[[Source], Export]


class Live(Protocol):
    """Runs of a tracker that are written while models are at work.

    `log` adds values of a model, of which only name and group are known yet; `finish` completes the
    runs, and returns how to look at them. Both raise UsageError if the tracker refuses.
    """

    def log(self, tracked: Tracked, values: Mapping[str, float], step: int) -> None: ...
    def finish(self, export: Export) -> str: ...


class LiveSender(Maker, Protocol):
    """The module of a tracker that shows runs as they go."""

    Live: Callable[[Path, str | None], Live]


class Sender(Maker, Protocol):
    """A tracker's module. `send` writes to a folder, or to an address if there is one, and returns
    in a line how to look at it.
    """

    send: Callable[[Export, Path, str | None], str]


def name_file(name: str) -> str:
    """Return a name as part of a path on any system: itself, or with what is not plain replaced and
    a hash, so that two names stay two.
    """
    if PLAIN.fullmatch(name) and not RESERVED.fullmatch(name) and not name.endswith("."):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_+-]+", "_", name).strip("_+-")[:60]
    return f"{plain or 'x'}-{digest}"
