"""Sentences on models that are others in fewer bits, or compiled: what that cost and gained."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmbench.leaderboard.numbers import HUGE, format_plain, format_signed
from llmbench.leaderboard.provenance import describe_precision
from llmbench.leaderboard.words import LONGEST, cut
from llmbench.metrics.facts import DIVERGENCE, FACTS, SPEED
from llmbench.results.parents.relation import describe_child
from llmbench.results.record import Record, Score, TaskNotes, key_of, notes_key
from llmbench.results.rows import Against


def describe_parents(record: Record, task: str, headline: Sequence[Score]) -> list[str]:
    """Return the sentences on the models of a table whose numbers are in few bits or that are
    compiled; and for each that was made from another one what it costs in the table's metric, and
    what it gains.
    """
    metric, models = headline[0].metric, {model.name: model for model in record.models}
    said = (
        _describe_compiling(headline)
        if metric == SPEED
        else describe_precision([models[s.model] for s in headline if s.model in models])
    )
    found = record.notes.tasks.get(notes_key(task, metric), TaskNotes()).against_parent
    for name, one in found.items():
        if {name, one.parent} <= models.keys():
            child = describe_child(models[name], models[one.parent])
            said.append(cut(f"{child}: {_weigh(record, metric, name, one)}.", LONGEST))
    return said


def _describe_compiling(headline: Sequence[Score]) -> list[str]:
    return [
        f"{score.model} writes by a compiled step: compiling took"
        f" {format_plain(float(score.facts.compile_seconds), 1)} s, which no time here contains."
        for score in headline
        if score.facts is not None and score.facts.compile_seconds is not None
    ]


def _weigh(record: Record, metric: str, name: str, found: Against) -> str:
    """The difference of a model from its parent in a metric, and beside it what else is known."""
    if metric == SPEED:
        return f"decode {_show_ratio(found)}"
    parts = [_show_difference(found, FACTS[metric].difference_unit)]
    scores = {(score.model, key_of(score)): score for score in record.scores}
    apart = scores.get((name, DIVERGENCE))
    if apart is not None and metric != DIVERGENCE:
        parts.append(f"divergence {format_plain(float(apart.value), 4)} {apart.unit}")
    timed = (s.task for s in record.scores if s.model == name and key_of(s) == SPEED)
    for other in timed:
        rate = record.notes.tasks.get(other, TaskNotes()).against_parent.get(name)
        parts += [f"decode {_show_ratio(rate)}"] if rate else []
    sizes = {model.name: model.weights_bytes for model in record.models}
    memory: list[tuple[str, float | None, float | None]] = [
        ("weights", sizes[name], sizes[found.parent])
    ]
    for key, label in (("peak_ram", "peak RAM"), ("peak_gpu_reserved", "peak GPU memory")):
        own, before = scores.get((name, key)), scores.get((found.parent, key))
        if own is not None and before is not None:
            memory.append((label, float(own.value), float(before.value)))
    parts += [
        f"{what} × {own / before:.2f}"
        for what, own, before in memory
        if own and before and max(own, before) < HUGE
    ]
    return "; ".join(parts)


def _show_difference(found: Against, unit: str) -> str:
    shown = format_signed(float(found.difference), 4)
    if found.low is None or found.high is None:
        return f"{shown} {unit}"
    return f"{shown} {unit} [{format_signed(found.low, 4)}, {format_signed(found.high, 4)}]"


def _show_ratio(found: Against) -> str:
    """A difference of logarithms as the factor that it is."""
    value, low, high = (
        None if end is None else math.exp(min(50.0, max(-50.0, float(end))))
        for end in (found.difference, found.low, found.high)
    )
    if low is None or high is None:
        return f"× {value:.2f}"
    return f"× {value:.2f} [{low:.2f}, {high:.2f}]"
