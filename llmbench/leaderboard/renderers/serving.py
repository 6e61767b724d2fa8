"""The section on serving in the terminal, and as a picture: throughput against latency."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from rich.console import Console
from rich.text import Text

from llmbench.leaderboard.renderers.chart import PAPER, Look, theme
from llmbench.leaderboard.renderers.sanitise import clean_svg, clean_terminal
from llmbench.leaderboard.renderers.terminal.grid import (
    STAYS,
    GridColumn,
    print_grid,
    print_prose,
)
from llmbench.leaderboard.serving.section import LoadRow, LoadTable

RATE = ("serving_tokens_per_second", "serving_requests_per_second")
LATENCY = "serving_latency p50"
PICTURE = "serving.svg"


def list_cells(table: LoadTable, row: LoadRow) -> list[str]:
    """Return the texts of a row: model, level, and each column."""
    texts = [row.values[key][0] if key in row.values else "-" for key in table.columns]
    return [row.model, row.title, *texts]


def list_titles(table: LoadTable) -> list[str]:
    """Return the titles of the columns."""
    return ["model", "load", *(title for title, _ in table.columns.values())]


def print_loads(console: Console, tables: Sequence[LoadTable]) -> None:
    """Print the tables; of percentiles only the median and the highest. The first columns are the
    last that a narrow terminal leaves out.
    """
    for table in tables:
        shown = [key for key in table.columns if not key.endswith(("p90", "p95"))]
        console.print()
        heading = f"serving: {clean_terminal(table.task)}"
        console.print(Text(heading, style="bold italic"))
        columns = [
            GridColumn("model", [clean_terminal(row.model) for row in table.rows], least=16),
            GridColumn("load", [clean_terminal(row.title) for row in table.rows], least=16),
        ]
        columns = [replace(column, is_numeric=False) for column in columns]
        for number, key in enumerate(shown):
            texts = [row.values[key][0] if key in row.values else "-" for row in table.rows]
            cells = [clean_terminal(text).partition(" [")[0] for text in texts]
            columns.append(GridColumn(table.columns[key][0], cells, STAYS - 1 - number))
        print_grid(console, columns)
        for note in table.notes:
            print_prose(console, note)


def specify_chart(tables: Sequence[LoadTable], look: Look = PAPER) -> dict[str, object] | None:
    """Return the Vega-Lite specification of throughput against latency, a line for each model and
    kind of load; None with fewer than two levels.
    """
    rows = [row for table in tables for row in table.rows if LATENCY in row.values]
    rate = next((key for key in RATE if rows and all(key in row.values for row in rows)), "")
    if not rate or len(rows) < 2:
        return None
    import altair as alt  # half a second, which a board without serving need not wait

    unit = "tokens/s" if rate == RATE[0] else "requests/s"
    data = alt.Data(values=[_plot(row, rate) for row in rows])  # type: ignore[no-untyped-call]  # altair's own, without types
    x = alt.X("rate:Q", title=f"throughput, {unit} (more is better)", scale=alt.Scale(zero=True))
    y = alt.Y(
        "latency:Q",
        title="median end-to-end latency, ms (less is better)",
        scale=alt.Scale(zero=True),
    )
    colour = alt.Color("model:N", title=None)
    base: Any = alt.Chart(data).encode(x=x, y=y)
    dash = alt.StrokeDash("kind:N", title=None)
    line = base.mark_line().encode(color=colour, strokeDash=dash, order="amount:Q")
    tips = ["model:N", "load:N", "rate:Q", "latency:Q"]
    dots = base.mark_circle(size=70, opacity=1).encode(
        color=colour, tooltip=tips, description="said:N"
    )
    names = base.mark_text(dx=6, dy=-8, align="left", color=look.ink, aria=False).encode(
        text="label:N"
    )
    made = alt.layer(line, dots, names).properties(width=look.width, height=look.height)
    return {**json.loads(made.to_json()), "config": theme(look)}


def _plot(row: LoadRow, rate: str) -> dict[str, str | float]:
    model, load = clean_svg(row.model), row.title
    value, latency = row.values[rate][1], 1e3 * row.values[LATENCY][1]
    return {
        "model": model,
        "load": load,
        "label": f"{row.amount:g}" + ("" if row.arrivals == "closed" else "/s"),
        "kind": "closed loop" if row.arrivals == "closed" else f"open loop, {row.arrivals}",
        "amount": row.amount,
        "rate": value,
        "latency": latency,
        "said": f"{model}; {load}; {value:.1f} a second; {latency:.1f} ms",
    }


def draw_loads(tables: Sequence[LoadTable], look: Look = PAPER) -> str:
    """Return the picture as SVG; "" with fewer than two levels."""
    specification = specify_chart(tables, look)
    return _draw(json.dumps(specification)) if specification else ""


@lru_cache(maxsize=8)
def _draw(specification: str) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(specification))
