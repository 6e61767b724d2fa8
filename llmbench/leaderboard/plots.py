"""The points and curves that a board draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import BITS_PER_BYTE, SPEED
from llmbench.results.record import (
    Record,
    key_of,
)

LONGEST_CURVE = 1000  # points


@dataclass(frozen=True)
class Point:
    """A model in the picture: bits per byte, bytes of text a second, bytes of memory where they are
    known. `front`: no other is better in both bits and speed; `lean`: none is in both bits and
    memory.
    """

    model: str
    stage: int | None
    bits: float
    rate: float
    memory: float | None
    front: bool
    lean: bool = False


@dataclass(frozen=True)
class Curve:
    """How a model's training went: (step, bits per byte of the validation text), by step."""

    model: str
    stage: int | None
    points: Sequence[tuple[float, float]]


def find_points(record: Record) -> list[Point]:
    """The picture: the first table of bits per byte against speed and memory, and which models none
    beats in both.
    """
    found: dict[str, dict[str, float]] = {}
    for score in record.scores:
        if (
            key_of(score) in (BITS_PER_BYTE, SPEED, "peak_ram", "peak_gpu_reserved")
            and 0 < score.value < math.inf
        ):
            found.setdefault(score.model, {}).setdefault(key_of(score), float(score.value))
    models = [
        model
        for model in record.models
        if {BITS_PER_BYTE, SPEED} <= found.get(model.name, {}).keys()
    ]
    bits = {model.name: found[model.name][BITS_PER_BYTE] for model in models}
    slowness = {model.name: -found[model.name][SPEED] for model in models}
    memory = {
        name: held
        for name in bits
        if (held := found[name].get("peak_gpu_reserved") or found[name].get("peak_ram"))
    }
    front, lean = _find_front(bits, slowness), _find_front(bits, memory)
    return [
        Point(
            cut(m.name, NAME_CHARACTERS),
            m.stage,
            bits[m.name],
            -slowness[m.name],
            memory.get(m.name),
            m.name in front,
            m.name in lean,
        )
        for m in models
    ]


def _find_front(bits: Mapping[str, float], costs: Mapping[str, float]) -> set[str]:
    """Those with a cost than which none has fewer bits at no more cost, or a lower cost at no more
    bits.
    """
    front, least = set(), math.inf
    for place in sorted((bits[name], costs[name]) for name in costs):
        if place[1] < least:
            front.add(place)
            least = place[1]
    return {name for name in costs if (bits[name], costs[name]) in front}


def find_curves(record: Record) -> list[Curve]:
    """Curves of at least two points; what is no point of numbers, or is before the first step, is
    left out.
    """
    found = []
    for model in record.models:
        rows = model.training.curve if model.training else None
        pairs = (
            [tuple(row) for row in rows if isinstance(row, list | tuple) and len(row) == 2]
            if isinstance(rows, list)
            else []
        )
        points = sorted(
            (float(x), float(y)) for x, y in pairs if _is_finite(x) and _is_finite(y) and x >= 0
        )[:LONGEST_CURVE]
        if len({x for x, _ in points}) > 1:
            found.append(Curve(cut(model.name, NAME_CHARACTERS), model.stage, points))
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e30
