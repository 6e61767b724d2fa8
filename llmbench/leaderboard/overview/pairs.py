"""Who is significantly better than whom: a table's pairs, as a square of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.leaderboard.tables import Table

BETTER, WORSE, OPEN, SELF = "+", "-", "=", "."
MOST_CELLS = 24_000  # of a page


@dataclass(frozen=True)
class Pairs:
    """The ranked models of a table, the best first, and for each a word: a sign for each of them.

    `BETTER`: the row's model is significantly better than the column's; `WORSE`; `OPEN`: the test
    did not tell; `SELF`.
    """

    task: str
    metric: str
    models: Sequence[tuple[str, int | None, str]]  # name, stage, text of the value
    signs: Sequence[str]


def find_pairs(tables: Sequence[Table]) -> tuple[list[Pairs], list[str]]:
    """Return the pairs of the tables that have tests, and the titles of those that a page has no
    room for.
    """
    made, left_out, room = [], [], MOST_CELLS
    for table in tables:
        pairs = _pair(table)
        if pairs is None:
            continue
        room -= len(pairs.models) ** 2
        if room < 0:
            left_out.append(table.task)
        else:
            made.append(pairs)
    return made, left_out


def _pair(table: Table) -> Pairs | None:
    beats = table.beats
    if not beats:
        return None
    ranked = [line for line in table.lines if line.model in beats]
    ranked.sort(key=lambda line: (line.cells["rank"].value or 0.0, _badness(table, line.model)))
    if len(ranked) < 2:
        return None
    names = [line.model for line in ranked]

    def sign(row: str, column: str) -> str:
        if row == column:
            return SELF
        if column in beats[row]:
            return BETTER
        return WORSE if row in beats[column] else OPEN

    signs = ["".join(sign(row, column) for column in names) for row in names]
    title = next(column.title for column in table.columns if column.key == table.headline)
    shown = [(line.model, line.stage, line.cells[table.headline].text) for line in ranked]
    return Pairs(table.task, title, shown, signs)


def _badness(table: Table, model: str) -> float:
    line = next(line for line in table.lines if line.model == model)
    value = line.cells[table.headline].value or 0.0
    return -value if table.better == "higher" else value
