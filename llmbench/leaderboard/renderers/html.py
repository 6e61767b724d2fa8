"""HTML: one self-contained page. Text of models and files is escaped; the page loads nothing."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from llmbench.leaderboard import heatmap as bits
from llmbench.leaderboard.board import Board
from llmbench.leaderboard.cells import Cell
from llmbench.leaderboard.columns import NAME_CHARACTERS, Column, stage_title
from llmbench.leaderboard.numbers import format_plain
from llmbench.leaderboard.plots import Curve
from llmbench.leaderboard.renderers.chart import NARROW, STAGES, WIDE, Axis, Look, svg
from llmbench.leaderboard.renderers.renderer import Renderer
from llmbench.leaderboard.renderers.sanitise import show_html
from llmbench.leaderboard.renderers.serving import draw_loads
from llmbench.leaderboard.tables import Table
from llmbench.leaderboard.words import cut

_loader = PackageLoader("llmbench.leaderboard.renderers", "templates")
_environment = Environment(
    loader=_loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)

LEVELS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # bits per byte at which a darker colour begins
SCALE = ("0", "¼", "½", "1", "2", "3", "4", "6", "8")
SAID = {
    "speed": "The size of a bubble shows peak memory.",
    "memory": "Peak memory: of the GPU if there is one, otherwise RAM.",
}
MOST_DOTS = 60  # a curve of more points has none of them marked
PLOT = (0.0, 240.0, 8.0, 88.0)  # left, right, top and bottom of a curve's picture


@dataclass(frozen=True)
class Picture:
    """The same points, drawn for a wide and for a narrow page."""

    axis: str
    wide: Markup
    narrow: Markup
    said: str
    front: Sequence[str]


@dataclass(frozen=True)
class DrawnCurve:
    model: str
    stage: int | None
    line: str
    dots: Sequence[tuple[float, float, str]]
    top: str
    bottom: str
    said: str


def render(board: Board) -> str:
    """Return the page."""
    drawn, curves, shown = (
        pictures(board),
        draw_curves(board.curves),
        [_draw_passage(passage) for passage in board.passages],
    )
    stages = sorted(
        {model.stage for model in board.models},
        key=lambda stage: math.inf if stage is None else stage,
    )
    page: str = _environment.get_template("board.html.jinja").render(
        **{
            "board": board,
            "columns": _columns(board),
            "style": _source("board.css"),
            "script": _source("board.js"),
        },
        **{
            "stage_title": stage_title,
            "stage_key": stage_key,
            "stage_class": stage_class,
            "column_class": _column_class,
            "is_brief": _is_brief,
        },
        **{
            "bar": bar,
            "sort_key": sort_key,
            "show": show_html,
            "sections": _sections(board, bool(drawn), bool(curves)),
        },
        **{
            "pictures": drawn,
            "curves": curves,
            "passages": shown,
            "scale": SCALE,
            "stages": stages,
        },
        loads_drawn=_draw_loads(board),
        stages_drawn=[
            stage for stage in stages if stage in {point.stage for point in board.points}
        ],
        stage_of={_cut_name(model.name): model.stage for model in board.models},
    )
    return page


def _draw_loads(board: Board) -> Markup | None:
    """Return the picture of throughput against latency, if there is one."""
    drawn = draw_loads(board.loads, WIDE)
    return _embed(drawn, "Median latency against throughput") if drawn else None


def _source(name: str) -> Markup:
    """Return a template file unescaped."""
    # ours, and no template
    return Markup(_loader.get_source(_environment, name)[0].strip())  # noqa: S704


def _cut_name(name: str) -> str:
    return cut(name, NAME_CHARACTERS)


def _sections(board: Board, has_picture: bool, has_curves: bool) -> list[tuple[str, str]]:
    """Return the links of the page's navigation: anchor and title."""
    passages = any(passage.rows for passage in board.passages)
    tables = [(f"table-{number}", table.task) for number, table in enumerate(board.tables, 1)]
    tables += [
        (f"serving-{number}", f"serving: {table.task}")
        for number, table in enumerate(board.loads, 1)
    ]
    after = [
        *(
            ("curves", "training", has_curves),
            ("bits", "where the bits go", passages),
            ("samples", "samples", board.sayings),
        ),
        *(
            ("failures", "failures", board.failures),
            ("certificates", "certificates", board.proofs),
            ("made", "provenance", board.provenance),
        ),
    ]
    return [
        *([("front", "quality and cost")] if has_picture else []),
        *tables,
        *((id, title) for id, title, there in after if there),
    ]


def stage_key(stage: int | None) -> str:
    """Return a stage as the page's filter names it."""
    return "own" if stage is None else str(stage)


def stage_class(stage: int | None) -> str:
    """Return the CSS class with a stage's colour."""
    return f"s{stage}" if stage in STAGES else "s-other"


def _column_class(column: Column) -> str:
    return ("number" if column.is_numeric else "text") + (" model" if column.key == "model" else "")


def _is_brief(table: Table, column: Column) -> bool:
    return column.key == table.headline or column.is_brief


def pictures(board: Board) -> list[Picture]:
    """Return a picture for each axis; none if fewer than two models have the numbers."""
    found = []
    for axis in get_args(Axis):
        if not svg(board.points, axis, WIDE):
            continue
        on_front = [
            point.model
            for point in board.points
            if (point.front if axis == "speed" else point.lean)
        ]
        words = (
            f"Bits per byte against {axis}, a bubble for each model; the tables have the same"
            " numbers."
        )
        found.append(
            Picture(
                axis,
                _inline(board, axis, WIDE, words),
                _inline(board, axis, NARROW, words),
                SAID[axis],
                on_front,
            )
        )
    return found


