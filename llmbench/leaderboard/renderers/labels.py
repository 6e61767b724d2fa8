"""Where names stand in the chart of a file: nearer to their own bubble than to any other. The
front is named first; a name without such a place is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmbench.leaderboard.renderers.page.names import place_names

FONT = 11  # pixels
PADDING = (
    34,
    24,
)  # pixels between the outermost bubbles and the edges: to the sides, and above and below
PER_NAME = 36  # pixels of the chart's width for each name

Align = Literal["left", "center", "right"]
ALIGNS: dict[str, Align] = {"start": "left", "middle": "center", "end": "right"}


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
