"""Models by tasks: what each is worth in each, and a rank over all tasks with its interval. From
the tables of a board alone, so that merged boards have it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.leaderboard.overview.average import find_parts
from llmbench.leaderboard.tables import Table, TableRow
from llmbench.metrics.facts import MEAN_OF, SPEED


@dataclass(frozen=True)
class TaskCell:
    """A model in a task: the text of its value, its rank set among the models that are compared,
    and its place between the best (0) and the worst (1); None if it is unknown.
    """

    text: str
    rank: tuple[int, int] | None = None
    place: float | None = None


@dataclass(frozen=True)
class OverallRow:
    """A model in all tasks. `mean`: of its ranks; `low`, `high`: the means of the ends of its rank
    sets, between which the tests leave it.
    """

    model: str
    stage: int | None
    cells: Sequence[TaskCell]
    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Overall:
    """`tasks`: title and metric of each column; `counted`: how many of them the mean rank is of."""

    tasks: Sequence[tuple[str, str]]
    rows: Sequence[OverallRow]
    compared: int
    counted: int


def find_overall(tables: Sequence[Table]) -> Overall | None:
    """Return the models by tasks, the best mean rank first; None with fewer than two tables of
    quality.

    The mean is over the tasks with ranks, and over the models that all of these rank: a rank among
    others would be another number. Neither a task that is a part of another one counts twice, nor
    do the tasks of a mean over tasks, such as CORE.
    """
    shown = [table for table in tables if table.headline != SPEED and table.better is not None]
    if len(shown) < 2:
        return None
    parts = find_parts(shown)
    counted = [
        table
        for table in shown
        if table.beats and table.task not in parts and table.headline not in MEAN_OF
    ]
    rows = {id(table): {line.model: line for line in table.lines} for table in shown}
    common = [
        line.model
        for line in (counted[0].lines if len(counted) > 1 else ())
        if all(line.model in table.beats and line.model in rows[id(table)] for table in counted)
    ]
    compared = set(common) if len(common) > 1 else set()
    stages = {line.model: line.stage for table in shown for line in table.lines}
    made = [
        _row(
            name,
            stage,
            [(table, rows[id(table)].get(name)) for table in shown],
            compared,
            {id(table) for table in counted},
        )
        for name, stage in stages.items()
    ]
    made.sort(key=_order)
    titles = [(table.task, _title(table)) for table in shown]
    return Overall(titles, made, len(compared), len(counted) if compared else 0)


def _title(table: Table) -> str:
    return next(column.title for column in table.columns if column.key == table.headline)


def _order(row: OverallRow) -> tuple[bool, float, float]:
    places = [cell.place for cell in row.cells if cell.place is not None]
    middle = sum(places) / len(places) if places else math.inf
    return (row.mean is None, row.mean or 0.0, middle)


def _row(
    name: str,
    stage: int | None,
    found: Sequence[tuple[Table, TableRow | None]],
    compared: set[str],
    counted: set[int],
) -> OverallRow:
    cells = [_cell(table, line, compared) for table, line in found]
    if name not in compared:
        return OverallRow(name, stage, cells)
    tables = [table for table, _ in found if id(table) in counted]
    ranks = [rank for table in tables if (rank := _rank_set(table, name, compared))]
    positions = [_position(table, name, compared) for table in tables]
    low, high = (sum(rank[end] for rank in ranks) / len(ranks) for end in (0, 1))
    return OverallRow(name, stage, cells, sum(positions) / len(positions), low, high)


def _cell(table: Table, line: TableRow | None, compared: set[str]) -> TaskCell:
    if line is None:
        return TaskCell("-")
    cell = line.cells[table.headline]
    text = cell.text.partition(" ±")[0].partition(" [")[0]
    rank = _rank_set(table, line.model, compared) if line.model in compared else None
    values = _finite(table)
    if cell.value is None or not math.isfinite(cell.value) or len(values) < 2:
        return TaskCell(text, rank)
    ahead = sum(_is_better(table, value, cell.value) for value in values)
    return TaskCell(text, rank, ahead / (len(values) - 1))


def _rank_set(table: Table, name: str, compared: set[str]) -> tuple[int, int] | None:
    """Return the rank set of a model among these: behind all that are better, before all that are
    worse.
    """
    if not table.beats:
        return None
    before = sum(name in table.beats.get(other, ()) for other in compared)
    behind = sum(other in table.beats.get(name, ()) for other in compared)
    return 1 + before, len(compared) - behind


def _position(table: Table, name: str, compared: set[str]) -> float:
    """Return the rank by the value alone; equal values share the mean of their ranks."""
    values = {
        line.model: line.cells[table.headline].value or 0.0
        for line in table.lines
        if line.model in compared
    }
    own = values[name]
    ahead = sum(_is_better(table, value, own) for value in values.values())
    return ahead + (sum(value == own for value in values.values()) + 1) / 2


def _finite(table: Table) -> list[float]:
    found = (line.cells[table.headline].value for line in table.lines)
    return [value for value in found if value is not None and math.isfinite(value)]


def _is_better(table: Table, one: float, other: float) -> bool:
    return one > other if table.better == "higher" else one < other
