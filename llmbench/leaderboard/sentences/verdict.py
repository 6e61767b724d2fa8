"""The one line above a board: which model is best, whether that is proven, and which one is faster
for a little less quality. It says nothing that no test has shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llmbench.leaderboard.numbers import format_signed
from llmbench.leaderboard.sentences.summary import Contender
from llmbench.leaderboard.words import join_words
from llmbench.metrics.metric import Format

WORTH_SAYING = 1.5  # times as fast: less is no reason for another model
MOST_NAMES = 3
SPEED_LABEL = "decode speed"
EVEN = 0.05  # of a ratio: half an interval that is no wider needs no "about"


# how the difference of two values of a format is shown: decimals, times what, and what follows the
# metric's label
SHOWN_GAPS: dict[Format, tuple[int, float, str]] = {
    "bits": (2, 1.0, ""),
    "percent": (1, 100.0, "points of "),
    "points": (1, 1.0, ""),
    "number": (3, 1.0, ""),
    "scaled": (1, 1.0, ""),
    "rate": (0, 1.0, "bytes/s of "),
    "milliseconds": (2, 1e3, "ms of "),
    "mebibytes": (0, 2.0**-20, "MiB of "),
    "bytes": (1, 1.0, "bytes of "),
    "count": (0, 1.0, ""),
}


@dataclass(frozen=True)
class Field:
    """The models of a table, and what it compares them by. A difference has `digits` decimals, is
    shown `factor` times, and is of `unit` and the label.
    """

    task: str
    label: str
    better: Literal["lower", "higher"] | None
    models: Sequence[Contender]
    digits: int = 2
    factor: float = 1.0
    unit: str = ""


def describe_verdict(quality: Field | None, speed: Field | None, several: bool = False) -> str:
    """Return the line, as in "lstm is best, proven; word-ffn is 10 × as fast for +0.11 bits/byte";
    "" if no model is best in anything.

    Args:
        quality: The table of quality that the board begins with.
        speed: The table of decode speed of the same session.
        several: Whether other tables ask about other things, so that the task is to be named.
    """
    field = quality or speed
    if field is None or field.better is None:
        return ""
    order = _order(field)
    if not order:
        return ""
    best = order[0]
    where = f" on {field.task}" if several else ""
    parts = [
        _describe_best(field, best, order[1:], where),
        _describe_ahead(field, best, order),
        _describe_trade(field, best, order[1:], speed) if quality and speed else "",
    ]
    return "; ".join(part for part in parts if part)


def _order(field: Field) -> list[Contender]:
    """The models that may be compared, the best first: the ranked ones, if there are ranks."""
    known = [
        one
        for one in field.models
        if one.value is not None and math.isfinite(one.value) and one.is_rankable
    ]
    ranked = [one for one in known if one.rank is not None]
    sign = -1.0 if field.better == "higher" else 1.0
    return sorted(ranked or known, key=lambda one: sign * (one.value or 0.0))


def _describe_best(field: Field, best: Contender, others: Sequence[Contender], where: str) -> str:
    superlative = "fastest" if field.label == SPEED_LABEL else "best"
    if not others:
        what = "that can be ranked" if best.rank is not None else "with a result"
        return f"{best.model} is the only model {what}{where}"
    if equal := [one.model for one in others if one.value == best.value]:
        return f"{_list([best.model, *equal])} share the best {field.label}{where}"
    beaten = _list_beaten(best, others)
    if beaten is None:
        return f"{best.model} has the best {field.label}{where}; not tested here"
    close = [one.model for one in others if one.model not in beaten]
    if not close:
        return f"{best.model} is {superlative}{where}, proven"
    if len(close) == len(others) and len(close) > MOST_NAMES:
        return f"{best.model} has the best {field.label}{where}, but is proven better than none"
    return f"{best.model} has the best {field.label}{where}, not proven against {_list(close)}"


def _describe_ahead(field: Field, best: Contender, order: Sequence[Contender]) -> str:
    """Who has a better value than the best one, and cannot be compared: compressors, for one."""
    assert best.value is not None
    sign = -1.0 if field.better == "higher" else 1.0
    ahead = [
        one.model
        for one in field.models
        if one not in order
        and one.value is not None
        and math.isfinite(one.value)
        and sign * one.value < sign * best.value
    ]
    if not ahead:
        return ""
    verb = "has a better value" if len(ahead) == 1 else "have better values"
    return f"{_list(ahead)} {verb}, but no rank"


def _list_beaten(best: Contender, others: Sequence[Contender]) -> Sequence[str] | None:
    """The models that the best one is proven better than; None if that is not known."""
    if best.beats is not None:
        return list(best.beats)
    return [one.model for one in others] if best.rank == (1, 1) else None


def _describe_trade(
    field: Field, best: Contender, others: Sequence[Contender], speed: Field
) -> str:
    """What the fastest alternative costs: of the models that are proven faster than the best one,
    by enough, the one whose quality is closest.
    """
    rates = {one.model: one for one in speed.models if one.value and one.rank is not None}
    own = rates.get(best.model)
    if own is None or own.value is None:
        return ""
    for other in others:
        rate = rates.get(other.model)
        if rate is None or rate.value is None or not _is_proven(rate, own):
            continue
        ratio = rate.value / own.value
        if ratio < WORTH_SAYING or best.value is None or other.value is None:
            continue
        gap = field.factor * (other.value - best.value)
        price = f"for {_show_gap(gap, field.digits)} {field.unit}{field.label}"
        if not gap:
            price = f"at the same {field.label}"
        beats = best.beats
        if beats is not None and other.model not in beats:
            price += ", not proven worse"
        return f"{other.model} is {_show_ratio(rate, own)} × as fast {price}"
    return ""


def _show_gap(gap: float, digits: int) -> str:
    """A difference in so many decimals, or more if they would be zeros."""
    while digits < 4 and abs(gap) < 0.5 * 10.0**-digits:
        digits += 1
    return format_signed(gap, digits)


def _is_proven(one: Contender, other: Contender) -> bool:
    """Whether one is proven faster than the other, by a paired test of both."""
    return one.beats is not None and other.model in one.beats


def _show_ratio(one: Contender, other: Contender) -> str:
    """How many times as fast one is, in as many digits as the intervals of both bear out."""
    assert one.value is not None
    assert other.value is not None
    ratio = one.value / other.value
    text = f"{ratio:.0f}" if ratio >= 9.5 else f"{ratio:.1f}"
    halves = [
        (float(end.high) - float(end.low)) / 2 / float(end.value or 1.0)
        if end.low is not None and end.high is not None
        else math.inf
        for end in (one, other)
    ]
    return text if math.hypot(*halves) <= EVEN else f"about {text}"


def _list(names: Sequence[str]) -> str:
    shown = [*names[:MOST_NAMES]]
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return join_words([*shown, *more])
