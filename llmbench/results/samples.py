"""What a model did on each item of a task: from the samples in a run's folder, or from what a
reviewed record has of them. A record from elsewhere does not choose which other files are read.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmbench.results.record import ModelRow, Record, Score, load
from llmbench.results.rows import Items
from llmbench.results.schema import file_names, new_task_name
from llmbench.results.tables.arrow import UNREADABLE
from llmbench.results.tables.deviations import Deviations
from llmbench.results.tables.items import SAID, ItemTable
from llmbench.results.tables.means import build_mean_table, find_mean
from llmbench.results.tables.samples_file import find_said, read_columns

Added = Mapping[tuple[str, str], Mapping[str, Mapping[str, list[float]]]]


@dataclass(frozen=True)
class Sample:
    """An item and its statistics, [] where the metric has none for it. `session`: in which session
    of measuring a block was taken.
    """

    key: str
    statistics: dict[str, list[float]]
    session: str = ""
    said: dict[str, str] = field(default_factory=dict)  # of SAID, what there is


@dataclass(frozen=True)
class Opened:
    """A run, or a reviewed record, and where it is. `added`: statistics that are not in the
    samples, as of votes: (model, task) -> metric -> id of the item. `deviations`: of scores whose
    items are voted on by several raters: (model, task, metric).
    """

    record: Record
    path: Path
    added: Added = field(default_factory=dict, compare=False)
    deviations: Mapping[tuple[str, str, str], Deviations] = field(
        default_factory=dict, compare=False
    )

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def items(self, model: str, task: str, texts: bool = True) -> list[Sample]:
        """In the order in which they were asked; [] where there are none, or where they cannot be
        read. An id that comes again has a number.
        `texts`: with what was said, which is most of what samples hold.
        """
        if self.record.items is not None:  # of the documents that are left alone
            group = next(
                (group for group in self.record.items.get(task, []) if model in group.models), None
            )
            return [] if group is None else _unpack(group, group.models[model])
        if self.record.notes.cells and task not in self.record.notes.cells.get(model, []):
            return []  # left by another run in this folder
        found = read_samples(self.folder, model, task, texts)
        found = leave_out(found, find_left_out(self.record, model, task))
        added = self.added.get((model, task), {})
        for sample in found if added else ():
            own = {name: rows[sample.key] for name, rows in added.items() if sample.key in rows}
            sample.statistics.update(own)
        return found

    def table(self, model: str, task: str) -> ItemTable:
        """The same as columns; of a mean over tasks, the items of all of these."""
        mean = find_mean(self.record.scores, model, task)
        if mean is not None:
            scores = self.record.scores
            return build_mean_table(mean, scores, lambda one: self.table(one.model, one.task))
        if self.record.items is None:
            if self.record.notes.cells and task not in self.record.notes.cells.get(model, []):
                return ItemTable()
            found = read_items(self.folder, model, task)
            found = found.leave_out(find_left_out(self.record, model, task))
            for name, rows in self.added.get((model, task), {}).items():
                found.add_column(name, rows)
            return found
        table = ItemTable()
        for item in self.items(model, task):
            table.add(item.key, item.statistics, item.session)
        return table


def open_results(path: Path) -> Opened:
    """The run in a folder, or the record in a file. UsageError where it cannot be read, or where
    the folder's files are not what the run wrote.
    """
    opened = Opened(load(path), path)
    opened.record.check_files(opened.folder)
    return opened


def statistic_of(score: Score) -> str:
    """What the statistics of a score are called in the samples: the metric, with the batch or the
    measure where it is not the usual one.
    """
    if score.batch > 1:
        return f"{score.metric}@{score.batch}"
    return score.metric + (f":{score.norm}" if score.norm != "none" else score.variant)


def read_samples(folder: Path, model: str, task: str, texts: bool = True) -> list[Sample]:
    """The items in a run's folder, read a line at a time. A record from elsewhere does not choose
    which other files are read.
    """
    file = _find_file(folder, model, task)
    if file is None:
        return []
    try:
        return list(_number_repeats(_read_row(row, texts) for row, _ in _rows(file)))
    except UNREADABLE:
        return []


def read_items(
    folder: Path, model: str, task: str, metrics: Sequence[str] | None = None
) -> ItemTable:
    """The same as columns, with these metrics, by default all: from the file of columns, else from
    the lines.
    """
    file = _find_file(folder, model, task)
    table = None if file is None else read_columns(file, metrics)
    if file is None or table is not None:
        return table or ItemTable()
    table, places = ItemTable(file), array("q")

    def read() -> Iterator[Sample]:
        for row, place in _rows(file):
            places.append(place)
            yield _read_row(row, texts=False)

    try:
        for at, item in enumerate(_number_repeats(read())):
            table.add(item.key, item.statistics, item.session, places[at])
    except UNREADABLE:
        return ItemTable()
    return table


def _find_file(folder: Path, model: str, task: str) -> Path | None:
    """The file of samples; None where a name would lead elsewhere."""
    place = inside(folder, "samples", model)
    if place is None or Path(task).name != task:
        return None
    files = [place / f"{name}.jsonl" for name in file_names(task)]
    try:
        return next((file for file in files if file.exists()), files[0])
    except (OSError, ValueError):  # no name that a file can have
        return None


def find_left_out(record: Record, model: str, task: str) -> Collection[str]:
    """Return the ids of the documents that a model's scores on a task leave out."""
    found = record.notes.left_out.get(task)
    return found.documents if found is not None and model in found.models else ()


