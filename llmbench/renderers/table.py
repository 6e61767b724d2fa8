"""The terminal: the board as coloured tables."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from llmbench.leaderboard import Board, Table, stage_title

SHOWN = ("rank", "model", "bits_per_byte", "byte_perplexity", "word_perplexity", "spelling_share", "tokenizer", "parameters", "training_seconds")


def print_to(console: Console, board: Board) -> None:
    """Print the board; wide columns are left to the files."""
    for table in board.tables:
        console.print(_table(table))
        for note in table.notes:
            console.print(_plain(f"  {note}"), style="dim")
    if not board.tables:
        console.print("nothing was measured")
    if board.failures:
        rows = RichTable(title="not measured", title_justify="left", show_edge=False)
        for title in ("model", "task", "reason", "message"):
            rows.add_column(title, overflow="fold")
        for failure in board.failures:
            message = f"{failure.message} ({failure.hint})" if failure.hint else failure.message
            rows.add_row(*(_plain(text) for text in (failure.model, failure.task, failure.reason, message)))
        console.print(rows)


def render(board: Board, width: int = 120) -> str:
    """The same as plain text."""
    out = io.StringIO()
    print_to(Console(file=out, width=width, no_color=True, legacy_windows=False), board)
    return out.getvalue()


def _table(table: Table) -> RichTable:
    columns = [column for column in table.columns if column.key in SHOWN]
    rich = RichTable(title=_plain(f"{table.task}: {table.signature}"), title_justify="left", show_edge=False, title_style="italic")
    for column in columns:
        rich.add_column(column.title, justify="right" if column.numeric else "left", no_wrap=column.key != "model")
    stage: object = object()
    for line in table.lines:
        if line.stage != stage:
            if rich.row_count:
                rich.add_section()
            stage = line.stage
            rich.add_row(*(Text(stage_title(line.stage), style="bold") if column.key == "model" else "" for column in columns))
        rich.add_row(*(_plain(line.cells[column.key].text) for column in columns))
    return rich


def _plain(text: str) -> Text:
    """Nothing in it is markup, and nothing speaks to the terminal."""
    return Text("".join(c if c.isprintable() else " " for c in text))
