"""A model card's results: the key `model-index` of its front matter, which the Hub shows."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from llmbench.integrations.exports.entries import CONFIDENCE, group_by_model, list_keys
from llmbench.integrations.exports.target import Export, File, Source, name_file
from llmbench.results.record import Record, Score, metric_of
from llmbench.results.signature import Signature


def make(source: Source) -> Export:
    """Return MODEL/README.md for each model, to be copied into its card."""
    record = source.opened.record
    files = []
    for model, scores in group_by_model(record):
        tasks = dict.fromkeys(score.task for score in scores)
        results = [
            _describe(source, task, [score for score in scores if score.task == task])
            for task in tasks
        ]
        front = {"model-index": [{"name": model.name, "results": results}]}
        text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
        files.append(File(f"{name_file(model.name)}/README.md", f"---\n{text}---\n".encode()))
    return Export(files)


def _describe(source: Source, task: str, scores: Sequence[Score]) -> dict[str, object]:
    record = source.opened.record
    return {
        "task": {"type": "text-generation", "name": task},
        "dataset": _name_dataset(source, record, task, scores[0]),
        "metrics": [
            _describe_score(score, key)
            for score, key in zip(scores, list_keys(scores), strict=True)
        ],
    }


def _name_dataset(source: Source, record: Record, task: str, score: Score) -> dict[str, object]:
    """The data set on the Hub, if it was named, or else what the score's signature says of it."""
    suite = f"{record.suite.name} {record.suite.version}, {task}"
    known = source.datasets.get(task)
    if known is not None:
        return {"name": suite, "type": known.repo, "config": known.task}
    text = Signature.parse(score.signature).values().get("text", "")
    return {"name": suite, "type": f"text-{text}" if text else f"llmbench-{name_file(task)}"}


def _describe_score(score: Score, key: str) -> dict[str, object]:
    args: dict[str, object] = {"unit": score.unit, "n": score.n, "signature": score.signature}
    if score.low is not None and score.high is not None:
        args |= {"low": score.low, "high": score.high, "confidence": CONFIDENCE}
    return {
        "type": key,
        "value": score.value,
        "name": f"{metric_of(score).label} ({score.unit})",
        "args": args,
    }
