"""The picture: quality against speed or memory, the front as a line. Altair makes the chart,
vl-convert draws it, offline.

Both are imported when something is drawn: they take a second that no other command should wait for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from llmbench.errors import UsageError, did_you_mean
from llmbench.leaderboard.columns import stage_title
from llmbench.leaderboard.numbers import format_fixed, format_plain
from llmbench.leaderboard.plots import Point
from llmbench.leaderboard.renderers.labels import FONT, PADDING, Label, place_labels
from llmbench.leaderboard.renderers.sanitise import clean_svg
from llmbench.results.record import Record, Score

if TYPE_CHECKING:
    import altair as alt

Axis = Literal["speed", "memory"]

TITLES = {
    "speed": "decode, bytes/s (more is better)",
    "memory": "peak memory, MiB (less is better)",
}
UP = "bits per byte (less is better, upwards)"


@dataclass(frozen=True)
class Look:
    """How a picture is drawn: its size in pixels, its colours, and whether it brings its own
    legend.
    """

    width: int = 640
    height: int = 360
    ink: str = "#333"
    soft: str = "#667"
    grid: str = "#e3e5ea"
    paper: str = "#fff"
    # the beginning of a colour's name, for a page that has a colour a stage; "": the colours of
    # STAGES
    stages: str = ""
    legend: bool = True


STAGES = {
    0: "#7a7f87",
    1: "#b8720a",
    2: "#c2543a",
    3: "#8a5cc4",
    4: "#1f6fd1",
    5: "#0a8a7a",
    6: "#b03a78",
}
OTHER = "#4c5563"
PAPER = Look()
WIDE = Look(
    760,
    400,
    "var(--ink)",
    "var(--soft)",
    "var(--line)",
    "transparent",
    "var(--stage-",
    legend=False,
)
NARROW = Look(
    300,
    340,
    "var(--ink)",
    "var(--soft)",
    "var(--line)",
    "transparent",
    "var(--stage-",
    legend=False,
)


def chart(points: Sequence[Point], axis: Axis = "speed", look: Look = PAPER) -> dict[str, object]:
    """The Vega-Lite specification. Up is better, right is faster or smaller: the best corner is the
    upper right.
    """
    import altair as alt

    known = [point for point in points if _cost(point, axis) > 0]
    order = sorted(known, key=lambda point: 99 if point.stage is None else point.stage)
    stages = {stage_title(point.stage): _colour(point.stage, look) for point in order}
    places = [(_cost(point, axis), point.bits) for point in order]
    rows = [{**_row(point, axis), "number": number} for number, point in enumerate(order)]
    labels = place_labels(
        places,
        [str(row["model"]) for row in rows],
        [bool(row["front"]) for row in rows],
        (look.width, look.height),
        axis == "memory",
    )
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]  # altair's own, without types
    field = "bytes per second:Q" if axis == "speed" else "peak memory (MiB):Q"
    ticks = alt.Axis(format="~s", tickCount=5)
    x = alt.X(
        field,
        scale=alt.Scale(type="log", nice=False, padding=PADDING[0], reverse=axis == "memory"),
        title=TITLES[axis],
        axis=ticks,
    )
    y = alt.Y(
        "bits per byte:Q",
        scale=alt.Scale(zero=False, nice=False, reverse=True, padding=PADDING[1]),
        title=UP,
        axis=alt.Axis(tickCount=6),
    )
    step: Literal["step-before", "step-after"] = (
        "step-before" if axis == "speed" else "step-after"
    )  # around what is beaten
    front = alt.Chart(data).encode(x=x, y=y).transform_filter("datum.front")
    line = front.mark_line(interpolate=step, strokeDash=[4, 4], color=look.soft, aria=False)
    size = _size(alt, axis, points, look)
    colour = alt.Color(
        "stage:N",
        title=None,
        scale=alt.Scale(domain=list(stages), range=list(stages.values())),
        legend=_legend(alt, look),
    )
    tips = ["model:N", "bits per byte:Q", "bytes per second:Q", "peak memory (MiB):Q"]
    bubbles = (
        alt.Chart(data)
        .mark_circle(opacity=0.8, size=130)
        .encode(x, y, *size, color=colour, tooltip=tips, description="said:N")
    )
    named = alt.Chart(data).encode(x=x, y=y)
    made = alt.layer(line, bubbles, *(_name(named, label, look) for label in labels))
    made = made.properties(width=look.width, height=look.height)
    return {**json.loads(made.to_json()), "config": theme(look)}


def _name(named: Any, label: Label, look: Look) -> Any:
    """Return the layer of a model's name."""
    return named.transform_filter(f"datum.number == {label.of}").mark_text(
        text=label.text,
        align=label.align,
        baseline="middle",
        dx=label.across,
        dy=label.down,
        fontSize=FONT,
        color=look.ink,
        aria=False,
    )


