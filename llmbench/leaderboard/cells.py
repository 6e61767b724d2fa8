"""How a model's scores fill the cells of its row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.numbers import (
    count,
    format_fixed,
    format_plain,
    mebibytes,
    milliseconds,
    percent,
    scale_number,
    show_interval,
)
from llmbench.leaderboard.reference_scores import describe
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import METRICS, SPEED
from llmbench.metrics.metric import Format
from llmbench.results.record import ModelRow, Score, metric_of
from llmbench.results.rows import Certificate, Training

STATES = {
    "cached": "KV cache",
    "rolling": "rolling KV cache",
}  # what a record calls a state, and what it is called in the field

SHIPPED_MARK = "*"  # behind the seconds of a training that this run did not do


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number behind it (None sorts last). `low`, `high`: the interval, if
    there is one.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


def metric_cell(score: Score | None) -> Cell:
    """The cell of a score, in its metric's format."""
    return Cell("-") if score is None else FORMATS[metric_of(score).format](score)


def cells(model: ModelRow, scores: Mapping[str, Score], metric: str) -> dict[str, Cell]:
    """The cells of a model's row by the keys of columns, in the table of `metric`. `scores`: by
    record.key_of.
    """
    score = scores.get(metric)
    keys = [each.name + variant.suffix for each in METRICS for variant in each.variants]
    return {
        "rank": _rank(score),
        "model": Cell(cut(model.name, NAME_CHARACTERS)),
        "chance": _share(score.chance if score else None),
        "majority": _share(score.majority.value if score and score.majority else None),
        "left_out": Cell(count(score.left_out), score.left_out)
        if score and score.left_out
        else Cell("-"),
        "tokenizer": Cell(cut(model.tokenizer, NAME_CHARACTERS)),
        "context": _context(model),
        "parameters": _parameters(model.parameters),
        "training_seconds": _show_training(model.training),
        **{key: metric_cell(scores.get(key) or _best_only(scores, key)) for key in keys},
        "cache": Cell(_state(scores.get(SPEED))),
        "published": Cell(cut(describe(model, scores, metric), NAME_CHARACTERS)),
        "certificate": Cell(_certificate(model.certificate)),
        "overlap": Cell(
            "unknown" if model.overlap is None else percent(model.overlap), model.overlap
        ),
    }


def _share(value: float | None) -> Cell:
    return Cell("-") if value is None else Cell(percent(value), value)


def _best_only(scores: Mapping[str, Score], key: str) -> Score | None:
    """The score at the best batch, of energy and price, which are measured there alone."""
    score = scores.get(f"{key}@best")
    return score if score is not None and metric_of(score).format == "scaled" else None


def _rank(score: Score | None) -> Cell:
    if score is None or score.rank is None:
        return Cell("-")
    best, worst = score.rank
    return Cell(str(best) if best == worst else f"{best}-{worst}", best + worst / 1000, best, worst)


def _ends(score: Score) -> tuple[float, float] | None:
    """The ends of its interval."""
    if score.low is None or score.high is None:
        return None
    return float(score.low), float(score.high)


def _with_ends(
    score: Score,
    show: Callable[[float], str],
    show_half: Callable[[float], str] | None = None,
    unit: str = "",
) -> Cell:
    """A value with its interval, if there is one."""
    value, ends = float(score.value), _ends(score)
    if ends is None:
        return Cell(f"{show(value)}{unit}", value)
    bounds = metric_of(score).bounds
    return Cell(show_interval(value, *ends, bounds, show, show_half, unit), value, *ends)


def _bits(score: Score) -> Cell:
    """Four digits, with the half width of the interval or its ends."""
    return _with_ends(score, lambda bits: format_fixed(bits, 4), lambda half: format_plain(half, 4))


def _with_brackets(score: Score, digits: int = 1, scale: float = 1.0, unit: str = "") -> Cell:
    """A value with the ends of its interval in brackets."""
    return _with_ends(score, lambda number: format_fixed(scale * number, digits), unit=unit)


def _percent(score: Score) -> Cell:
    return _with_brackets(score, 1, 100, " %")


def _points(score: Score) -> Cell:
    return _with_brackets(score, 1)


def _number(score: Score) -> Cell:
    return _with_brackets(score, 3)


def _with_prefix(score: Score) -> Cell:
    return Cell(scale_number(float(score.value)), float(score.value))


def _rate(score: Score) -> Cell:
    """Three digits, with the half width of the interval in percent, or its ends; the best batch in
    brackets.
    """
    value, ends, batch = float(score.value), _ends(score), score.batch
    if batch != 1:
        return Cell(f"{scale_number(value)} ({batch})", value)
    if ends == (0.0, 0.0):
        return Cell(scale_number(value), value)
    return _with_ends(score, scale_number, lambda half: percent(half / value if value else 0.0, 0))


def _milliseconds(score: Score) -> Cell:
    return Cell(milliseconds(float(score.value)), float(score.value))


def _mebibytes(score: Score) -> Cell:
    return Cell(mebibytes(float(score.value)), float(score.value))


def _bytes(score: Score) -> Cell:
    return Cell(format_fixed(float(score.value), 1), float(score.value))


def _count(score: Score) -> Cell:
    bound = "at least " if score.at_least else ""
    return Cell(f"{bound}{format_fixed(float(score.value), 0)}", float(score.value))


FORMATS: dict[Format, Callable[[Score], Cell]] = {
    "bits": _bits,
    "percent": _percent,
    "points": _points,
    "number": _number,
    "scaled": _with_prefix,
    "rate": _rate,
    "milliseconds": _milliseconds,
    "mebibytes": _mebibytes,
    "bytes": _bytes,
    "count": _count,
}


def _context(model: ModelRow) -> Cell:
    if model.context is None:
        return Cell("unlimited" if model.fingerprint and model.parameters else "-", math.inf)
    return Cell(format_fixed(model.context, 0), model.context)


def _parameters(value: int | None) -> Cell:
    return Cell("-" if value is None else count(value), value)


def _show_training(training: Training | None) -> Cell:
    """Seconds; of weights that came with llmbench, which were trained elsewhere, with a star."""
    if training is None or training.seconds is None:
        return Cell("-")
    value = float(training.seconds)
    return Cell(f"{format_fixed(value, 0)}{SHIPPED_MARK if training.shipped else ''}", value)


def _state(score: Score | None) -> str:
    state = (score.facts.cache if score is not None and score.facts else None) or "-"
    return cut(STATES.get(state, state), NAME_CHARACTERS)


def _certificate(certificate: Certificate | None) -> str:
    """The levels that were earned, or the first that was refused."""
    if certificate is None:
        return "-"
    refused = [level for level, proof in certificate.levels.items() if proof.state == "refused"]
    if refused:
        return f"refused {refused[0]}"
    return (
        " ".join(level for level, proof in certificate.levels.items() if proof.state == "earned")
        or "-"
    )
