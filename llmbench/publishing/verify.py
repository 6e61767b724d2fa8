"""Audit a published run: its files, its figures against its samples, and some of them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from llmbench.adapter import Progress
from llmbench.errors import UsageError
from llmbench.publishing.download import download, is_address
from llmbench.publishing.figures import Figure
from llmbench.publishing.manifest import Publication, open_publication
from llmbench.publishing.recompute import Recomputed, Request, recompute
from llmbench.publishing.recount import Followed, follow_samples
from llmbench.publishing.redraw import list_redrawn
from llmbench.results.record import Machine, Record
from llmbench.results.samples import open_results
from llmbench.runner.progress import Silent


class _Telling(Silent):
    """A watcher of runs that tells a single line of them."""

    def __init__(self, report: Progress):
        self._report = report

    def progress(self, name: str, what: str, share: float, remark: str) -> None:
        """Tell of a piece of a model's work."""
        self._report(f"{name}: {what}", share, remark)


def _ignore(what: str, share: float, remark: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Verified:
    """What was found out. `redrawn`: files that this llmbench draws otherwise from the record;
    `again`: None if nothing was to be measured again.
    """

    publication: Publication
    record: Record
    samples: Followed
    redrawn: Sequence[str]
    again: Recomputed | None

    @property
    def failures(self) -> list[Figure]:
        """The figures that do not hold."""
        figures = self.again.figures if self.again else ()
        return [*self.samples.contradicted, *(figure for figure in figures if not figure.holds)]

    @property
    def holds(self) -> bool:
        """Whether every figure that was looked at holds."""
        return not self.failures


def verify(
    place: str,
    scratch: Path,
    request: Request | None = None,
    expected: str | None = None,
    report: Progress | None = None,
) -> Verified:
    """Check a published folder, or what is at an address.

    scratch: an empty folder to work in. request: what to measure again. expected: the sha256 that
    the list of files must have. report: told what is being measured.

    Raises UsageError, which names the file, if one is not what was published.
    """
    folder = Path(place)
    if is_address(place):
        folder = scratch / "published"
        folder.mkdir()
        download(place, folder)
    publication = open_publication(folder)
    if expected is not None and publication.sha256 != expected.strip().lower():
        raise UsageError(
            f"another publication: the sha256 of its list is {publication.sha256}", where=place
        )
    opened = open_results(folder)
    record = opened.record
    told = report or _ignore
    samples = follow_samples(opened, lambda share, what: told("comparing", share, what))
    redrawn = list_redrawn(publication, record)
    again = None
    if request is not None:
        again = recompute(record, request, scratch / "runs", _Telling(told))
    return Verified(publication, record, samples, redrawn, again)


def describe_machine(machine: Machine) -> str:
    """Return the kind of a machine in words."""
    cpu, cores, threads, gpus, system = machine.kind()
    parts = [cpu, f"{'?' if cores is None else cores} cores"]
    parts += [f"{threads} threads"] if threads else []
    return ", ".join([*parts, *(gpus or ("no GPU",)), *([system] if system else [])])


def as_json(found: Verified) -> Mapping[str, object]:
    """Return what was found as plain data."""
    again = found.again
    return {
        "holds": found.holds,
        "sha256": found.publication.sha256,
        "files": len(found.publication.manifest.files),
        "suite": {"name": found.record.suite.name, "version": found.record.suite.version},
        "samples": {
            "follow": found.samples.count,
            "intervals": found.samples.intervals,
            "ranks": found.samples.ranks,
            "without": found.samples.without,
            "contradicted": [_figure(figure) for figure in found.samples.contradicted],
        },
        "drawn_otherwise": list(found.redrawn),
        "machine": describe_machine(found.record.machine),
        "recomputed": None
        if again is None
        else {
            "cells": [list(cell) for cell in again.cells],
            "of": again.choices,
            "machine": describe_machine(again.machine),
            "other_weights": list(again.others),
            "figures": [_figure(figure) for figure in again.figures],
        },
    }


def _figure(figure: Figure) -> Mapping[str, object]:
    return {**asdict(figure), "difference": figure.difference, "holds": figure.holds}
