"""A mean over all tasks of a suite, such as CORE: the same weight for each task, and refused rather
than taken over fewer.

Its interval: the half widths of the tasks' own intervals, squared and added, each side by itself
(MOVER; Zou & Donner 2008), divided by the number of tasks. Tasks count as independent, but for
those about the same text, whose half widths are added as they are: their errors go together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from llmbench.metrics.facts import FACTS, MEAN_OF
from llmbench.results.record import Failure, Score, key_of
from llmbench.results.signature import ABSENT, Signature
from llmbench.stats import Interval, mean_interval

MEANS = {metric: mean for mean, metric in MEAN_OF.items()}
PROTOCOL = "average/1"
MOST_NAMED = 3  # tasks that a reason names


def average_tasks(
    name: str, metric: str, tasks: Sequence[str], models: Sequence[str], scores: Sequence[Score]
) -> tuple[list[Score], list[Failure]]:
    """Return the mean of each model that has the metric in all these tasks, on whole texts; and why
    the others have none. The scores are of a task called `name`.
    """
    found: list[Score] = []
    lacks: list[Failure] = []
    by_model: dict[str, dict[str, Score]] = {model: {} for model in models}
    for score in scores:
        if key_of(score) == metric and score.model in by_model:
            by_model[score.model][score.task] = score
    parts = {score.member: score.task for score in scores if score.member in tasks}
    for model, own in by_model.items():
        rows = {task: own[task] for task in tasks if task in own}
        hint = "a mean over fewer tasks, or of samples, would be another number"
        why = _find_lack(name, tasks, rows)
        if parts and not why:
            part, whole = next(iter(parts.items()))
            why = f"{name} would count {part} twice: it is a part of {whole}, too"
            hint = "leave one of them out of the suite"
        if why:
            lacks.append(
                Failure(model=model, task=name, reason="unavailable", message=why, hint=hint)
            )
        else:
            found.append(_average(name, model, rows))
    return found, lacks


def _find_lack(name: str, tasks: Sequence[str], rows: Mapping[str, Score]) -> str:
    """Why there is no mean of these scores; "" if there is one."""
    missing = [task for task in tasks if task not in rows]
    if missing:
        named = ", ".join(missing[:MOST_NAMED])
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        verb = "is" if len(missing) == 1 else "are"
        return f"{name} needs all {len(tasks)} tasks: {named}{more} {verb} missing"
    cuts = {
        (key, parts.get(key, ABSENT))
        for score in rows.values()
        if (parts := Signature.parse(score.signature).values())
        for key in ("limit", "left_out")
    }
    cut = sorted(f"{key} {value}" for key, value in cuts if value != ABSENT)
    return f"{name} needs whole texts, and these are samples ({', '.join(cut)})" if cut else ""


def _average(name: str, model: str, rows: Mapping[str, Score]) -> Score:
    scores = list(rows.values())
    texts = [Signature.parse(one.signature).values().get("text", one.task) for one in scores]
    intervals = [
        Interval(float(one.value), _as_float(one.low), _as_float(one.high), one.n) for one in scores
    ]
    mean = mean_interval(intervals, texts)
    of = hashlib.sha256("\n".join(f"{t} {one.signature}" for t, one in rows.items()).encode())
    signature = Signature.of(
        protocol=PROTOCOL, metric=scores[0].metric, tasks=len(scores), of=of.hexdigest()[:16]
    )
    metric = FACTS[MEANS[scores[0].metric]]
    row = metric.row(mean.value, mean.n, str(signature), mean.low, mean.high)
    return Score.model_validate({"model": model, "task": name, **row})


def _as_float(end: object) -> float | None:
    return None if end is None else float(str(end))
