"""Ranks for the record: which models share which comparison, and what the items of their samples
prove.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from llmbench.metrics.facts import FACTS, QUALITY, RANKED, SPEED
from llmbench.results.paired_tests import ALPHA, Rows, quality_rank_sets
from llmbench.results.record import Score, key_of, notes_key
from llmbench.results.samples import Sample, read_samples
from llmbench.stats import Ranking, holm, rank_sets, rate_rank_sets

Item = tuple[str, list[float]]  # id, statistics
Source = Callable[[Score], list[Item]]


class Proven(TypedDict):
    """What the items of a table prove; see record.TaskNotes."""

    smallest_visible: float | None
    items_needed: int | None
    left_out: list[str]
    better_than: dict[str, list[str]]


def rank_scores(
    scores: Sequence[Score],
    out: Path | Source,
    refused: Collection[str] = (),
    report: Callable[[float, str], None] = lambda share, what: None,
) -> dict[str, Proven]:
    """Set `rank` on the scores of the metrics that tables go by, and give for each the smallest
    visible difference and who beats whom.

    Models are compared on the same items, read from the samples of the run in `out`, or had from a
    function: documents, answers, or blocks of one session of measuring. See `is_ranked` for who
    takes part. `report` is told the share that is done, and what comes next.
    """
    notes: dict[str, Proven] = {}
    asked = sorted({(score.task, score.metric) for score in scores if key_of(score) in RANKED})
    for number, (task, metric) in enumerate(asked):
        report(number / len(asked), f"{task}, {metric}")
        rows = [
            score
            for score in scores
            if score.task == task and key_of(score) == metric and is_ranked(score, refused)
        ]
        items = {
            score.model: _read_items(out, score) if isinstance(out, Path) else out(score)
            for score in rows
        }
        shapes = [_shape(metric, found) for found in items.values() if found]
        if not shapes:
            continue
        usual = max(sorted(set(shapes)), key=shapes.count)
        ranked = {
            score.model: score for score in rows if _shape(metric, items[score.model]) == usual
        }
        if len(ranked) < 2:
            continue
        result = _rank(metric, {name: [values for _, values in items[name]] for name in ranked})
        for name, score in ranked.items():
            score.rank = result.rank[name]
        notes[notes_key(task, metric)] = {
            "smallest_visible": result.smallest_visible,
            "items_needed": result.items_needed,
            "left_out": sorted(score.model for score in rows if score.model not in ranked),
            "better_than": {name: sorted(others) for name, others in result.better_than.items()},
        }
    return notes


def _shape(metric: str, items: Sequence[Item]) -> tuple[tuple[str, float], ...]:
    """What must be the same for models to be compared: the items, and what their bits are divided
    by.
    """
    return tuple((key, 0.0 if metric in QUALITY else values[1]) for key, values in items)


def _rank(metric: str, items: dict[str, Rows]) -> Ranking:
    if metric in QUALITY:
        return quality_rank_sets(FACTS[metric], items)
    values = {name: [row[0] for row in found] for name, found in items.items()}
    return (
        rate_rank_sets(values)
        if metric == SPEED
        else rank_sets(values, [row[1] for row in next(iter(items.values()))])
    )


def is_ranked(score: Score, refused: Collection[str]) -> bool:
    """A compressor is not: it is no model of the next byte. Neither is a model with infinite bits,
    or one that was `refused` a certificate, whose bits prove nothing about the others.
    """
    return (
        math.isfinite(score.value)
        and score.charged != "code"
        and (score.metric == SPEED or score.model not in refused)
    )


def with_statistics(items: Iterable[Sample], metric: str) -> list[Item]:
    """The items that have statistics of a metric. Blocks are the same item only in the same
    session.
    """
    found = [(f"{item.key} {item.session}", item.statistics.get(metric, [])) for item in items]
    return [(key, values) for key, values in found if len(values) > 1]


def _read_items(out: Path, score: Score) -> list[Item]:
    return with_statistics(read_samples(out, score.model, score.task, texts=False), score.metric)


@dataclass(frozen=True)
class Below:
    """A model that is significantly worse than one that does not read the question.

    level: the share that this one answers rightly: by chance, or by always giving `answer`.
    """

    model: str
    task: str
    metric: str
    value: float
    level: float
    answer: str | None = None


def find_below(scores: Sequence[tuple[str, Score]]) -> list[Below]:
    """Return who is below chance, and to whom always giving the most common right answer is better.

    Chance lies above the score's interval; the other is McNemar's test with Holm's correction over
    `scores`, each of which comes with what its model is called.
    """
    found = [
        _below(name, score, float(score.chance))
        for name, score in scores
        if score.chance is not None and score.high is not None and score.high < score.chance
    ]
    asked = [(name, score, score.majority) for name, score in scores if score.majority is not None]
    corrected = holm([float(majority.p) for _, _, majority in asked])
    return found + [
        _below(name, score, float(majority.value), majority.answer)
        for (name, score, majority), p in zip(asked, corrected, strict=True)
        if p <= ALPHA and score.value < majority.value
    ]


def _below(name: str, score: Score, level: float, answer: str | None = None) -> Below:
    return Below(name, score.task, key_of(score), float(score.value), level, answer)