def _inline(board: Board, axis: Axis, look: Look, words: str) -> Markup:
    """Return a picture as part of the page."""
    return _embed(svg(board.points, axis, look), words)


def _embed(drawn: str, words: str) -> Markup:
    """Return Vega's picture as part of a page. It escapes names; its outer element is replaced."""
    start = re.match(r'<svg[^>]*? viewBox="([\d. -]+)"[^>]*>', drawn)
    if start is None:
        raise ValueError("the picture does not begin as Vega's do")
    return Markup(  # noqa: S704
        f'<svg class="vega" viewBox="{start[1]}" role="group"'
        f' aria-label="{words}">{drawn[start.end() :]}'
    )


def draw_curves(curves: Sequence[Curve]) -> list[DrawnCurve]:
    """Return the curves on shared axes: bits per byte, and log(1 + step)."""
    if not curves:
        return []
    bits = [y for curve in curves for _, y in curve.points]
    steps = [max(x, 0.0) for curve in curves for x, _ in curve.points]
    low, high, first, last = (
        min(bits),
        max(bits),
        min(step for step in steps if step > 0),
        max(steps),
    )
    left, right, top, bottom = PLOT

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log1p(max(x, 0.0) / first) / math.log1p(last / first)
        down = (high - y) / (high - low) if high > low else 0.5
        return round(left + 4 + (right - left - 8) * across, 1), round(
            top + (bottom - top) * down, 1
        )

    drawn = []
    for curve in curves:
        dots = [
            (*place(x, y), f"step {x:g}: {format_plain(y, 4)} bits/byte") for x, y in curve.points
        ]
        step, best = min(curve.points, key=lambda point: point[1])
        last = max(x for x, _ in curve.points)
        said = f"best {format_plain(best, 3)} bits/byte at step {step:g} of {last:g}"
        line = " ".join(f"{x:g},{y:g}" for x, y, _ in dots)
        shown = dots if len(dots) <= MOST_DOTS else []
        drawn.append(
            DrawnCurve(
                curve.model,
                curve.stage,
                line,
                shown,
                format_plain(high, 2),
                format_plain(low, 2),
                said,
            )
        )
    return drawn


@dataclass(frozen=True)
class DrawnLine:
    """One line of a passage for one model: (colour level, tip, text) of each span, and the spans'
    bits per byte as the script reads them.
    """

    model: str
    stage: int | None
    spans: Sequence[tuple[int, str, str]]
    bits: str


@dataclass(frozen=True)
class DrawnPassage:
    """A passage: for each of its lines, a row for each model."""

    task: str
    id: str
    lines: Sequence[Sequence[DrawnLine]]
    totals: Sequence[tuple[str, str]]
    left_out: Sequence[str]


def _draw_passage(passage: bits.Heatmap) -> DrawnPassage:
    """Return a passage line by line, with a row for each model in each line."""
    by_row = [(row, bits.lines(passage, row)) for row in passage.rows]
    lines = [
        [_draw_line(row, spans) for row, lines in by_row for spans in (lines[number],)]
        for number in range(len(by_row[0][1]) if by_row else 0)
    ]
    totals = [
        (row.model, format_plain(bits.bits_per_byte(passage, row), 2)) for row in passage.rows
    ]
    return DrawnPassage(passage.task, passage.id, lines, totals, passage.left_out)


def _draw_line(row: bits.HeatmapRow, spans: Sequence[bits.Span]) -> DrawnLine:
    shares = [span.bits / span.bytes for span in spans]
    drawn = [
        (bisect_right(LEVELS, share), _tip(span), _mark_breaks(span.text))
        for span, share in zip(spans, shares, strict=True)
    ]
    values = " ".join(format_plain(share, 2) for share in shares)
    return DrawnLine(row.model, row.stage, drawn, values)


def _tip(span: bits.Span) -> str:
    cost = "infinite bits" if math.isinf(span.bits) else f"{format_plain(span.bits, 2)} bits"
    many = f", {format_plain(span.bits / span.bytes, 2)} a byte" if span.bytes > 1 else ""
    notes = (f", in {span.pieces} pieces" if span.pieces > 1 else "") + (
        ", spelled" if span.spelled else ""
    )
    return f"“{_mark_breaks(span.piece)}” {cost}{many}{notes}"


def _mark_breaks(text: str) -> str:
    """Return text of a passage with its line breaks as visible signs."""
    return show_html("".join(bits.MARKS.get(c, c) for c in text))


def _columns(board: Board) -> list[Column]:
    """Return the columns of all tables, each once."""
    return list(dict.fromkeys(column for table in board.tables for column in table.columns))


def bar(table: Table, cell: Cell) -> dict[str, float] | None:
    """Return an interval's bar in percent of the column: begin, width and value."""
    low, high = table.scale
    if cell.value is None or not low <= cell.value <= high or high <= low:
        return None

    def place(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    begin, end = (
        place(cell.value if cell.low is None else cell.low),
        place(cell.value if cell.high is None else cell.high),
    )
    return {"begin": begin, "width": round(end - begin, 2), "value": place(cell.value)}


def sort_key(cell: Cell) -> str:
    """Return what the page's script sorts by: the number, or "" if there is none."""
    return "" if cell.value is None else repr(cell.value)


class HtmlRenderer(Renderer):
    """This format, for the registry."""

    ending = "html"

    def render(self, board: Board) -> str:
        """Return `render(board)`."""
        return render(board)
