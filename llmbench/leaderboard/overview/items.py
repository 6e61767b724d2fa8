"""Every item of a task, with what each model paid or said there: for the page's browser of samples.
Reads a run's samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.words import cut, cut_start
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import Better
from llmbench.results.record import Record, Score, metric_of
from llmbench.results.samples import samples, statistic_of

MOST_READ = 20_000  # items of a task and model
MOST_TEXT = 1_100_000  # characters of a page, of all items together
MOST_VALUES = 60_000  # numbers of a page, likewise
LONGEST_TEXT = 700  # characters of a prompt, an answer or a reference
MOST_METRICS = 3  # of a task
PER_ITEM = ("bits", "share", "mean", "ratio")  # tests whose statistics are a ratio for each item


@dataclass(frozen=True)
class ItemMetric:
    """A number that an item has: the key of its statistics, its title, and which way is better."""

    key: str
    title: str
    better: Better


@dataclass
class TaskItem:
    """An item. `values`: metric -> model -> number. `answers`: model -> what it wrote or chose.
    `near`: models of which another program may choose another candidate.
    """

    id: str
    prompt: str = ""
    reference: str = ""
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    near: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Characters of its texts."""
        texts = (self.id, self.prompt, self.reference, *self.answers.values())
        return sum(map(len, texts))


@dataclass(frozen=True)
class TaskItems:
    """The items of a task, the hardest first. `total`: how many there are, of which these are what
    a page has room for.
    """

    task: str
    metrics: Sequence[ItemMetric]
    models: Sequence[str]
    items: Sequence[TaskItem]
    total: int


def find_items(record: Record, folder: Path | None) -> list[TaskItems]:
    """Return the items of each task that has a number or a text for them; [] without samples."""
    if folder is None:
        return []
    metrics = _find_metrics(record)
    found: dict[str, dict[str, TaskItem]] = {}
    models: dict[str, dict[str, None]] = {}
    for model, task, rows in samples(record, folder):
        name = cut(model.name, NAME_CHARACTERS)
        items = found.setdefault(task, {})
        for row in islice(rows, MOST_READ):
            if _add(items, name, row, metrics.get(task, [])):
                models.setdefault(task, {}).setdefault(name)
    order = list(dict.fromkeys([*metrics, *found]))
    tasks = [task for task in order if models.get(task)]
    made, text, values = [], MOST_TEXT, MOST_VALUES
    for left, task in zip(range(len(tasks), 0, -1), tasks, strict=True):
        shown = _limit(found[task], metrics.get(task, []), text // left, values // left)
        text -= sum(item.size for item in shown)
        values -= sum(len(of) for item in shown for of in item.values.values())
        title = cut(task, NAME_CHARACTERS)
        kept = [m for m in metrics.get(task, []) if any(m.key in item.values for item in shown)]
        made.append(TaskItems(title, kept, list(models[task]), shown, len(found[task])))
    return made


def _find_metrics(record: Record) -> dict[str, list[ItemMetric]]:
    """Return task -> the metrics that single items have, in the order of the scores."""
    found: dict[str, dict[str, ItemMetric]] = {}
    for score in record.scores:
        key, of_task = statistic_of(score), found.setdefault(score.task, {})
        if _is_per_item(score) and key not in of_task and len(of_task) < MOST_METRICS:
            metric = metric_of(score)
            titles = [v.label for v in metric.variants if v.suffix and key.endswith(v.suffix)]
            label = cut(titles[0] if titles else metric.label, NAME_CHARACTERS)
            of_task[key] = ItemMetric(key, label, score.better)
    return {task: list(metrics.values()) for task, metrics in found.items()}


def _is_per_item(score: Score) -> bool:
    known = FACTS.get(score.metric)
    if score.member:
        return False  # the whole group says as much
    if known is None:
        return metric_of(score).test in PER_ITEM
    return known.test in PER_ITEM and not known.depends_on_machine and not known.is_derived


def _add(
    items: dict[str, TaskItem],
    model: str,
    row: Mapping[str, Any],
    metrics: Sequence[ItemMetric],
) -> bool:
    """Add what a model's row says of an item; return whether it says anything."""
    key, statistics = str(row.get("id")), row.get("statistics")
    values = {
        metric.key: value
        for metric in metrics
        if isinstance(statistics, dict)
        and (value := _divide(statistics.get(metric.key))) is not None
    }
    answer = row.get("output")
    if not values and not isinstance(answer, str):
        return False
    item = items.setdefault(key, TaskItem(cut(key, NAME_CHARACTERS)))
    for name, value in values.items():
        item.values.setdefault(name, {})[model] = value
    if isinstance(answer, str):
        item.answers[model] = cut(answer, LONGEST_TEXT)
    if row.get("near"):
        item.near.append(model)
    for name, own in (("prompt", "input"), ("reference", "reference")):
        if not getattr(item, name) and isinstance(row.get(own), str):
            setattr(item, name, _shorten(row[own], from_start=name == "reference" or not answer))
    return True


def _shorten(text: str, from_start: bool) -> str:
    """Return the text, or its beginning, or, of what an answer goes on from, its end."""
    return cut(text, LONGEST_TEXT) if from_start else cut_start(text, LONGEST_TEXT)


def _divide(numbers: object) -> float | None:
    """Return numerator / denominator; None if the statistics are no such pair."""
    if not isinstance(numbers, list) or len(numbers) != 2:
        return None
    try:
        above, below = map(float, numbers)
    except (TypeError, ValueError, OverflowError):
        return None
    return above / below if below > 0 and math.isfinite(above) else None


def _limit(
    items: Mapping[str, TaskItem], metrics: Sequence[ItemMetric], text: int, values: int
) -> list[TaskItem]:
    """Return the hardest items first, as many as fit into so many characters and numbers."""
    order = list(items.values())
    if metrics:
        order.sort(key=lambda item: _ease(item, metrics[0]))
    return list(_take(order, text, values))


def _take(items: Sequence[TaskItem], text: int, values: int) -> Iterator[TaskItem]:
    for item in items:
        text -= item.size
        values -= sum(len(of_model) for of_model in item.values.values())
        if text < 0 or values < 0:
            return
        yield item


def _ease(item: TaskItem, metric: ItemMetric) -> float:
    """Return how well models do there on average; items without the number come last."""
    found = list(item.values.get(metric.key, {}).values())
    if not found:
        return math.inf
    mean = sum(found) / len(found)
    return mean if metric.better == "higher" else -mean
