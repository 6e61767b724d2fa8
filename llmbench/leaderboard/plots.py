"""The points and curves that a board draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import BITS_PER_BYTE, SPEED
from llmbench.results.record import (
    Record,
    Score,
    key_of,
    notes_key,
)

LONGEST_CURVE = 1000  # points
PROVEN = "no model is proven better in both"
BY_NUMBERS = "no model is better in both, by the numbers where nothing was tested"


@dataclass(frozen=True)
class Point:
    """A model in the picture: bits per byte, bytes of text a second, bytes of memory where they are
    known. `front`: no other is proven better in both bits and speed; `lean`: in bits and memory.
    `bits_ends`, `rate_ends`: the intervals, if there are any. `is_trusted`: no certificate was
    refused. `is_tested`: bits and speed were compared with the others', not only their numbers.
    """

    model: str
    stage: int | None
    bits: float
    rate: float
    memory: float | None
    front: bool
    lean: bool = False
    bits_ends: tuple[float, float] | None = None
    rate_ends: tuple[float, float] | None = None
    is_trusted: bool = True
    is_tested: bool = False


def describe_front(points: Sequence[Point]) -> str:
    """What is true of the points of the front of bits and speed, as far as that was tested."""
    is_tested = all(point.is_tested for point in points if point.is_trusted)
    return PROVEN if is_tested else BY_NUMBERS


@dataclass(frozen=True)
class Size:
    """A model's bits per byte beside what it takes: parameters, seconds of training, bytes of
    weights; None where that is unknown.
    """

    model: str
    stage: int | None
    bits: float
    ends: tuple[float, float] | None
    parameters: int | None
    training_seconds: float | None
    weights_bytes: int | None


@dataclass(frozen=True)
class Curve:
    """How a model's training went: (step, bits per byte of the validation text), by step."""

    model: str
    stage: int | None
    points: Sequence[tuple[float, float]]


def find_points(record: Record) -> list[Point]:
    """The picture: the first table of bits per byte against speed and memory, and which models none
    is proven to beat in both. A model without a certificate's trust is beaten by every other.
    """
    found = _collect(record, (BITS_PER_BYTE, SPEED, "peak_ram", "peak_gpu_reserved"))
    models = [
        model
        for model in record.models
        if {BITS_PER_BYTE, SPEED} <= found.get(model.name, {}).keys()
    ]
    trusted = {m.name: not (m.certificate and m.certificate.is_refused) for m in models}
    scores = {model.name: found[model.name] for model in models}
    bits = _compare(record, {name: own[BITS_PER_BYTE] for name, own in scores.items()})
    speed = _compare(record, {name: own[SPEED] for name, own in scores.items()})
    memory = {
        name: float(held.value)
        for name, own in scores.items()
        if (held := own.get("peak_gpu_reserved") or own.get("peak_ram"))
    }
    front = _find_front([name for name in scores if trusted[name]], (bits, speed))
    lean = _find_front(
        [name for name in memory if trusted[name]], (bits, Comparison(memory, lambda x: x))
    )
    return [
        Point(
            cut(m.name, NAME_CHARACTERS),
            m.stage,
            float(scores[m.name][BITS_PER_BYTE].value),
            float(scores[m.name][SPEED].value),
            memory.get(m.name),
            m.name in front,
            m.name in lean,
            _ends(scores[m.name][BITS_PER_BYTE]),
            _ends(scores[m.name][SPEED]),
            trusted[m.name],
            m.name in bits.beats and m.name in speed.beats,
        )
        for m in models
    ]


def find_sizes(record: Record) -> list[Size]:
    """Return the models with bits per byte and something that they take."""
    found = _collect(record, (BITS_PER_BYTE,))
    sizes = [
        Size(
            cut(model.name, NAME_CHARACTERS),
            model.stage,
            float(score.value),
            _ends(score),
            model.parameters,
            float(model.training.seconds) if model.training and model.training.seconds else None,
            model.weights_bytes,
        )
        for model in record.models
        if (score := found.get(model.name, {}).get(BITS_PER_BYTE)) and score.charged != "code"
    ]
    return [
        size for size in sizes if size.parameters or size.training_seconds or size.weights_bytes
    ]


def _collect(record: Record, keys: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Return model -> the first of its scores of each of these, finite and above 0."""
    found: dict[str, dict[str, Score]] = {}
    for score in record.scores:
        if key_of(score) in keys and 0 < score.value < math.inf:
            found.setdefault(score.model, {}).setdefault(key_of(score), score)
    return found


def _ends(score: Score) -> tuple[float, float] | None:
    if score.low is None or score.high is None:
        return None
    return float(score.low), float(score.high)


@dataclass(frozen=True)
class Comparison:
    """What is known of a measure: values, whose `badness` is the less the better, and, of models
    that were tested, which others each is significantly better than.
    """

    values: Mapping[str, float]
    badness: Callable[[float], float]
    beats: Mapping[str, Collection[str]] = field(default_factory=dict)

    def is_better(self, one: str, other: str) -> bool:
        """Return whether one is better: proven, where both were tested."""
        if one in self.beats and other in self.beats:
            return other in self.beats[one]
        return self.badness(self.values[one]) < self.badness(self.values[other])

    def is_no_worse(self, one: str, other: str) -> bool:
        """Return whether one is known to be at least as good. A test that tells nothing is no proof
        of that.
        """
        if one in self.beats and other in self.beats:
            return other in self.beats[one]
        return self.badness(self.values[one]) <= self.badness(self.values[other])


def _compare(record: Record, scores: Mapping[str, Score]) -> Comparison:
    """Return how models compare by these scores, with their tests if all are of one task."""
    values = {name: float(score.value) for name, score in scores.items()}
    tasks = {notes_key(score.task, score.metric) for score in scores.values()}
    notes = record.notes.tasks.get(tasks.pop()) if len(tasks) == 1 else None
    is_rate = any(score.better == "higher" for score in scores.values())
    return Comparison(
        values, (lambda x: -x) if is_rate else (lambda x: x), notes.better_than if notes else {}
    )


def _find_front(names: Sequence[str], measures: tuple[Comparison, Comparison]) -> set[str]:
    """Return the models that no other beats: at least as good in both measures, and better in
    one.
    """

    def beats(one: str, other: str) -> bool:
        return all(m.is_no_worse(one, other) for m in measures) and any(
            m.is_better(one, other) for m in measures
        )

    return {name for name in names if not any(beats(other, name) for other in names)}


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
