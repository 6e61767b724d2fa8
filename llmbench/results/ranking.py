"""Ranks for the record: which models share which comparison, and what the items of their samples
prove.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from llmbench.data.strings import Strings
from llmbench.metrics.facts import QUALITY, SPEED
from llmbench.metrics.metric import Metric
from llmbench.results.paired_tests import ALPHA, Rows, quality_rank_sets
from llmbench.results.record import (
    Record,
    Score,
    TaskNotes,
    is_ranked,
    is_ranked_by,
    key_of,
    metric_of,
    notes_key,
)
from llmbench.results.samples import Opened, read_items
from llmbench.results.tables.items import ItemTable
from llmbench.stats import Ranking, holm, rank_sets, rate_rank_sets

RESOLUTION = 1e-4  # bits a byte by which engines differ that compute the same weights in float32


@dataclass(frozen=True)
class Items:
    """The items that have statistics of a metric, and these. Blocks are the same item only in the
    same session.
    """

    table: ItemTable
    numbers: NDArray[np.int64]
    rows: Rows

    @classmethod
    def of(cls, table: ItemTable, metric: str) -> Items:
        """Those of a table."""
        numbers, rows = table.find_rows(metric, least=2)
        return cls(table, numbers, rows)

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, number: int) -> list[float] | NDArray[np.float64]:
        """One of the statistics, of all items."""
        rows = self.rows
        return rows[:, number] if isinstance(rows, np.ndarray) else [row[number] for row in rows]

    def digest(self, metric: str) -> bytes:
        """A digest of what must be the same for models to be compared: the items, and what their
        bits are divided by.
        """
        digest = hashlib.sha256()
        for column in (self.table.keys, self.table.sessions):
            chosen = column
            if len(self) != len(column):
                chosen = Strings(column[i] for i in self.numbers)
            for frame in chosen.frames():
                digest.update(frame)
        if metric not in QUALITY:
            digest.update(np.asarray(self.column(1), dtype=np.float64).tobytes())
        return digest.digest()

    def describe(self, metric: str) -> list[tuple[str, float]]:
        """What `digest` is made of."""
        sizes = [0.0] * len(self) if metric in QUALITY else self.column(1)
        names = (f"{self.table.keys[i]} {self.table.sessions[i]}" for i in self.numbers)
        return list(zip(names, map(float, sizes), strict=True))


Source = Callable[[Score], Items]


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
    asked = sorted({(score.task, score.metric) for score in scores if is_ranked_by(score)})
    for number, (task, metric) in enumerate(asked):
        report(number / len(asked), f"{task}, {metric}")
        rows = [
            score
            for score in scores
            if score.task == task and key_of(score) == metric and is_ranked(score, refused)
        ]
        if len(rows) < 2:
            continue
        items = {
            score.model: _read_items(out, score) if isinstance(out, Path) else out(score)
            for score in rows
        }
        usual = _find_usual(metric, items)
        ranked = {score.model: score for score in rows if score.model in usual}
        if len(ranked) < 2:
            continue
        noise = {name: float(score.noise or 0) for name, score in ranked.items()}
        facts = metric_of(rows[0])
        result = _rank(facts, {name: items[name] for name in ranked}, noise)
        for name, score in ranked.items():
            score.rank = result.rank[name]
        notes[notes_key(task, metric)] = {
            "smallest_visible": result.smallest_visible,
            "items_needed": result.items_needed,
            "left_out": sorted(score.model for score in rows if score.model not in ranked),
            "better_than": {name: sorted(others) for name, others in result.better_than.items()},
        }
    return notes


def is_unranked(record: Record) -> bool:
    """Whether a run ended before its models were compared: it was killed, or interrupted then."""
    return record.state.end != "done" and not any(
        score.rank or notes_key(score.task, score.metric) in record.notes.tasks
        for score in record.scores
        if is_ranked_by(score) and score.metric != SPEED
    )


def rank_stopped(record: Record, folder: Path) -> Record:
    """Return the record of a run that ended before its models were compared with the ranks that the
    samples in its folder prove; any other record as it is.
    """
    if not is_unranked(record):
        return record
    refused = [row.name for row in record.models if row.certificate and row.certificate.is_refused]
    scores = [score.model_copy() for score in record.scores]
    opened = Opened(record, folder)
    proven = rank_scores(scores, lambda score: _find_own(opened, score), refused)
    tasks = dict(record.notes.tasks)
    for key, found in proven.items():
        old = tasks.get(key, TaskNotes())
        tasks[key] = TaskNotes.model_validate({**old.model_dump(), **found})
    notes = record.notes.model_copy(update={"tasks": tasks})
    return record.model_copy(update={"scores": scores, "notes": notes})


def _find_own(opened: Opened, score: Score) -> Items:
    return Items.of(opened.table(score.model, score.task), score.metric)


def _find_usual(metric: str, items: Mapping[str, Items]) -> set[str]:
    """The models that were asked what most were asked; of as many, the first in order."""
    digests = {name: found.digest(metric) for name, found in items.items() if found}
    counts = Counter(digests.values())
    most = [digest for digest, count in counts.items() if count == max(counts.values())]
    if len(most) > 1:
        one = {digest: name for name, digest in digests.items()}
        most.sort(key=lambda digest: items[one[digest]].describe(metric))
    return {name for name, digest in digests.items() if digest in most[:1]}


def _rank(metric: Metric, items: Mapping[str, Items], noise: Mapping[str, float]) -> Ranking:
    if metric.name in QUALITY or metric.is_custom:
        return quality_rank_sets(metric, {name: one.rows for name, one in items.items()})
    values = {name: one.column(0) for name, one in items.items()}
    if metric.name == SPEED:
        return rate_rank_sets(values)
    # the rounding of an engine is one-sided, so that every item "proves" it
    noise = {name: max(noise.get(name, 0.0), RESOLUTION / 2) for name in items}
    return rank_sets(values, next(iter(items.values())).column(1), noise=noise)


def _read_items(out: Path, score: Score) -> Items:
    metric = score.metric
    return Items.of(read_items(out, score.model, score.task, [metric]), metric)


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
