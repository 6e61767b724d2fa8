"""The models of a record as runs of an experiment tracker."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from llmbench.errors import drop_folders
from llmbench.integrations.exports.entries import group_by_model, list_keys
from llmbench.integrations.exports.target import Tracked, name_file
from llmbench.leaderboard.renderers.sanitise import clean_terminal
from llmbench.results.record import ModelRow, Record, Score

NAME_CHARACTERS = 120
TRAINING = "training/bits_per_byte"


def list_tracked(record: Record) -> list[Tracked]:
    """Return the models of a record as runs of an experiment tracker.

    The value of task `likelihood` in bits per byte is `likelihood/bits_per_byte`; the ends of its
    interval are `likelihood/bits_per_byte_low` and `..._high`, the items `..._n`.
    """
    return [_track(record, model, scores) for model, scores in group_by_model(record)]


def name_metric(task: str, key: str) -> str:
    """Return what all trackers call a metric of a task, of letters that all of them take."""
    return f"{name_file(task)}/{name_file(key.replace(':', '.').replace('@', '.'))}"


def find_unit(tracked: Tracked, key: str) -> str:
    """Return the unit of a metric, or of an end of its interval, or of its number of items."""
    for suffix in ("", "_low", "_high"):
        if key.endswith(suffix) and key.removesuffix(suffix) in tracked.units:
            return tracked.units[key.removesuffix(suffix)]
    return "items"


def show_name(tracked: Tracked) -> str:
    """Return a model's name as one line that a tracker can show."""
    return clean_terminal(tracked.name)[:NAME_CHARACTERS] or "model"


def name_project(tracked: Tracked) -> str:
    """Return the project, or experiment, that the runs of a suite are in."""
    return f"llmbench-{name_file(tracked.group)}"


def _track(record: Record, model: ModelRow, scores: Sequence[Score]) -> Tracked:
    values, units = read_values(scores)
    curve = read_curve(model)
    if curve:
        units[TRAINING] = "bits/byte"
    return Tracked(
        name=model.name,
        group=record.suite.name,
        config={**describe_run(record), **describe_model(model)},
        values=values,
        units=units,
        curves={TRAINING: curve} if curve else {},
    )


def read_values(scores: Sequence[Score]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the values of scores, with the ends of their intervals and their numbers of items, and
    the units.
    """
    values: dict[str, float] = {}
    units: dict[str, str] = {}
    for score, key in zip(scores, list_keys(scores), strict=True):
        name = name_metric(score.task, key)
        units[name] = score.unit
        for suffix, value in (
            ("", score.value),
            ("_low", score.low),
            ("_high", score.high),
            ("_n", score.n),
        ):
            if value is not None:
                values[f"{name}{suffix}"] = float(value)
    return values, units


def describe_run(record: Record) -> dict[str, str | int | float]:
    """Return the facts of a run: suite, versions, seed and machine. No folder is among them."""
    machine = record.machine
    facts = {
        "suite": record.suite.name,
        "suite_version": record.suite.version,
        "suite_sha256": record.suite.sha256,
        "llmbench": record.llmbench,
        "started": record.started,
        "finished": record.finished,
        "state": record.state.end,
        "seed": record.seed,
        "cpu": machine.cpu,
        "threads": machine.threads,
        "gpus": ", ".join(str(gpu.get("name", "GPU")) for gpu in machine.gpus),
    }
    return _keep_facts(facts.items())


def describe_model(model: ModelRow) -> dict[str, str | int | float]:
    """Return the facts of a model, those that are known."""
    names = (
        *("stage", "family", "tokenizer", "parameters", "context", "weights_bytes"),
        *("quantization", "dtype", "device", "fingerprint", "overlap", "parent"),
    )
    facts = model.model_dump(include=set(names))
    training = model.training
    if training is not None:
        facts |= {"training_seconds": training.seconds, "training_steps": training.steps}
    return {"model": model.name, **_keep_facts(facts.items())}


def _keep_facts(facts: Iterable[tuple[str, object]]) -> dict[str, str | int | float]:
    return {
        name: drop_folders(value) if isinstance(value, str) else value
        for name, value in facts
        if isinstance(value, str | int | float) and value != ""
    }


def read_curve(model: ModelRow) -> list[tuple[int, float]]:
    """Return (step, bits per byte) of a model's training; other rows of its curve are skipped."""
    curve = model.training.curve if model.training is not None else None
    rows = curve if isinstance(curve, list | tuple) else ()
    return [
        (int(row[0]), float(row[1]))
        for row in rows
        if isinstance(row, list | tuple)
        and len(row) >= 2
        and all(isinstance(part, int | float) and math.isfinite(part) for part in row[:2])
    ]
