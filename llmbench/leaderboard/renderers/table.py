"""The terminal: the board as coloured tables."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from llmbench.leaderboard.board import Board
from llmbench.leaderboard.columns import stage_title
from llmbench.leaderboard.renderers.renderer import Renderer
from llmbench.leaderboard.renderers.sanitise import clean_terminal
from llmbench.leaderboard.renderers.serving import print_loads
from llmbench.leaderboard.tables import Table
from llmbench.metrics.metric import ALWAYS, NEVER

MODEL_WIDTH = 12  # at least: stage titles stand in this column too
FOLD = "fold"


def print_to(console: Console, board: Board) -> None:
    """Print the board. Columns that do not fit are left out; the files have them."""
    for sentence in board.summary:
        console.print(_text(sentence), style="bold")
    if board.tables:
        console.print()
    for table in board.tables:
        console.print(_fit(console, table))
        for note in table.notes:
            console.print(_text(note, "  "), style="dim")
    print_loads(console, board.loads)
    if board.published:
        listed = RichTable(
            title="published elsewhere, not comparable",
            title_justify="left",
            show_edge=False,
        )
        for title in ("model", "metric", "figure", "protocol"):
            listed.add_column(title, overflow="fold")
        for figure in board.published:
            listed.add_row(
                *(
                    _text(text)
                    for text in (figure.model, figure.metric, figure.digits, figure.protocol)
                )
            )
        console.print(listed)
    if board.failures:
        rows = RichTable(title="failures", title_justify="left", show_edge=False)
        for title in ("model", "task", "reason", "message"):
            rows.add_column(title, overflow="fold")
        for failure in board.failures:
            message = f"{failure.message} ({failure.hint})" if failure.hint else failure.message
            rows.add_row(
                *(_text(text) for text in (failure.model, failure.task, failure.reason, message))
            )
        console.print(rows)


def render(board: Board, width: int = 120) -> str:
    """Return the same as plain text."""
    out = io.StringIO()
    print_to(Console(file=out, width=width, no_color=True, legacy_windows=False), board)
    return out.getvalue()


def _fit(console: Console, table: Table) -> RichTable:
    """The table with as many columns as the terminal has room for; stage titles are folded before a
    column is left out.
    """
    shown = [column for column in table.columns if column.priority != NEVER]
    droppable = sorted(
        (column for column in shown if column.priority < ALWAYS), key=lambda c: c.priority
    )
    left, fold = [column.key for column in shown], False
    for key in (FOLD, *(column.key for column in droppable), ""):
        drawn = _table(table, left, fold)
        if (
            not key
            or Measurement.get(console, console.options.update(width=10_000), drawn).maximum
            <= console.width
        ):
            break
        fold = True
        if key != FOLD:
            left.remove(key)
    return drawn


def _table(table: Table, shown: Sequence[str], fold: bool) -> RichTable:
    columns = [column for column in table.columns if column.key in (*shown, table.headline)]
    rich = RichTable(
        title=_text(f"{table.task}: {table.signature}"),
        title_justify="left",
        show_edge=False,
        title_style="italic",
    )
    for column in columns:
        names = column.key == "model"
        whole = (
            min(40, max(MODEL_WIDTH, *(len(line.model) for line in table.lines)))
            if names and fold
            else None
        )
        rich.add_column(
            column.title,
            justify="right" if column.is_numeric else "left",
            no_wrap=not names,
            width=whole,
        )
    stage: object = object()
    for line in table.lines:
        if line.stage != stage:
            if rich.row_count:
                rich.add_section()
            stage = line.stage
            rich.add_row(
                *(
                    Text(stage_title(line.stage), style="bold") if column.key == "model" else ""
                    for column in columns
                )
            )
        rich.add_row(*(_text(line.cells[column.key].text) for column in columns))
    return rich


def _text(text: str, indent: str = "") -> Text:
    """Text in which nothing is markup and nothing controls the terminal."""
    return Text(indent + clean_terminal(text))


class TableRenderer(Renderer):
    """This format, for the registry."""

    ending = "txt"

    def render(self, board: Board) -> str:
        """Return `render(board)`."""
        return render(board)
