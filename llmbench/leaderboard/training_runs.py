"""Checkpoints of one training run among the models of a board: bits by step, and when gains end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.words import LONGEST, cut
from llmbench.metrics.facts import BITS, DIVERGENCE
from llmbench.models.pretrained.steps import find_step
from llmbench.results.record import ModelRow, Record, Score, TaskNotes, notes_key

LONGEST_RUN = 1000  # checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """A model, the step it is of, and its bits with their interval, if there is one."""

    model: str
    step: int
    value: float
    ends: tuple[float, float] | None


@dataclass(frozen=True)
class TrainingRun:
    """At least two checkpoints of a run on a task, by step; `said`: after which no gain is
    proven.
    """

    name: str
    task: str
    unit: str
    checkpoints: Sequence[Checkpoint]
    said: str


def find_training_runs(record: Record) -> list[TrainingRun]:
    """Return the training runs of a record, one for each task and metric in bits."""
    tables: dict[tuple[str, str], list[Score]] = {}
    for score in record.scores:
        if score.metric in BITS and score.metric != DIVERGENCE:
            tables.setdefault((score.task, score.metric), []).append(score)
    return [run for scores in tables.values() for run in _read_table(record, scores)]


def describe_training_runs(record: Record, headline: Sequence[Score]) -> list[str]:
    """Return a sentence for each training run in a table with these scores."""
    if headline[0].metric not in BITS or headline[0].metric == DIVERGENCE:
        return []
    return [run.said for run in _read_table(record, headline)]


def _read_table(record: Record, scores: Sequence[Score]) -> list[TrainingRun]:
    places = {model.name: place for model in record.models if (place := _find_place(model))}
    runs: dict[str, dict[int, Score]] = {}
    for score in scores:
        if score.model in places and math.isfinite(score.value):
            run, step = places[score.model]
            runs.setdefault(run, {})[step] = score
    task, metric = scores[0].task, scores[0].metric
    notes = record.notes.tasks.get(notes_key(task, metric), TaskNotes())
    return [
        TrainingRun(
            cut(run, NAME_CHARACTERS),
            cut(task, NAME_CHARACTERS),
            scores[0].unit,
            [_read_score(step, score) for step, score in ordered],
            _describe_gains(run, {s: score.model for s, score in ordered}, notes.better_than),
        )
        for run, found in runs.items()
        if len(found) > 1
        for ordered in [sorted(found.items())[:LONGEST_RUN]]
    ]


def _find_place(model: ModelRow) -> tuple[str, int] | None:
    """The training run and the step of a model: of a checkpoint whose directory names its step."""
    folder = str((model.origin or {}).get("id") or "")
    step = find_step(folder)
    if step is None:
        return None
    before, found, after = model.name.rpartition(folder)
    if not found:
        return None
    return f"{before}{after}".strip("-") or "the training run", step


def _read_score(step: int, score: Score) -> Checkpoint:
    ends = None
    if score.low is not None and score.high is not None:
        ends = float(score.low), float(score.high)
    return Checkpoint(cut(score.model, NAME_CHARACTERS), step, float(score.value), ends)


def _describe_gains(
    run: str, names: Mapping[int, str], better_than: Mapping[str, Sequence[str]]
) -> str:
    """Say which is the first step that no later one is significantly better than."""
    steps = list(names)
    if not better_than.keys() >= set(names.values()):
        return cut(f"{run}: its checkpoints were not all compared with each other.", LONGEST)

    def beats(one: int, other: int) -> bool:
        return names[other] in better_than[names[one]]

    last = steps[-1]
    first = next(s for s in steps if not any(beats(later, s) for later in steps if later > s))
    if first == last:
        said = f"gains are proven up to the last checkpoint, step {last:,}"
    else:
        said = (
            f"after step {first:,} no gain is proven: no later checkpoint, up to step {last:,}, is"
            " significantly better"
        )
        if beats(first, last):
            said += f", and the last one is significantly worse than step {first:,}"
    return cut(f"{run}: {said}.", LONGEST)
