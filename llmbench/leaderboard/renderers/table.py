"""The terminal: the verdict, and tables that fit its width."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llmbench.leaderboard.board import Board
from llmbench.leaderboard.columns import STAGES, Column, stage_title
from llmbench.leaderboard.overview.average import find_average
from llmbench.leaderboard.overview.overall import find_overall
from llmbench.leaderboard.renderers import sections
from llmbench.leaderboard.renderers.renderer import Renderer
from llmbench.leaderboard.renderers.sanitise import clean_terminal
from llmbench.leaderboard.renderers.sections import Section
from llmbench.leaderboard.renderers.serving import print_loads
from llmbench.leaderboard.renderers.terminal.grid import (
    STAYS,
    GridColumn,
    print_grid,
    print_prose,
)
from llmbench.leaderboard.renderers.terminal.screen import LINES, find_width
from llmbench.leaderboard.sentences.verdict import describe_verdict
from llmbench.leaderboard.tables import Table, TableRow, name_headline, order_by_rank
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import NEVER

Order = Literal["rank", "stage"]
NAME_CELLS = 24  # of a model's name, before other columns are left out
NEAR = 40  # by which columns of the headline's own group come first
FILES = "leaderboard.md or leaderboard.html"  # where the rest of a table stands
NAMED = 4  # of the columns that have no room
OWN = "·"  # the mark of a model without a stage


def print_to(console: Console, board: Board, by: Order = "rank") -> None:
    """Print the board in the width of the console: the verdict, then a table for each task, its
    models by rank with their stages as marks, or `by` stage under headings. Columns that have no
    room are left out; the files have them.
    """
    for sentence in board.state:
        _print(console, sentence, "bold yellow")
    said = {table.summary for table in board.tables}
    for sentence in [board.verdict, *(one for one in board.summary if one not in said)]:
        if sentence:
            _print(console, sentence, "bold")
    left_out = list[str]()
    for table in board.tables:
        console.print()
        found = _print_table(console, table, by, board.verdict)
        left_out = left_out or found
    _print_all_tasks(console, board)
    legend = _explain_marks(board.tables) if by == "rank" else ""
    for sentence in (legend, _name_left_out(left_out)):
        if sentence:
            console.print()
            print_prose(console, sentence, indent=0)
    print_loads(console, board.loads)
    for votes in board.votes:
        console.print()
        shown = [one for one in votes.parts if one.is_narrow]
        parts = [Section(one.heading, one.titles, one.rows) for one in shown]
        parts[-1] = replace(parts[-1], notes=list(votes.notes))
        sections.print_to(console, parts)
    _print_list(
        console,
        "Published elsewhere, not comparable",
        [f"{f.model}: {f.metric} {f.digits} ({f.protocol})" for f in board.published],
    )
    _print_list(
        console,
        "Failures",
        [
            f"{f.model}, {f.task}: {f.reason}: {f.message}{f' ({f.hint})' if f.hint else ''}"
            for f in board.failures
        ],
    )


def _print_all_tasks(console: Console, board: Board) -> None:
    """Print models by tasks with the average, of a board that has one."""
    average, overall = find_average(board.tables), find_overall(board.tables)
    if average is None or overall is None:
        return
    console.print()
    _print(console, "All tasks", "bold italic")
    names = [clean_terminal(row.model) for row in overall.rows]
    means = [average.cells[row.model].text for row in overall.rows]
    columns = [GridColumn("model", names, STAYS, is_numeric=False)]
    columns.append(GridColumn("average accuracy", means, STAYS, keeps_intervals=True))
    for number, (task, _) in enumerate(overall.tasks):
        texts = [row.cells[number].text for row in overall.rows]
        columns.append(GridColumn(clean_terminal(task), texts, 1))
    if left_out := print_grid(console, columns):
        count = f"{len(left_out)} of {len(overall.tasks)}"
        print_prose(console, f"{count} tasks have no room: see {FILES}.")
    for note in average.notes:
        print_prose(console, note)


def _print_list(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print()
        _print(console, title, "bold")
    for line in lines:
        print_prose(console, line, style="")


def render(board: Board, width: int = 120, by: Order = "rank") -> str:
    """Return the same as plain text."""
    out = io.StringIO()
    print_to(
        Console(file=out, width=width, height=LINES, no_color=True, legacy_windows=False), board, by
    )
    return out.getvalue()


def _print_table(console: Console, table: Table, by: Order, verdict: str) -> list[str]:
    """Print a table with its notes, and return the titles of the columns that had no room.

    verdict: what the board has said already.
    """
    rows = order_by_rank(table) if by == "rank" else table.lines
    title = name_headline(table)
    own = describe_verdict(table.field, None)
    known = (own, describe_verdict(table.field, None, several=True))
    said = f": {own}" if own and not verdict.startswith(known) else ""
    _print(console, f"{table.task}, {title}{said}", "bold italic")
    stages = {line.stage for line in rows}
    columns = _list_columns(table, rows)
    if by == "rank" and stages != {None} and len(stages) > 1:
        marks = [OWN if line.stage is None else str(line.stage) for line in rows]
        columns.insert(_find(columns, "model"), GridColumn("S", marks, STAYS, is_numeric=False))
    headings = _list_headings(rows) if by == "stage" else {}
    best = {number for number, line in enumerate(rows) if line.cells["rank"].low == 1}
    left_out = print_grid(console, columns, headings, best if len(best) < len(rows) else ())
    if members := {column.member for column in table.columns if column.member}:
        print_prose(console, f"Each of its parts, {len(members)}: see {FILES}.")
    for sentence in table.notes:
        print_prose(console, sentence)
    if table.signature:
        print_prose(console, f"Signature of {title}: {table.signature.replace(';', '; ')}")
    return left_out


def _name_left_out(titles: Sequence[str]) -> str:
    """Return where the columns are that a terminal has no room for, the first of them by name."""
    if not titles:
        return ""
    named, more = titles[:NAMED], len(titles) - NAMED
    others = [f"{more} more"] if more > 0 else []
    return f"No room here for {'; '.join([*named, *others])}: see {FILES}."


def _find(columns: Sequence[GridColumn], title: str) -> int:
    return next(number for number, column in enumerate(columns) if column.title == title)


def _list_columns(table: Table, rows: Sequence[TableRow]) -> list[GridColumn]:
    """Rank, model and the headline, then the others, the most important first."""
    first = ("rank", "model", table.headline)
    shown = [column for column in table.columns if column.priority != NEVER or column.key in first]
    shown.sort(
        key=lambda c: (first.index(c.key), 0) if c.key in first else (3, -_weigh(c, table.headline))
    )
    return [
        GridColumn(
            clean_terminal(column.title),
            [clean_terminal(line.cells[column.key].text) for line in rows],
            STAYS if column.key in first else _weigh(column, table.headline),
            column.is_numeric,
            _find_least(rows) if column.key == "model" else None,
            keeps_intervals=column.key == table.headline,
        )
        for column in shown
    ]


def _weigh(column: Column, headline: str) -> int:
    """The importance of a column beside this headline: of answers and texts, what tells about them
    comes before what they cost.
    """
    group, own = (FACTS[k].group if k in FACTS else "" for k in (headline, _name(column.key)))
    is_near = group == own and group in ("answers", "generation")
    return min(column.priority + (NEAR if is_near else 0), STAYS - 1)


def _name(key: str) -> str:
    """The metric of a column."""
    return key.partition(":")[0].partition("@")[0]


def _find_least(rows: Sequence[TableRow]) -> int:
    """The cells that names get before any other column."""
    longest = max((cell_len(clean_terminal(line.model)) for line in rows), default=1)
    return min(longest, NAME_CELLS)


def _list_headings(rows: Sequence[TableRow]) -> Mapping[int, str]:
    """The titles of stages, each before its first row."""
    return {
        number: clean_terminal(stage_title(line.stage))
        for number, line in enumerate(rows)
        if number == 0 or rows[number - 1].stage != line.stage
    }


def _explain_marks(tables: Sequence[Table]) -> str:
    """Return what the marks of stages mean, those that are there."""
    stages = {line.stage for table in tables for line in table.lines}
    if len(stages) < 2:
        return ""
    known = sorted(stage for stage in stages if stage is not None)
    named = [
        f"{stage} {STAGES[stage].rpartition(': ')[2].lower()}" for stage in known if stage in STAGES
    ]
    own = [f"{OWN} {STAGES[None].lower()}"] if None in stages else []
    return f"S: stage of the roadmap ({'; '.join([*named, *own])})."


def _print(console: Console, text: str, style: str) -> None:
    """Print a sentence in which nothing is markup and nothing controls the terminal."""
    console.print(Text(clean_terminal(text), style=style))


class TableRenderer(Renderer):
    """This format, for the registry."""

    ending = "txt"

    def render(self, board: Board) -> str:
        """Return `render(board)`, as wide as the terminal."""
        return render(board, find_width())
