"""The scores of a record as exports need them: each with its key, its interval and its digest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from llmbench.results.record import ModelRow, Record, Score, key_of

CONFIDENCE = 0.95  # of every interval of a record


def group_by_task(scores: Iterable[Score]) -> list[tuple[str, list[Score]]]:
    """Return the scores of each task, tasks in the order in which they first come."""
    kept: dict[str, list[Score]] = {}
    for score in scores:
        kept.setdefault(score.task, []).append(score)
    return list(kept.items())


def group_by_model(record: Record) -> Iterator[tuple[ModelRow, list[Score]]]:
    """Yield each model of a record that has scores, with them."""
    for model in record.models:
        scores = [score for score in record.scores if score.model == model.name]
        if scores:
            yield model, scores


def list_keys(scores: Sequence[Score]) -> list[str]:
    """Return a key for each score of a task and model: what `key_of` says, numbered where that
    comes again.
    """
    seen: dict[tuple[str, str, str], int] = {}
    keys = []
    for score in scores:
        key = key_of(score)
        count = seen[score.model, score.task, key] = seen.get((score.model, score.task, key), 0) + 1
        keys.append(key if count == 1 else f"{key}:{count}")
    return keys


def has_interval(score: Score) -> bool:
    """Return whether a score has both ends of its interval, and they are finite."""
    return (
        score.low is not None
        and score.high is not None
        and math.isfinite(score.low)
        and math.isfinite(score.high)
    )


def describe_interval(score: Score) -> str:
    """Return unit, interval and number of items in words, as in "bits/byte, 95 % interval 2.1 to
    2.3 over 18 items".
    """
    if score.low is None or score.high is None:
        return f"{score.unit}, no interval, {score.n} items"
    return f"{score.unit}, 95 % interval {score.low!r} to {score.high!r} over {score.n} items"
