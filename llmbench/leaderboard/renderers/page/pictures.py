"""The page's pictures of models: quality against speed and memory, and against what a model
takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from markupsafe import Markup

from llmbench.leaderboard.numbers import format_fixed, format_plain, scale_number
from llmbench.leaderboard.plots import BY_NUMBERS, Point, describe_front
from llmbench.leaderboard.plots import Size as ModelSize
from llmbench.leaderboard.renderers.page.frame import Size, Titles
from llmbench.leaderboard.renderers.page.scatter import NARROW, SMALL, WIDE, Spot, draw_scatter

Axis = Literal["speed", "memory"]
TITLES = {
    "speed": "decode, bytes/s (more is better) →",
    "memory": "peak memory, MiB (less is better) →",
}
UP = "↑ bits per byte (less is better)"
SAID = {
    "speed": "Bars: 95 % intervals.",
    "memory": "Peak memory: of the GPU if there is one, otherwise RAM.",
}


@dataclass(frozen=True)
class Picture:
    """The same points, drawn for a wide and for a narrow page. `full`: what a full mark means;
    `front`: the models that have one.
    """

    axis: str
    wide: Markup
    narrow: Markup
    said: str
    full: str
    front: Sequence[str]


def draw_pictures(points: Sequence[Point]) -> list[Picture]:
    """Return a picture for each axis; none if fewer than two models have the numbers."""
    found = []
    for axis in get_args(Axis):
        known = [point for point in points if axis == "speed" or point.memory]
        if len(known) < 2:
            continue
        front = [point.model for point in known if _is_ahead(point, axis)]
        full = describe_front(known) if axis == "speed" else BY_NUMBERS
        drawn = _draw(known, axis, WIDE), _draw(known, axis, NARROW)
        found.append(Picture(axis, *drawn, SAID[axis], full, front))
    return found


def _is_ahead(point: Point, axis: Axis) -> bool:
    return point.front if axis == "speed" else point.lean


def _draw(points: Sequence[Point], axis: Axis, size: Size) -> Markup:
    spots = [
        Spot(
            point.model,
            point.stage,
            point.rate if axis == "speed" else (point.memory or 0.0) / 2**20,
            point.bits,
            _describe(point, axis),
            _is_ahead(point, axis),
            point.rate_ends if axis == "speed" else None,
            point.bits_ends,
        )
        for point in points
    ]
    said = f"Bits per byte against {axis}, a mark for each model; the tables have the same numbers"
    titles = Titles(TITLES[axis], UP, said)
    return draw_scatter(spots, titles, size, reverse=axis == "memory", front=True)


def _describe(point: Point, axis: Axis) -> list[str]:
    said = [
        f"{_with_ends(point.bits, point.bits_ends, 4)} bits/byte",
        f"{_with_ends(point.rate, point.rate_ends, 0)} bytes/s",
    ]
    said += [f"{format_fixed(point.memory / 2**20, 0)} MiB"] if point.memory else []
    if not point.is_trusted:
        return [*said, "certificate refused: its numbers prove nothing"]
    return [
        *said,
        "no model beats it in both" if _is_ahead(point, axis) else "beaten in both",
    ]


def _with_ends(value: float, ends: tuple[float, float] | None, digits: int) -> str:
    text = format_fixed(value, digits)
    if ends is None or ends[0] == ends[1]:
        return text
    return f"{text} [{format_fixed(ends[0], digits)}, {format_fixed(ends[1], digits)}]"


@dataclass(frozen=True)
class Scaling:
    """A picture of bits per byte against what models take."""

    title: str
    drawn: Markup


def draw_scaling(sizes: Sequence[ModelSize]) -> list[Scaling]:
    """Return a picture each for parameters, training and weights, as far as two models have the
    number.
    """
    ways: tuple[tuple[str, str, Callable[[ModelSize], float | None]], ...] = (
        ("Parameters", "parameters", lambda size: size.parameters),
        ("Training", "seconds of training", lambda size: size.training_seconds),
        ("Weights", "bytes of weights", lambda size: size.weights_bytes),
    )
    made = []
    for title, unit, read in ways:
        spots = [
            Spot(
                size.model,
                size.stage,
                float(value),
                size.bits,
                [
                    f"{format_plain(size.bits, 4)} bits/byte",
                    f"{scale_number(float(value))} {unit}",
                ],
                y_ends=size.ends,
            )
            for size in sizes
            if (value := read(size))
        ]
        if len(spots) > 1:
            said = f"Bits per byte against {unit}, a mark for each model"
            made.append(Scaling(title, draw_scatter(spots, Titles(f"{unit} →", UP, said), SMALL)))
    return made
