"""Several runs side by side: what they are called, which of their models are the same one, and what
each of them measured.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from llmbench.config.fingerprints import UNHASHED
from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.provenance import describe_machine, format_time
from llmbench.leaderboard.sentences.state import OpenCell, list_open_cells, name_end
from llmbench.leaderboard.tables import COSTS
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import FACTS, HEADLINES, SPEED
from llmbench.results import record as results_record
from llmbench.results.record import (
    Failure,
    ModelRow,
    Record,
    Score,
    key_of,
)
from llmbench.results.rows import Certificate

FIRST_TEXT = "time_to_first_token"
FINGERPRINT_CHARACTERS = 8  # of a fingerprint, where it tells two models of one name apart

Identity = tuple[str, str, str]  # name, fingerprint, dtype


@dataclass(frozen=True)
class SourceRun:
    """A run that is merged, by its short name. `path` is its record's."""

    name: str
    record: Record
    path: Path
    machine: str


@dataclass(frozen=True)
class CellScores:
    """What a run measured of a model on a task: scores by record.key_of. `model` is the model's
    name among all runs.
    """

    run: SourceRun
    model: str
    task: str
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class TableKey:
    """A table: everything in it goes by one metric, has one signature and, where it depends on the
    machine, was measured on one machine.
    """

    metric: str
    signature: str
    machine: str = ""


def open_runs(paths: Sequence[Path]) -> list[SourceRun]:
    """The runs, the newest first; one that is given twice is there once. UsageError where a record
    is missing or wrong.
    """
    files = dict.fromkeys(
        (path / "run.json" if path.is_dir() else path).resolve() for path in paths
    )
    names = _names(list(files))
    runs = []
    for file, name in zip(files, names, strict=True):
        found = results_record.load(file)
        found.check_files(file.parent)
        words = describe_machine(found.machine, gpus=found.options.get("device") != "cpu")
        runs.append(SourceRun(name, found, file, words))
    return sorted(runs, key=lambda run: _finish_time(run.record), reverse=True)


def _names(files: Sequence[Path]) -> list[str]:
    """The last part of each path, or as much of it as tells all apart."""
    whole = [
        (file.parent if file.name == "run.json" else file.with_suffix("")).parts for file in files
    ]
    for length in (1, 2):
        short = ["/".join(parts[-length:]) for parts in whole]
        if len({*short}) == len(short):
            return short
    return [str(Path(*parts)) for parts in whole]


def _finish_time(record: Record) -> datetime:
    try:
        found = datetime.fromisoformat(record.finished)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Models:
    """The models of all runs. The same one has the same name, fingerprint and dtype; others of that
    name get something added that tells them apart. One that was never loaded, and so has no
    fingerprint and no score, keeps its name.
    """

    def __init__(self, runs: Sequence[SourceRun]):
        seen: dict[Identity, list[tuple[SourceRun, ModelRow]]] = {}
        for run in runs:
            scored = {score.model for score in run.record.scores}
            for row in run.record.models:
                if row.fingerprint or row.name in scored:
                    seen.setdefault(_identity(row), []).append((run, row))
        self._seen = dict(zip(_make_unique(list(seen)), seen.values(), strict=True))
        self._names = {
            (run.name, row.name): name for name, found in self._seen.items() for run, row in found
        }

    def name(self, run: SourceRun, own: str) -> str:
        """What a run's model is called among all."""
        return self._names.get((run.name, own), own)

    def rows(
        self, names: Iterable[str], machine: str | None = None, timed: bool = True
    ) -> list[ModelRow]:
        """A row for each name, from the newest run (on this machine, if one is given) and with what
        any of them knows. `timed`: with the seconds of training, which are those of one machine.
        """
        wanted = set(names)
        return [self._row(name, machine, timed) for name in self._seen if name in wanted]

    def all(self, timed: bool) -> list[ModelRow]:
        """All rows."""
        return [self._row(name, None, timed) for name in self._seen]

    def _row(self, name: str, machine: str | None, timed: bool) -> ModelRow:
        everywhere = [row for _, row in self._seen[name]]
        newest = next(
            (row for run, row in self._seen[name] if machine in (None, run.machine)), everywhere[0]
        )
        published = {
            json.dumps(figure, sort_keys=True): figure
            for row in everywhere
            for figure in row.published
        }
        overlaps = [row.overlap for row in everywhere if row.overlap is not None]
        changes: dict[str, object] = {
            "name": name,
            "certificate": _certificate(everywhere),
            "overlap": max(overlaps, default=None),
            "published": list(published.values()),
        }
        if newest.training and not timed:
            changes["training"] = newest.training.model_copy(update={"seconds": None})
        return newest.model_copy(update=changes)


def _identity(row: ModelRow) -> Identity:
    return row.name, row.fingerprint, row.dtype or ""


