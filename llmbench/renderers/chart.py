"""The picture: quality against speed, memory as the size of a bubble, the front as a line. Altair makes the chart, vl-convert draws it, offline.

Both are imported when something is drawn: they take a second that no other command should wait for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from llmbench.columns import stage_title
from llmbench.leaderboard import Point

WIDTH, HEIGHT = 640, 360
NO_CHARACTERS = "\ufffe\uffff"  # which a program that writes XML may not write


def chart(points: Sequence[Point]) -> dict[str, Any]:
    """The Vega-Lite specification. Up is better, right is faster: the best corner is the upper right."""
    import altair as alt

    order = sorted((point for point in points if point.rate > 0), key=lambda point: 99 if point.stage is None else point.stage)
    rows = [
        {
            "model": plain(point.model),
            "stage": stage_title(point.stage),
            "bits per byte": point.bits,
            "bytes per second": point.rate,
            "peak memory (MiB)": None if point.memory is None else point.memory / 2**20,
            "front": point.front,
        }
        for point in order
    ]
    stages = list(dict.fromkeys(stage_title(point.stage) for point in order))
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]  # altair's own, without types
    x = alt.X("bytes per second:Q", scale=alt.Scale(type="log", nice=False, padding=30), title="bytes of text a second (more is better)")
    y = alt.Y("bits per byte:Q", scale=alt.Scale(zero=False, reverse=True, padding=20), title="bits per byte (less is better, and higher up)")
    front = alt.Chart(data).transform_filter("datum.front").mark_line(interpolate="step-before", strokeDash=[4, 3], color="#888").encode(x=x, y=y)
    size = [alt.Size("peak memory (MiB):Q", scale=alt.Scale(range=[60, 900]), title="peak memory (MiB)")] if any(p.memory for p in points) else []
    tips = ["model:N", "bits per byte:Q", "bytes per second:Q", "peak memory (MiB):Q"]
    bubbles = alt.Chart(data).mark_circle(opacity=0.75).encode(x, y, *size, color=alt.Color("stage:N", title=None, sort=stages), tooltip=tips)
    names = alt.Chart(data).mark_text(align="left", dx=11, dy=-8, fontSize=11, limit=180).encode(x=x, y=y, text="model:N")
    made = alt.layer(front, bubbles, names).properties(width=WIDTH, height=HEIGHT)
    return dict(json.loads(made.to_json()))


def plain(text: str) -> str:
    """Text that XML can hold: control characters, lone surrogates and what is no character become a mark."""
    return "".join(c if c.isprintable() and c not in NO_CHARACTERS else "\N{REPLACEMENT CHARACTER}" for c in text)


@lru_cache(maxsize=4)
def _drawn(points: tuple[Point, ...]) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart(points)))


def svg(points: Sequence[Point]) -> str:
    """The picture as a file that needs nothing else; "" with fewer than two models."""
    return _drawn(tuple(points)) if len(points) > 1 else ""
