"""Where the bits go, as the page draws it: passages line by line, with a row for each model."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.leaderboard import heatmap as bits
from llmbench.leaderboard.numbers import format_plain
from llmbench.leaderboard.renderers.sanitise import show_html

LEVELS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # bits per byte at which a darker colour begins
SCALE = ("0", "¼", "½", "1", "2", "3", "4", "6", "8")


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


def draw_passage(passage: bits.Heatmap) -> DrawnPassage:
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