def _cost(point: Point, axis: Axis) -> float:
    return point.rate if axis == "speed" else point.memory or 0.0


def _row(point: Point, axis: Axis) -> dict[str, str | float | bool | None]:
    memory = None if point.memory is None else point.memory / 2**20
    on_front = point.front if axis == "speed" else point.lean
    said = [clean_svg(point.model), f"{format_plain(point.bits, 4)} bits/byte"]
    said += [f"{format_fixed(point.rate, 0)} bytes/s"] + (
        [f"{format_fixed(memory, 0)} MiB"] if memory else []
    )
    return {
        "model": clean_svg(point.model),
        "stage": stage_title(point.stage),
        "bits per byte": point.bits,
        "bytes per second": point.rate,
        "peak memory (MiB)": memory,
        "front": on_front,
        "said": "; ".join([*said, "Pareto-optimal"] if on_front else said),
    }


def _colour(stage: int | None, look: Look) -> str:
    if look.stages:
        return f"{look.stages}{stage if stage in STAGES else 'other'})"
    return STAGES.get(stage, OTHER) if stage is not None else OTHER


def _legend(alt: Any, look: Look) -> Any:
    return alt.Legend(symbolOpacity=1, labelLimit=240) if look.legend else None


def _size(alt: Any, axis: Axis, points: Sequence[Point], look: Look) -> list[Any]:
    """Memory as the size of a bubble, where it is not an axis."""
    if axis == "memory" or not any(point.memory for point in points):
        return []
    legend = alt.Legend(symbolStrokeColor=look.soft) if look.legend else None
    return [
        alt.Size(
            "peak memory (MiB):Q",
            scale=alt.Scale(range=[40, 420]),
            title="peak memory (MiB)",
            legend=legend,
        )
    ]


def theme(look: Look) -> Mapping[str, object]:
    """Return the colours and letters of a look, as Vega-Lite's `config`."""
    font = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
    axis = {
        **{
            "gridColor": look.grid,
            "domainColor": look.grid,
            "tickColor": look.grid,
            "labelColor": look.soft,
            "titleColor": look.soft,
        },
        **{
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 10,
        },
    }
    return {
        "axis": axis,
        "view": {"stroke": None},
        "font": font,
        "legend": {"labelColor": look.ink, "titleColor": look.soft},
        "background": look.paper,
    }


@lru_cache(maxsize=8)
def _draw_svg(points: tuple[Point, ...], axis: Axis, look: Look) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart(points, axis, look)))


def svg(points: Sequence[Point], axis: Axis = "speed", look: Look = PAPER) -> str:
    """The picture as a file that needs nothing else, or as a part of a page; "" with fewer than two
    models.
    """
    known = [point for point in points if axis == "speed" or point.memory]
    return _draw_svg(tuple(points), axis, look) if len(known) > 1 else ""


def draw_intervals(
    record: Record, metric: str = "bits_per_byte", task: str | None = None
) -> alt.LayerChart | alt.FacetChart:
    """Draw one metric of a task (default: the first that has it), the best model on top.

    Returns an `altair.LayerChart`. UsageError if nothing was measured by that name.
    """
    import altair as alt

    scores = [score for score in record.scores if score.metric == metric and _is_finite(score)]
    wanted = task or (scores[0].task if scores else "")
    scores = [score for score in scores if score.task == wanted]
    if not scores:
        known = {score.metric for score in record.scores if task in (None, score.task)}
        raise UsageError(f"no {metric} in this run", hint=did_you_mean(metric, known))
    rows = [_interval_row(score) for score in scores]
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]  # altair's own, without types
    down = scores[0].better == "higher"
    order = alt.EncodingSortField(field="value", order="descending" if down else "ascending")
    title = f"{metric.replace('_', ' ')} on {wanted} ({scores[0].unit})"
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False))
    y = alt.Y("model:N", title=None, sort=order)
    base: Any = alt.Chart(data).encode(y=y)
    tips = ["model:N", "value:Q", "low:Q", "high:Q", "n:Q"]
    points = base.mark_circle(size=70, opacity=1).encode(x=x, tooltip=tips)
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    return alt.layer(bars, points).properties(width=480)


def _interval_row(score: Score) -> dict[str, str | float]:
    value = float(score.value)
    return {
        "model": score.model,
        "value": value,
        "low": value if score.low is None else float(score.low),
        "high": value if score.high is None else float(score.high),
        "n": score.n,
    }


def _is_finite(score: Score) -> bool:
    return math.isfinite(float(score.value))
