"""results_*.json of lm-evaluation-harness, a file for each model, for programs that read those."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from llmbench.integrations.exports.entries import group_by_model, group_by_task, list_keys
from llmbench.integrations.exports.target import Export, File, Source, name_file
from llmbench.results.record import ModelRow, Record, Score
from llmbench.results.signature import Signature

RENAMED = {"accuracy": "acc", "accuracy:char": "acc_norm"}  # what lm-eval calls the same number


def make(source: Source) -> Export:
    """Return MODEL/results_DATE.json for each model.

    lm-eval's rows are `metric,filter` with `metric_stderr,filter`. An interval is no standard
    error, so that is "N/A", and the ends of the interval are rows of their own: `metric_low`,
    `metric_high`.
    """
    record = source.opened.record
    files = []
    for model, scores in group_by_model(record):
        text = json.dumps(_describe(record, model, scores), indent=2, ensure_ascii=False)
        date = name_file(record.finished.partition("+")[0].replace(":", "-"))
        content = f"{text}\n".encode("utf-8", "backslashreplace")
        files.append(File(f"{name_file(model.name)}/results_{date}.json", content))
    return Export(files)


def _describe(record: Record, model: ModelRow, scores: Sequence[Score]) -> dict[str, object]:
    tasks = group_by_task(scores)
    name_of = {score.metric: _rename(score.metric) for score in scores}
    better = {
        task: {name_of[row.metric]: row.better == "higher" for row in rows if row.better}
        for task, rows in tasks
    }
    return {
        "results": {task: _list_rows(task, rows) for task, rows in tasks},
        "group_subtasks": {task: [] for task, _ in tasks},
        "configs": {task: _describe_task(task, rows) for task, rows in tasks},
        "versions": {task: record.suite.version for task, _ in tasks},
        "n-shot": {task: _count_shots(rows[0]) for task, rows in tasks},
        "higher_is_better": better,
        "n-samples": {
            task: {"original": rows[0].n, "effective": rows[0].n} for task, rows in tasks
        },
        "config": {"model": "llmbench", "model_args": {"spec": model.name}},
        "model_name": model.name,
        "model_source": "llmbench",
        "date": record.finished,
        "llmbench_version": record.llmbench,
    }


def _rename(key: str) -> str:
    return RENAMED.get(key, key)


def _list_rows(task: str, scores: Sequence[Score]) -> dict[str, object]:
    rows: dict[str, object] = {"alias": task}
    for score, key in zip(scores, list_keys(scores), strict=True):
        name = _rename(key)
        rows |= {f"{name},none": _hold(score.value), f"{name}_stderr,none": "N/A"}
        ends = (("low", score.low), ("high", score.high))
        rows |= {f"{name}_{end},none": _hold(v) for end, v in ends if v is not None}
    return rows


def _hold(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"


def _describe_task(task: str, scores: Sequence[Score]) -> dict[str, object]:
    keys = list_keys(scores)
    return {
        "task": task,
        "num_fewshot": _count_shots(scores[0]),
        "metadata": {
            "units": {_rename(k): s.unit for k, s in zip(keys, scores, strict=True)},
            "n": {_rename(k): s.n for k, s in zip(keys, scores, strict=True)},
            "signatures": {_rename(k): s.signature for k, s in zip(keys, scores, strict=True)},
            "confidence": 0.95,
        },
    }


def _count_shots(score: Score) -> int:
    """How many examples stand before a question, as the signature says."""
    found = re.match(r"\d+", Signature.parse(score.signature).values().get("shots", "0"))
    return int(found[0]) if found else 0
