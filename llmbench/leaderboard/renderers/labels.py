"""Where names stand in pictures: always nearer to their own point than to any other. A name without
such a place is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

LETTER, HEIGHT = 6.4, 13.0  # pixels of a letter of 12 pixels, on average, and of a line
RADIUS = 7.5  # of a mark
GAP = 3.0
LONGEST_NAME = 26  # characters
REACHES = (4.0, 10.0, 18.0)  # from the edge of a mark to the name
DIRECTIONS = tuple(math.radians(angle) for angle in (0, -35, 35, 180, 215, 145, -90, 90, -62, 62))

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

# of the chart of a file
FONT = 11  # pixels
PADDING = (
    34,
    24,
)  # pixels between the outermost bubbles and the edges: to the sides, and above and below
PER_NAME = 36  # pixels of the chart's width for each name

Align = Literal["left", "center", "right"]
ALIGNS: dict[str, Align] = {"start": "left", "middle": "center", "end": "right"}


@dataclass(frozen=True)
class Name:
    """The name of point number `of`: text, and where its middle line begins or ends."""

    of: int
    text: str
    x: float
    y: float
    anchor: str


def place_names(
    points: Sequence[Place],
    names: Sequence[str],
    order: Sequence[int],
    frame: Box,
    most: int,
    bars: Sequence[Box] = (),
) -> list[Name]:
    """Return the names that have a place, those first in `order` first, `most` of them.

    Args:
        points: pixels of all points, of those without a name too.
        names: their names.
        order: numbers of the points to be named, the most important first.
        frame: where names may stand.
        bars: what names cover only if there is no other place.
    """
    taken: list[Box] = []
    made: list[Name] = []
    for number in order:
        if len(made) == most:
            break
        fit = [
            (name, box)
            for name, box in _list_places(points[number], number, names[number])
            if _is_inside(box, frame) and _fits(box, number, points, taken)
        ]
        free = (one for one in fit if not any(_overlap(one[1], bar) for bar in bars))
        if (best := next(free, fit[0] if fit else None)) is not None:
            made.append(best[0])
            taken.append(best[1])
    return made


def shorten(name: str) -> str:
    """Return a name as pictures write it."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _list_places(point: Place, number: int, name: str) -> Iterator[tuple[Name, Box]]:
    """Give the places around a point, the nearest first, with the box of the name there."""
    text = shorten(name)
    width = LETTER * len(text)
    for reach in REACHES:
        for angle in DIRECTIONS:
            across, down = math.cos(angle), math.sin(angle)
            x = point[0] + (RADIUS + reach) * across
            y = point[1] + (RADIUS + reach + HEIGHT / 2) * down
            anchor = "start" if across > 0.3 else "end" if across < -0.3 else "middle"
            left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (left, y - HEIGHT / 2, left + width, y + HEIGHT / 2)
            yield Name(number, text, x, y, anchor), box


def _is_inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _fits(box: Box, own: int, points: Sequence[Place], taken: Sequence[Box]) -> bool:
    """Return whether a name there covers no other name and no mark, and is nearest to its own."""
    if any(_overlap(box, other) for other in taken):
        return False
    least = max(measure_distance(box, points[own]) + 2.0, RADIUS + 1.0)
    return all(
        measure_distance(box, point) >= least
        for number, point in enumerate(points)
        if number != own
    )


def measure_distance(box: Box, point: Place) -> float:
    """Return how far a point is from a box, in pixels; 0 inside."""
    across = max(box[0] - point[0], point[0] - box[2], 0.0)
    down = max(box[1] - point[1], point[1] - box[3], 0.0)
    return math.hypot(across, down)


def _overlap(one: Box, other: Box) -> bool:
    return (
        one[0] < other[2] + GAP
        and other[0] < one[2] + GAP
        and one[1] < other[3]
        and other[1] < one[3]
    )


@dataclass(frozen=True)
class Label:
    """The name of bubble number `of`, and how far from its middle it stands, in pixels to the right
    and down.
    """

    of: int
    text: str
    align: Align
    across: float
    down: float


def place_labels(
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    front: Sequence[bool],
    size: tuple[int, int],
    mirrored: bool = False,
) -> list[Label]:
    """Return the names that have a place.

    Args:
        points: Cost (> 0) and bits of each bubble.
        names: Their names.
        front: Whether each is on the front.
        size: Width and height of the picture in pixels.
        mirrored: Whether the logarithm of the cost grows to the left. Bits grow downwards.
    """
    costs = [-math.log(cost) if mirrored else math.log(cost) for cost, _ in points]
    xs = _spread(costs, size[0], PADDING[0])
    ys = _spread([bits for _, bits in points], size[1], PADDING[1])
    places = list(zip(xs, ys, strict=True))
    order = sorted(range(len(points)), key=lambda number: (not front[number], points[number][1]))
    frame = (0.0, 0.0, float(size[0]), float(size[1]))
    found = place_names(places, names, order, frame, size[0] // PER_NAME)
    return [
        Label(
            name.of,
            name.text,
            ALIGNS[name.anchor],
            name.x - places[name.of][0],
            name.y - places[name.of][1],
        )
        for name in found
    ]


def _spread(values: Sequence[float], size: int, padding: int) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return [
        padding + (size - 2 * padding) * ((value - low) / (high - low) if high > low else 0.5)
        for value in values
    ]
