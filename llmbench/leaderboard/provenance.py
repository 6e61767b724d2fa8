"""How the numbers of a board were made: the machine, the run, the models and the protocols, as
pairs of words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.words import LONGEST, cut, join_words
from llmbench.results.record import Machine, ModelRow, Record
from llmbench.results.signature import Signature

Facts = Sequence[tuple[str, str]]

MOST_FACTS = 200
LONGEST_VALUE = 300  # characters
MACHINE_CHARACTERS = 80  # of a part of a machine's name
DEEPEST = 3  # a machine's facts may lie in one another
OF_A_MODEL = (
    "family",
    "tokenizer",
    "parameters",
    "context",
    "weights_bytes",
    "dtype",
    "quantization",
    "compiled",
    "parent",
    "device",
    "fingerprint",
    "training",
    "origin",
    "published",
)


@dataclass(frozen=True)
class TaskProtocol:
    """A signature: the task that has it, its metrics, and its parts. Scores with different
    signatures are not comparable.
    """

    task: str
    metrics: Sequence[str]
    parts: Facts


@dataclass(frozen=True)
class Provenance:
    run: Facts
    machine: Facts
    protocols: Sequence[TaskProtocol]
    models: Sequence[tuple[str, Facts]]


def provenance(record: Record) -> Provenance:
    """Everything that a record says about how it came to be."""
    run = {
        "suite": {
            "name": record.suite.name,
            "version": record.suite.version,
            "sha256": record.suite.sha256,
        },
        "started": record.started,
        "finished": record.finished,
        "llmbench": record.llmbench,
        "options": {**record.options, "seed": record.seed},
    }
    models = [
        (cut(model.name, NAME_CHARACTERS), _facts(_describe_model(model)))
        for model in record.models
    ]
    return Provenance(_facts(run), _facts(record.machine.model_dump()), _protocols(record), models)


def describe_precision(models: Sequence[ModelRow]) -> list[str]:
    """Sentences on the models of a table whose weights are in few bits, or that are compiled."""
    rounded = sorted(f"{m.name} ({m.quantization})" for m in models if m.quantization)
    halves = sorted(m.name for m in models if m.dtype in ("bfloat16", "float16"))
    said = [f"Quantised weights: {join_words(rounded)}."] if rounded else []
    if halves:
        said.append(f"Weights in 16 bits, log-softmax in 32 bits: {join_words(halves)}.")
    if compiled := sorted(model.name for model in models if model.compiled):
        said.append(f"Compiled to write, not to score: {join_words(compiled)}.")
    return [cut(sentence, LONGEST) for sentence in said]


def describe_shipped(models: Sequence[ModelRow]) -> list[str]:
    """Return a sentence on weights that came with llmbench, for each place of their training."""
    places: dict[str, list[str]] = {}
    for model in models:
        if model.training is not None and model.training.shipped:
            places.setdefault(model.training.shipped, []).append(model.name)
    return [
        cut(
            f"Not trained in this run: the weights of {join_words(names)} came with llmbench"
            f" ({place}). `--retrain` trains them here.",
            LONGEST,
        )
        for place, names in places.items()
    ]


def _describe_model(model: ModelRow) -> Mapping[str, Any]:
    """Return the facts of a model that a page lists; its training curve is drawn instead."""
    return model.model_dump(include=set(OF_A_MODEL), exclude={"training": {"curve"}})


def _protocols(record: Record) -> list[TaskProtocol]:
    metrics: dict[tuple[str, str], list[str]] = {}
    for score in record.scores:
        names = metrics.setdefault((score.task, score.signature), [])
        if score.metric not in names:
            names.append(score.metric)
    made = []
    for (task, signature), names in list(metrics.items())[:MOST_FACTS]:
        parts = [
            (cut(part.key, LONGEST_VALUE), cut(part.value, LONGEST_VALUE))
            if part.key
            else (cut(part.value, LONGEST_VALUE), "")
            for part in Signature.parse(signature).parts[:MOST_FACTS]
        ]
        made.append(
            TaskProtocol(
                cut(task, NAME_CHARACTERS),
                [cut(name, NAME_CHARACTERS) for name in names],
                [(key, value) for key, value in parts],
            )
        )
    return made


def _facts(found: Mapping[str, Any]) -> Facts:
    return [
        (cut(key, LONGEST_VALUE), cut(value, LONGEST_VALUE))
        for key, value in _list_leaves(found, "", DEEPEST)
    ][:MOST_FACTS]


def _list_leaves(found: Mapping[str, Any], above: str, deeper: int) -> Iterator[tuple[str, str]]:
    """The leaves; what is unknown or empty is left out."""
    for key, value in found.items():
        name = f"{above} {key}".strip().replace("_", " ")
        if value is None or value in ({}, [], ""):
            continue
        if isinstance(value, Mapping) and deeper:
            yield from _list_leaves(value, name, deeper - 1)
        else:
            yield name, value if isinstance(value, str) else _short(value)


def _short(value: Any) -> str:
    return (
        f"{value:.6g}"
        if isinstance(value, float)
        else json.dumps(value, ensure_ascii=False, default=str)
    )


def describe_machine(machine: Machine, gpus: bool = True) -> str:
    """Its kind. `gpus`: whether they were to be used."""
    cpu, cores, threads, names, system = machine.kind(gpus)
    found = [cut(name, MACHINE_CHARACTERS) for name in names[:16]]
    counted = [
        f"{found.count(name)} × {name}" if found.count(name) > 1 else name
        for name in dict.fromkeys(found)
    ]
    counts = ["?" if count is None else count for count in (cores, threads)]
    parts = [cpu, f"{counts[0]} cores", f"{counts[1]} threads", *(counted or ["no GPU"]), system]
    return ", ".join(cut(part, MACHINE_CHARACTERS) for part in parts if part)


def format_time(iso: str) -> str:
    """Return an ISO 8601 time as local time with its zone, as in "2026-01-02 03:14 UTC".

    A text that is no such time, or has no zone, is returned as it is.
    """
    try:
        found = datetime.fromisoformat(iso)
        return iso if found.tzinfo is None else f"{found.astimezone():%Y-%m-%d %H:%M %Z}"
    except (ValueError, OverflowError):
        return iso
