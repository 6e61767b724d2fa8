"""Where names stand in pictures: nearer to their own point than to any other, or, if there is no
such place, farther off, at the end of a thin line from the point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

LETTER, HEIGHT = 6.4, 13.0  # pixels of a letter of 12 pixels, on average, and of a line
RADIUS = 7.5  # of a mark
GAP = 3.0
LONGEST_NAME = 26  # characters
REACHES = (4.0, 10.0, 18.0)  # from the edge of a mark to the name
FAR = tuple(range(22, 200, 8))  # the same, of a name with a line
DIRECTIONS = tuple(math.radians(angle) for angle in (0, -35, 35, 180, 215, 145, -90, 90, -62, 62))

AROUND = tuple(math.radians(15 * number) for number in range(24))

Place = tuple[float, float]
Line = tuple[Place, Place]
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
    """The name of point number `of`: text, and where its middle line begins or ends. `leader`: the
    line to it, from its mark.
    """

    of: int
    text: str
    x: float
    y: float
    anchor: str
    leader: Line | None = None


def place_names(
    points: Sequence[Place],
    names: Sequence[str],
    order: Sequence[int],
    frame: Box,
    most: int,
    bars: Sequence[Box] = (),
    most_in_all: int = 0,
) -> list[Name]:
    """Return the names that have a place, those first in `order` first, `most` of them beside their
    points, and then those that have a place at the end of a line.

    Args:
        points: pixels of all points, of those without a name too.
        names: their names.
        order: numbers of the points to be named, the most important first.
        frame: where names may stand.
        bars: what names cover only if there is no other place.
        most_in_all: how many names there may be, those at the end of a line included.
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
        if (best := _choose(fit, bars)) is not None:
            made.append(best[0])
            taken.append(best[1])
    named = {name.of for name in made}
    lines: list[Line] = []
    for number in [number for number in order if number not in named][
        : max(0, most_in_all - len(made))
    ]:
        far = [
            (replace(name, leader=_lead(points[number], box)), box)
            for name, box in _list_places(points[number], number, names[number], FAR, AROUND)
            if _is_inside(box, frame) and _is_free(box, points, taken, lines)
        ]
        others = [point for at, point in enumerate(points) if at != number]
        # in a crowd, a line that passes a mark, or crosses another line, is better than no name
        for marks, lines_there in ((others, lines), ([], lines), ([], [])):
            clear = (one for one in far if _is_clear(one[0].leader, marks, taken, lines_there))
            if (best := _choose(clear, bars)) is not None:
                break
        if best is not None and best[0].leader is not None:
            made.append(best[0])
            taken.append(best[1])
            lines.append(best[0].leader)
    return made


def _choose(places: Iterable[tuple[Name, Box]], bars: Sequence[Box]) -> tuple[Name, Box] | None:
    """The first place that covers no bar; if there is none, the first."""
    first = None
    for one in places:
        if not any(_overlap(one[1], bar) for bar in bars):
            return one
        first = first or one
    return first


def _is_free(
    box: Box, points: Sequence[Place], taken: Sequence[Box], lines: Sequence[Line]
) -> bool:
    """Whether a name there covers no other name, no mark and no line."""
    return (
        not any(_overlap(box, other) for other in taken)
        and all(measure_distance(box, point) >= RADIUS + 1.0 for point in points)
        and not any(_passes(line, box) for line in lines)
    )


def _lead(point: Place, box: Box) -> Line:
    """The line from the edge of a mark to the nearest place of its name."""
    x = min(max(point[0], box[0] - 2.0), box[2] + 2.0)
    y = min(max(point[1], box[1] + 1.0), box[3] - 1.0)
    share = RADIUS / math.hypot(x - point[0], y - point[1])
    begin = (point[0] + share * (x - point[0]), point[1] + share * (y - point[1]))
    return begin, (x, y)


def _is_clear(
    line: Line | None, others: Sequence[Place], taken: Sequence[Box], lines: Sequence[Line]
) -> bool:
    """Whether a line passes none of these marks and no name, and crosses no other line."""
    return (
        line is not None
        and all(_measure_from(line, point) > RADIUS for point in others)
        and not any(_passes(line, box) for box in taken)
        and not any(_cross(line, other) for other in lines)
    )


def _measure_from(line: Line, point: Place) -> float:
    """How far a point is from a line."""
    (x, y), (end, low) = line
    across, down = end - x, low - y
    length = across**2 + down**2
    share = ((point[0] - x) * across + (point[1] - y) * down) / length if length else 0.0
    share = min(1.0, max(0.0, share))
    return math.hypot(x + share * across - point[0], y + share * down - point[1])


def _passes(line: Line, box: Box) -> bool:
    """Whether a line goes through a box, or nearly touches it (Liang & Barsky 1984)."""
    first, last = 0.0, 1.0
    for side, low, high in ((0, box[0], box[2]), (1, box[1], box[3])):
        begin, way = line[0][side], line[1][side] - line[0][side]
        ends = [low - 1.0 - begin, high + 1.0 - begin]
        if way == 0:
            if ends[0] > 0 or ends[1] < 0:
                return False
            continue
        enters, leaves = sorted(end / way for end in ends)
        first, last = max(first, enters), min(last, leaves)
    return first <= last


def _cross(one: Line, other: Line) -> bool:
    """Whether two lines cross."""

    def turn(line: Line, point: Place) -> float:
        (x, y), (end, low) = line
        return (end - x) * (point[1] - y) - (low - y) * (point[0] - x)

    return (
        turn(one, other[0]) * turn(one, other[1]) < 0
        and turn(other, one[0]) * turn(other, one[1]) < 0
    )


def shorten(name: str) -> str:
    """Return a name as pictures write it."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _list_places(
    point: Place,
    number: int,
    name: str,
    reaches: Sequence[float] = REACHES,
    directions: Sequence[float] = DIRECTIONS,
) -> Iterator[tuple[Name, Box]]:
    """Give the places around a point, the nearest first, with the box of the name there."""
    text = shorten(name)
    width = LETTER * len(text)
    for reach in reaches:
        for angle in directions:
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
