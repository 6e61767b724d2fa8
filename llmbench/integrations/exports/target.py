"""What an export is given and what it makes, and the targets by name.

A target is a module with a function `make`, which computes all that is sent from the record and
touches nothing else. A target whose program has to write has a function `send` too, the only one
that imports that program.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from llmbench.errors import UsageError, did_you_mean

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


@dataclass(frozen=True)
class Target:
    """A place to export to. `is_tracker`: whether it has a run for each model, which the package
    of its name writes. `takes_uri`: whether it can send to an address.
    """

    name: str
    help: str
    is_tracker: bool = False
    takes_uri: bool = False

    def check(self, uri: str | None = None, needs_package: bool = True) -> None:
        """Raise UsageError if its package is missing, or if it takes no address."""
        if uri is not None and not self.takes_uri:
            raise UsageError(f"{self.name} writes files and takes no address", where=uri)
        if needs_package and self.is_tracker and util.find_spec(self.name) is None:
            raise UsageError(
                f"the export {self.name} needs the package {self.name}",
                hint=f"pip install 'llmbench[{self.name}]'",
            )

    def load(self) -> Maker:
        """Import the target's module."""
        folder = f"{__package__}.trackers" if self.is_tracker else __package__
        return cast(Maker, import_module(f"{folder}.{self.name.replace('-', '_')}"))


class Maker(Protocol):
    """A target's module."""

    make: Callable[[Source], Export]


class Sender(Maker, Protocol):
    """A tracker's module. `send` writes to a folder, or to an address if there is one, and returns
    in a line how to look at it.
    """

    send: Callable[[Export, Path, str | None], str]


TARGETS = {
    target.name: target
    for target in (
        Target("json-schema", "the JSON schema of the record"),
        Target("latex", "a table for each task, with booktabs, intervals and ranks"),
        Target("parquet", "all scores and all samples, as two Parquet files"),
        Target("arrow", "the same, as two Arrow (Feather) files"),
        Target("model-index", "results in a model card's front matter, a file for each model"),
        Target("hf-eval-results", ".eval_results of the Hub; needs --dataset"),
        Target("lm-eval-json", "results_*.json as lm-evaluation-harness writes them"),
        Target("every-eval-ever", "Every Eval Ever, schema 0.3, with the intervals"),
        Target("tensorboard", "scores and curves of training, for TensorBoard", is_tracker=True),
        Target("mlflow", "a local file store, or the server of --uri", True, takes_uri=True),
        Target("wandb", "offline runs of Weights & Biases", is_tracker=True),
        Target("trackio", "a local project of Trackio", is_tracker=True),
    )
}


def find_target(name: str) -> Target:
    """Return the target of this name. UsageError if there is none."""
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}", hint=did_you_mean(name, TARGETS))
    return TARGETS[name]


def name_file(name: str) -> str:
    """Return a name as part of a path on any system: itself, or with what is not plain replaced and
    a hash, so that two names stay two.
    """
    if PLAIN.fullmatch(name) and not RESERVED.fullmatch(name) and not name.endswith("."):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_+-]+", "_", name).strip("_+-")[:60]
    return f"{plain or 'x'}-{digest}"