def _make_unique(identities: Sequence[Identity]) -> list[str]:
    """A name for each, no two alike: the model's own where no other has it."""
    often = Counter(name for name, _, _ in identities)
    of_weights = Counter((name, fingerprint) for name, fingerprint, _ in identities)
    weights = Counter(name for name, _ in of_weights)
    taken = {name for name in often if often[name] == 1}
    found = []
    for name, fingerprint, dtype in identities:
        shown = fingerprint.removeprefix(UNHASHED)[:FINGERPRINT_CHARACTERS] or "no fingerprint"
        marks = [shown] if weights[name] > 1 else []
        marks += [dtype or "no dtype"] if of_weights[name, fingerprint] > 1 else []
        stem = wanted = f"{name} [{' '.join(marks)}]" if marks else name
        number = 2
        while marks and wanted in taken:
            wanted, number = f"{stem} {number}", number + 1
        taken.add(wanted)
        found.append(wanted)
    return found


def is_refused(certificate: Certificate | None) -> bool:
    """Whether a level of it is."""
    return certificate is not None and any(
        proof.state == "refused" for proof in certificate.levels.values()
    )


def _certificate(rows: Sequence[ModelRow]) -> Certificate | None:
    """The newest refusal, which no other run takes back; otherwise the newest certificate."""
    found = [row.certificate for row in rows if row.certificate]
    return next((one for one in found if is_refused(one)), found[0] if found else None)


def read_scores(run: SourceRun, models: Models) -> list[CellScores]:
    """All that a run measured."""
    scores: dict[tuple[str, str], dict[str, Score]] = {}
    for score in run.record.scores:
        scores.setdefault((score.model, score.task), {})[key_of(score)] = score
    return [
        CellScores(run, models.name(run, model), task, found)
        for (model, task), found in scores.items()
    ]


def find_tables(cell: CellScores) -> Iterator[TableKey]:
    """The tables that a cell has a line in: one for each metric of quality that tables go by, or
    one for what depends on the machine.
    """
    quality = [key for key in HEADLINES if key in cell.scores and key != SPEED]
    costs = [key for key in COSTS if key in cell.scores]
    if not quality and not costs:  # none of the usual metrics
        quality = [
            key
            for key, score in cell.scores.items()
            if score.is_of_generated_text or score.metric not in FACTS
        ][:1]
    yield from (TableKey(key, cell.scores[key].signature) for key in quality)
    if costs and not quality:
        timed = costs[0] == FIRST_TEXT  # without a rate, and yet a line of the table of speed
        yield TableKey(
            SPEED if timed else costs[0], cell.scores[costs[0]].signature, cell.run.machine
        )


def failures(
    runs: Sequence[SourceRun], models: Models, cells: Sequence[CellScores]
) -> tuple[list[Failure], int]:
    """What no run could do, each once; and how many cells failed in one run and are filled by
    another.
    """
    filled = {(cell.model, cell.task) for cell in cells} | {
        (score.model, score.task) for run in runs for score in run.record.scores
    }
    missing: dict[tuple[str, ...], Failure] = {}
    elsewhere = set()
    for run in runs:
        for failure in run.record.failures:
            name = models.name(run, failure.model)
            if (name, failure.task) in filled:
                elsewhere.add((name, failure.task))
            else:
                row = failure.model_copy(update={"model": name})
                missing.setdefault((name, row.task, row.reason, row.message, row.hint), row)
    return list(missing.values()), len(elsewhere)


def list_open(
    runs: Sequence[SourceRun], models: Models, cells: Sequence[CellScores]
) -> list[OpenCell]:
    """The cells that a run was asked for and did not reach, and that no other run filled."""
    filled = {(cell.model, cell.task) for cell in cells}
    found = {
        (name, one.task): replace(one, model=name)
        for run in reversed(runs)
        for one in list_open_cells(run.record, run.name)
        if ((name := models.name(run, one.model)), one.task) not in filled
    }
    return list(found.values())


def facts(runs: Sequence[SourceRun], most: int = 12) -> list[tuple[str, str]]:
    """What is to be known of the runs and their machines, newest first."""
    found = [("runs", str(len(runs)))]
    for run in runs[:most]:
        known = run.record
        words = [
            f"{known.suite.name} version {known.suite.version}",
            f"{name_end(known)} {format_time(known.finished)}",
            f"seed {known.seed}",
            f"llmbench {known.llmbench}",
        ]
        found.append(("run", f"{cut(run.name, NAME_CHARACTERS // 2)}: {', '.join(words)}"))
    if len(runs) > most:
        found.append(("older runs", list_names([run.name for run in runs[most:]])))
    for machine in dict.fromkeys(run.machine for run in runs):
        found.append(
            (
                "machine",
                f"{machine}: {list_names([run.name for run in runs if run.machine == machine])}",
            )
        )
    return found


def list_names(names: Sequence[str], most: int = 4) -> str:
    """Names, each once, and how many more there are."""
    short = [cut(name, NAME_CHARACTERS) for name in dict.fromkeys(names)]
    return ", ".join(short[:most]) + (f" and {len(short) - most} more" if len(short) > most else "")
