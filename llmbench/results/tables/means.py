"""The items of a mean over tasks, such as CORE: those of all its tasks, so that two models are
tested by it as by any other score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llmbench.metrics.facts import MEAN_OF
from llmbench.results.record import Score, key_of
from llmbench.results.signature import Signature
from llmbench.results.tables.items import ItemTable


def find_mean(scores: Sequence[Score], model: str, task: str) -> Score | None:
    """Return a model's score of this name if it is a mean over tasks."""
    return next(
        (s for s in scores if s.model == model and s.task == task and s.metric in MEAN_OF), None
    )


def build_mean_table(
    mean: Score, scores: Sequence[Score], read: Callable[[Score], ItemTable]
) -> ItemTable:
    """Return the items of the tasks that a mean is of; none if not all of them are there.

    The statistics of an item are: what it adds to the mean, times the number of all items; 1; the
    number of its text; its number among the questions of all texts, the same in two tasks about
    one text; and the most that a question of this text can add.

    Args:
        scores: those of the run, or of the model.
        read: the items of a score.
    """
    metric, made = MEAN_OF[mean.metric], ItemTable()
    parts = [one for one in scores if one.model == mean.model and key_of(one) == metric]
    parts.sort(key=lambda one: one.task)  # a run that was resumed has them in another order
    count = sum(one.n for one in parts)
    if str(len(parts)) != _parse(mean).get("tasks") or count != mean.n:
        return made
    texts = [_parse(one).get("text", one.task) for one in parts]
    weights = [count / (one.n * len(parts)) for one in parts]
    most = dict.fromkeys(texts, 0.0)
    for one, text, weight in zip(parts, texts, weights, strict=True):
        most[text] += weight / (1 - float(_parse(one).get("baseline", 0)))
    numbers, questions = {text: at for at, text in enumerate(most)}, dict[tuple[str, str], int]()
    for one, text, weight in zip(parts, texts, weights, strict=True):
        table = read(one)
        places, rows = table.find_rows(metric, least=2)
        if len(places) != one.n:
            return ItemTable()
        for at, row in zip(places, rows, strict=True):
            key = table.keys[int(at)]
            question = questions.setdefault((text, key), len(questions))
            adds = weight * float(row[0]) / float(row[1])
            statistics = [adds, 1.0, float(numbers[text]), float(question), most[text]]
            made.add(f"{one.task}/{key}", {mean.metric: statistics}, "")
    return made


def _parse(score: Score) -> Mapping[str, str]:
    return Signature.parse(score.signature).values()
