"""Tables of the page: intervals on a scale that shows differences, and the few columns of the first
screen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.leaderboard.cells import Cell
from llmbench.leaderboard.columns import COLUMNS, Column
from llmbench.leaderboard.numbers import format_plain
from llmbench.leaderboard.renderers.page.axes import find_range
from llmbench.leaderboard.tables import Table
from llmbench.metrics.facts import SPEED

# columns of the first screen, behind rank, model and headline; a narrow page lacks the last ones
BRIEF = (
    SPEED,
    "word_perplexity",
    "parameters",
    "peak_gpu_reserved",
    "peak_ram",
    "time_to_first_token",
    "decode_tokens_per_second",
    "training_seconds",
)
MOST_BRIEF = 5


@dataclass(frozen=True)
class Interval:
    """A value and its interval in percent of a scale. `beyond`: it lies outside, at that end."""

    begin: float
    width: float
    value: float
    beyond: str = ""


@dataclass(frozen=True)
class Scale:
    """The range of a table's intervals, and its ends as text."""

    low: float
    high: float
    ends: tuple[str, str]


def find_scale(table: Table) -> Scale | None:
    """Return the scale of a table's headline: as wide as its ranked models are apart, without those
    that are far worse; None if there are no two values.
    """
    lines = [line for line in table.lines if line.cells["rank"].value is not None]
    cells = [line.cells[table.headline] for line in lines or table.lines]
    values = [c.value for c in cells if c.value is not None and math.isfinite(c.value)]
    if len(values) < 2:
        return None
    low, high = find_range(values, better=table.better)
    for cell in cells:
        if cell.value is not None and low <= cell.value <= high:
            low = min(low, cell.value if cell.low is None else cell.low)
            high = max(high, cell.value if cell.high is None else cell.high)
    if not math.isfinite(high - low) or high <= low:
        return None
    digits = max(0, min(4, 1 - math.floor(math.log10(high - low))))
    return Scale(low, high, (format_plain(low, digits), format_plain(high, digits)))


def draw_interval(scale: Scale | None, cell: Cell) -> Interval | None:
    """Return where a cell's interval stands on a scale; None without a finite value."""
    if scale is None or cell.value is None or not math.isfinite(cell.value):
        return None

    def place(value: float) -> float:
        kept = min(max(value, scale.low), scale.high)
        return round(100 * (kept - scale.low) / (scale.high - scale.low), 2)

    if not scale.low <= cell.value <= scale.high:
        at = place(cell.value)
        return Interval(at, 0.0, at, "low" if at < 50 else "high")
    begin = place(cell.value if cell.low is None else cell.low)
    end = place(cell.value if cell.high is None else cell.high)
    return Interval(begin, round(end - begin, 2), place(cell.value))


def choose_columns(table: Table) -> list[Column]:
    """Return the columns of the first screen that some model has, beside rank, model and
    headline.
    """
    known = {column.key: column for column in (*COLUMNS, *table.columns)}
    found = [
        known[key]
        for key in BRIEF
        if key != table.headline
        and key in known
        and any(line.cells[key].text not in ("", "-") for line in table.lines if key in line.cells)
    ]
    return found[:MOST_BRIEF]


def cut_interval(text: str) -> str:
    """Return a cell's text without its interval, for a column that has no room for it."""
    return text.partition(" ±")[0].partition(" [")[0]


def make_anchors(prefix: str, names: Sequence[str]) -> list[str]:
    """Return an id for each name, all different, of letters, digits and hyphens alone."""
    made: dict[str, None] = {}
    for name in names:
        word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "model"
        found, number = f"{prefix}-{word}", 2
        while found in made:
            found, number = f"{prefix}-{word}-{number}", number + 1
        made[found] = None
    return list(made)
