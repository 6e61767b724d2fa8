"""Figures that others published, held against what was measured here by the same protocol, and
against nothing else. They are in no ranking.

A figure is of a score's protocol where its `protocol` names the same one as the score's signature
(`wikitext-lm-eval/1`), and the same further parts where it names any
(`wikitext-lm-eval/1;text=1f7e724194f4cb11`), and where the score is of the whole text. It matches
where the measured value rounds to its printed digits, or where it lies, give or take half a unit of
its last digit, within the measured interval; anything else is a mismatch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from llmbench.leaderboard.words import LONGEST, cut
from llmbench.results.record import ModelRow, Score, key_of
from llmbench.results.signature import ABSENT, Signature

LARGEST = 1e300  # what is beyond is nonsense, and more than arithmetic can do with


@dataclass(frozen=True)
class ReferenceScore:
    """What somebody published of a model: a metric's value, by which protocol, and where."""

    model: str
    metric: str
    value: float
    protocol: str
    source: str

    @property
    def digits(self) -> str:
        """The value, as it was written."""
        return repr(self.value).removesuffix(".0")

    @property
    def half_digit(self) -> float:
        """Half a unit of the last printed digit: 0.00005 of 37.3698."""
        exponent = Decimal(self.digits).as_tuple().exponent
        return 0.5 * 10.0 ** int(exponent)


@dataclass(frozen=True)
class ReferenceComparison:
    """A figure beside a score of the same protocol. `how`: what the verdict rests on, in words."""

    figure: ReferenceScore
    score: Score
    verdict: Literal["match", "mismatch"]
    how: str


def read_published(model: ModelRow) -> list[ReferenceScore]:
    """What a record has for published figures of a model; rows that are none are left out."""
    found = [_figure(model.name, row) for row in model.published]
    return [figure for figure in found if figure is not None]


def _figure(model: str, row: Mapping[str, Any]) -> ReferenceScore | None:
    metric, value, protocol, source = (
        row.get(key) for key in ("metric", "value", "protocol", "source")
    )
    words = isinstance(metric, str) and isinstance(protocol, str) and isinstance(source, str)
    if (
        not words
        or isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) < LARGEST
    ):
        return None
    return ReferenceScore(model, str(metric), float(value), str(protocol), str(source))


def is_of(protocol: str, signature: str) -> bool:
    """Return whether this signature is of a score by this protocol on the whole text."""
    name, _, rest = protocol.partition(";")
    wanted = {"protocol": name.removeprefix("protocol="), **Signature.parse(rest).values()}
    whole = {"limit": ABSENT, "left_out": ABSENT}
    found = {**whole, **Signature.parse(signature).values()}
    return all(found.get(key) == value for key, value in {**whole, **wanted}.items())


def compare(figure: ReferenceScore, score: Score) -> ReferenceComparison:
    """See the top of this file."""
    value, half = float(score.value), figure.half_digit
    gap = abs(value - figure.value)
    if gap <= half * (1 + 1e-9):
        return ReferenceComparison(figure, score, "match", "to its printed digits")
    if (
        score.low is not None
        and score.high is not None
        and float(score.low) - half <= figure.value <= float(score.high) + half
    ):
        return ReferenceComparison(
            figure, score, "match", "within the measured interval, though not to its printed digits"
        )
    share = f", by {gap / abs(figure.value):.2%}" if figure.value and math.isfinite(gap) else ""
    return ReferenceComparison(
        figure, score, "mismatch", f"beyond its printed digits and the measured interval{share}"
    )


def compare_all(model: ModelRow, scores: Iterable[Score]) -> list[ReferenceComparison]:
    """A model's figures that have a score of the same metric by the same protocol among these."""
    found = list(scores) if model.published else []
    pairs = [
        (figure, score)
        for figure in read_published(model)
        for score in found
        if key_of(score) == figure.metric
    ]
    return [
        compare(figure, score) for figure, score in pairs if is_of(figure.protocol, score.signature)
    ]


def describe(model: ModelRow, scores: Mapping[str, Score], metric: str) -> str:
    """The cell of a table that goes by `metric`: its published figure, or else another of the same
    protocol; "-" where there is none.
    """
    found = sorted(compare_all(model, scores.values()), key=lambda one: one.figure.metric != metric)
    if not found:
        return "-"
    first = found[0]
    other = "" if first.figure.metric == metric else f"{first.figure.metric} "
    return f"{other}{first.figure.digits}: {first.verdict}"


def describe_all(
    models: Iterable[ModelRow], scores: Mapping[str, Mapping[str, Score]]
) -> list[str]:
    """Under a table, each published figure that can be held against it."""
    return [
        _sentence(one)
        for model in models
        for one in compare_all(model, scores[model.name].values())
    ]


def _sentence(one: ReferenceComparison) -> str:
    figure = one.figure
    measured = f"{float(one.score.value):.{max(4, len(figure.digits.partition('.')[2]))}f}"
    said = (
        f"{figure.model}: {figure.metric} {figure.digits} was published by the same protocol"
        f" ({figure.source})"
    )
    return cut(f"{said}; measured here {measured}: {one.verdict}, {one.how}.", LONGEST)


def list_incomparable(
    models: Sequence[ModelRow], scores: Mapping[str, Sequence[Score]], suites: Collection[str]
) -> list[ReferenceScore]:
    """The figures of measured models by other protocols, of metrics that any of the scores has, and
    of what was asked about: a text that one of the suites is called after, or a protocol that some
    score has. `scores`: by model.
    """
    found = []
    protocols = {_name_protocol(score.signature) for some in scores.values() for score in some}
    shown = {
        name for some in scores.values() for score in some for name in (score.metric, key_of(score))
    }
    for model in models:
        own = scores.get(model.name, ())
        compared = {one.figure for one in compare_all(model, own)}
        found += [
            figure
            for figure in dict.fromkeys(read_published(model))
            if own
            and figure not in compared
            and figure.metric in shown
            and _is_asked(figure, suites, protocols)
        ]
    return found


def _name_protocol(signature: str) -> str:
    return Signature.parse(signature).values().get("protocol", "")


def _is_asked(figure: ReferenceScore, suites: Collection[str], protocols: Collection[str]) -> bool:
    """Whether a figure is of a protocol that was followed here, or of a text that a suite is called
    after: wikitext2 of "GPT-2 paper: WikiText2 test".
    """
    name = figure.protocol.partition(";")[0].removeprefix("protocol=")
    words, text = _spell(figure.protocol), figure.protocol.casefold()
    return name in protocols or any(
        _spell(suite) in words if _spell(suite) else suite.casefold() in text for suite in suites
    )


def _spell(text: str) -> str:
    """The letters and digits of a text, in lower case."""
    return re.sub(r"[\W_]", "", text.casefold())
