"""The mean accuracy of the models over the tasks of a board, with its interval. From the tables
alone, so that merged boards have it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.leaderboard.cells import Cell
from llmbench.leaderboard.numbers import format_fixed, percent, show_interval
from llmbench.leaderboard.tables import Table
from llmbench.leaderboard.words import join_words
from llmbench.metrics.facts import FACTS
from llmbench.results.signature import Signature

ACCURACY = FACTS["accuracy"]


@dataclass(frozen=True)
class Average:
    """`cells`: model -> its mean over all `tasks`, "-" if it lacks one of them. `notes`: sentences
    on what the mean is of, and on how it misleads.
    """

    tasks: Sequence[str]
    cells: Mapping[str, Cell]
    notes: Sequence[str]


def find_average(tables: Sequence[Table]) -> Average | None:
    """Return the mean accuracies; None with fewer than two tables that go by accuracy."""
    found = [table for table in tables if table.headline == ACCURACY.name]
    parts = find_parts(found)
    asked = [table for table in found if table.task not in parts]
    if len(asked) < 2:
        return None
    texts = [Signature.parse(t.signature).values().get("text", t.task) for t in asked]
    lines = [{line.model: line.cells[ACCURACY.name] for line in table.lines} for table in asked]
    models = dict.fromkeys(line.model for table in tables for line in table.lines)
    cells = {
        model: _average([line[model] for line in lines], texts)
        if all(model in line for line in lines)
        else Cell("-")
        for model in models
    }
    notes = _describe(asked, cells)
    notes += [f"{part} counts once, as a part of {whole}." for part, whole in parts.items()]
    return Average([table.task for table in asked], cells, notes)


def find_parts(tables: Sequence[Table]) -> dict[str, str]:
    """Return the tasks that stand on a board by themselves and as a part of a group, and of which
    group.
    """
    tasks = {table.task for table in tables}
    return {
        part: table.task
        for table in tables
        for column in table.columns
        if (part := column.key.rpartition(":")[2]) in tasks - {table.task} and ":" in column.key
    }


def _average(found: Sequence[Cell], texts: Sequence[str]) -> Cell:
    from llmbench.stats import Interval, mean_interval  # loads numpy, which few boards need

    if any(cell.value is None for cell in found):
        return Cell("-")
    mean = mean_interval([Interval(c.value or 0.0, c.low, c.high, 1) for c in found], texts)

    def show(value: float) -> str:
        return format_fixed(100 * value, 1)

    if mean.low is None or mean.high is None:
        return Cell(f"{show(mean.value)} %", mean.value)
    text = show_interval(mean.value, mean.low, mean.high, ACCURACY.bounds, show, None, " %")
    return Cell(text, mean.value, mean.low, mean.high)


def _describe(asked: Sequence[Table], cells: Mapping[str, Cell]) -> list[str]:
    said = [
        f"Average: the mean accuracy of {len(asked)} tasks, each of the same weight; its 95 %"
        " interval takes tasks about different texts as independent."
    ]
    seen = {line.model for table in asked for line in table.lines}
    if lacking := [name for name, cell in cells.items() if name in seen and cell.value is None]:
        said.append(f"No average, because a task is missing: {join_words(lacking)}.")
    levels = {_find_chance(table) for table in asked}
    if len(levels) > 1:
        known = sorted(float(level) for level in levels if level is not None)
        ends = list(dict.fromkeys(percent(level) for level in (known[0], known[-1])))
        none = ", or have no candidates" if None in levels else ""
        said.append(
            f"The average mixes chance levels: its tasks have {' to '.join(ends)}{none}."
            " Equal differences in it are not of equal worth; see each task."
        )
    return said


def _find_chance(table: Table) -> float | None:
    """The share that is right by chance, to a thousandth; None where nothing can be guessed."""
    found = [line.cells["chance"].value for line in table.lines]
    return next((round(value, 3) for value in found if value is not None), None)