def leave_out(items: Sequence[Sample], ids: Collection[str]) -> list[Sample]:
    """Return the items of other documents than these."""
    return [item for item in items if item.key not in ids]


def _unpack(group: Items, metrics: Mapping[str, Sequence[Sequence[float]]]) -> list[Sample]:
    sessions = group.sessions or [""] * len(group.ids)
    rows = enumerate(zip(group.ids, sessions, strict=False))
    return [
        Sample(
            id,
            {name: _floats(lists[i]) for name, lists in metrics.items() if i < len(lists)},
            session,
        )
        for i, (id, session) in rows
    ]


def _read_row(row: Mapping[str, Any], texts: bool) -> Sample:
    said = {name: row[name] for name in SAID if texts and isinstance(row.get(name), str)}
    return Sample(
        str(row["id"]),
        {name: _floats(values) for name, values in row["statistics"].items()},
        str(row.get("session", "")),
        said,
    )


def _floats(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values]


def _number_repeats(rows: Iterable[Sample]) -> Iterator[Sample]:
    seen: dict[str, int] = {}
    for row in rows:
        seen[row.key] = seen.get(row.key, 0) + 1
        yield (
            row
            if seen[row.key] == 1
            else Sample(f"{row.key} ({seen[row.key]})", row.statistics, row.session, row.said)
        )


def inside(folder: Path, kind: str, model: str) -> Path | None:
    """The folder of a model's files of this kind (samples, charges); None where its name would lead
    elsewhere.
    """
    return None if Path(model).name != model or model == ".." else folder / kind / model


def sample_files(folder: Path, model: str) -> list[Path]:
    """A model's files of samples, one a task."""
    place = inside(folder, "samples", model)
    try:
        return [] if place is None else sorted(place.glob("*.jsonl"))
    except (OSError, ValueError):  # no name that a folder can have
        return []


def samples(
    record: Record, folder: Path, only_said: bool = False
) -> Iterator[tuple[ModelRow, str, Iterator[Mapping[str, Any]]]]:
    """Model, task and rows of each file of samples that belongs to the record, in the order of its
    models. `only_said`: the rows that hold texts, and perhaps others.
    """
    for model in record.models:
        for file in sample_files(folder, model.name):
            task = new_task_name(file.stem)
            if record.notes.cells and task not in record.notes.cells.get(model.name, []):
                continue  # left by another run in this folder
            ids = find_left_out(record, model.name, task)
            rows = _readable_rows(file, find_said(file) if only_said else None)
            yield model, task, (row for row in rows if row.get("id") not in ids)


def _readable_rows(file: Path, places: Sequence[int] | None) -> Iterator[Mapping[str, Any]]:
    """The rows whose lines begin there, by default all, up to the first that cannot be read."""
    try:
        for row, _ in _rows(file, places):
            if isinstance(row, dict):
                yield row
    except UNREADABLE:
        return


def _rows(file: Path, places: Sequence[int] | None = None) -> Iterator[tuple[Any, int]]:
    """The rows whose lines begin there, by default all, and where they begin. Lines end at \\n
    alone: what a model says may hold other signs that part lines.
    """
    with file.open("rb") as lines:
        if places is not None:
            for place in places:
                lines.seek(place)
                yield json.loads(lines.readline().decode()), place
            return
        place = 0
        for line in lines:
            if line.strip():
                yield json.loads(line.decode()), place
            place += len(line)
