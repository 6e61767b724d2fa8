"""HTML: one self-contained page. Everything a model or a file said is escaped; the page loads nothing from anywhere."""

from __future__ import annotations

import base64
import unicodedata

from jinja2 import Environment, PackageLoader, StrictUndefined

from llmbench.columns import Cell, Column, stage_title
from llmbench.leaderboard import Board, Table
from llmbench.renderers.chart import svg

_environment = Environment(
    loader=PackageLoader("llmbench.renderers", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)

KEPT = "\n\t\u200c\u200d"  # joiners, which some scripts need, as some need wide or unbreakable spaces


def render(board: Board) -> str:
    """The page."""
    page: str = _environment.get_template("board.html.jinja").render(
        board=board, columns=_columns(board), stage_title=stage_title, bar=bar, sort_key=sort_key, visible=visible, picture=picture(board)
    )
    return page


def picture(board: Board) -> str:
    """The picture as an image inside the page, where nothing in it can run; "" where there is none."""
    drawn = svg(board.points)
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}" if drawn else ""


def _columns(board: Board) -> list[Column]:
    """What any table shows, once."""
    return list(dict.fromkeys(column for table in board.tables for column in table.columns))


def bar(table: Table, cell: Cell) -> dict[str, float] | None:
    """Where an interval's bar begins and how wide it is, and where its value stands, in percent of the column; None without a value."""
    low, high = table.scale
    if cell.value is None or not low <= cell.value <= high or high <= low:
        return None

    def place(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    begin, end = place(cell.value if cell.low is None else cell.low), place(cell.value if cell.high is None else cell.high)
    return {"begin": begin, "width": round(end - begin, 2), "value": place(cell.value)}


def sort_key(cell: Cell) -> str:
    """What the script sorts by: the number, or nothing where there is none."""
    return "" if cell.value is None else repr(cell.value)


def visible(text: str) -> str:
    """Control characters and marks that turn the direction of writing, shown as what they are instead of obeyed."""
    return "".join(c if c.isprintable() or c in KEPT or unicodedata.category(c) == "Zs" else f"\N{REPLACEMENT CHARACTER}{ord(c):x}" for c in text)
