"""Choose on which side of its bubble a model's name is drawn, so that names overlap neither each
other nor other bubbles. Greedy: in order, the side with the least overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

FONT = 11  # pixels
LETTER = 0.56 * FONT  # mean width of a letter
LONGEST_NAME = 150  # pixels
PADDING = (
    34,
    24,
)  # pixels between the outermost bubbles and the edges: to the sides, and above and below
BUBBLE = 12  # pixels, half of a large one

Align = Literal["left", "center", "right"]
SIDES: dict[
    str, tuple[Align, int, int]
] = {  # alignment, and pixels to the right of and below the middle of the bubble
    "upper right": ("left", 9, -11),
    "right": ("left", 14, 0),
    "lower right": ("left", 9, 12),
    "upper left": ("right", -9, -11),
    "left": ("right", -14, 0),
    "lower left": ("right", -9, 12),
    "above": ("center", 0, -18),
    "below": ("center", 0, 19),
}
Box = tuple[float, float, float, float]  # left, top, right, bottom


def choose_sides(
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    size: tuple[int, int],
    mirrored: bool = False,
) -> list[str]:
    """Return a key of SIDES for each point (cost > 0, bits).

    Args:
        size: Width and height of the picture in pixels.
        mirrored: Whether the logarithm of the cost grows to the left. Bits grow downwards.
    """
    xs = _spread(
        [-math.log(cost) if mirrored else math.log(cost) for cost, _ in points], size[0], PADDING[0]
    )
    ys = _spread([bits for _, bits in points], size[1], PADDING[1])
    bubbles = [
        (x - BUBBLE, y - BUBBLE, x + BUBBLE, y + BUBBLE) for x, y in zip(xs, ys, strict=True)
    ]
    chosen: list[str] = []
    taken: list[Box] = []
    for number, name in enumerate(names):
        others = taken + bubbles[:number] + bubbles[number + 1 :]
        boxes = {side: _box(xs[number], ys[number], name, side) for side in SIDES}
        best = min(
            SIDES,
            key=lambda side: _overlap_area(boxes[side], others) + _outside_area(boxes[side], size),
        )
        chosen.append(best)
        taken.append(boxes[best])
    return chosen


def _spread(values: Sequence[float], size: int, padding: int) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return [
        padding + (size - 2 * padding) * ((value - low) / (high - low) if high > low else 0.5)
        for value in values
    ]


def _box(x: float, y: float, name: str, side: str) -> Box:
    align, dx, dy = SIDES[side]
    width = min(len(name) * LETTER, LONGEST_NAME)
    left = x + dx - {"left": 0.0, "center": width / 2, "right": width}[align]
    return (left, y + dy - FONT / 2, left + width, y + dy + FONT / 2)


def _overlap_area(box: Box, others: Sequence[Box]) -> float:
    """Return the area of the box, in square pixels, that others cover."""
    across = [min(box[2], other[2]) - max(box[0], other[0]) for other in others]
    down = [min(box[3], other[3]) - max(box[1], other[1]) for other in others]
    return sum(a * d for a, d in zip(across, down, strict=True) if a > 0 and d > 0)


def _outside_area(box: Box, size: tuple[int, int]) -> float:
    """Return the area of the box outside the picture; to the right 5 pixels are free."""
    return FONT * (max(0.0, -box[0]) + max(0.0, box[2] - size[0] - 5)) + (box[2] - box[0]) * (
        max(0.0, -box[1]) + max(0.0, box[3] - size[1])
    )
