"""Where names stand in a picture: always nearer to their own point than to any other. A name
without such a place is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LETTER, HEIGHT = 6.4, 13.0  # pixels of a letter of 12 pixels, on average, and of a line
RADIUS = 7.5  # of a mark
GAP = 3.0
LONGEST_NAME = 26  # characters
REACHES = (4.0, 10.0, 18.0)  # from the edge of a mark to the name
DIRECTIONS = tuple(math.radians(angle) for angle in (0, -35, 35, 180, 215, 145, -90, 90, -62, 62))

Place = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Name:
    """The name of point number `of`: text, and where its middle line begins or ends."""

    of: int
    text: str
    x: float
    y: float
    anchor: str


def place_names(
    points: Sequence[Place], names: Sequence[str], order: Sequence[int], frame: Box, most: int
) -> list[Name]:
    """Return the names that have a place, those first in `order` first, `most` of them.

    Args:
        points: pixels of all points, of those without a name too.
        names: their names.
        order: numbers of the points to be named, the most important first.
        frame: where names may stand.
    """
    taken: list[Box] = []
    made: list[Name] = []
    for number in order:
        if len(made) == most:
            break
        for name, box in _list_places(points[number], number, names[number]):
            if _is_inside(box, frame) and _fits(box, number, points, taken):
                made.append(name)
                taken.append(box)
                break
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
