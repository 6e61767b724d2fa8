"""`.eval_results/*.yaml` of a model's repository on the Hub, as `huggingface_hub` reads them.

Such a row has one value and says of which benchmark of which data set on the Hub. A record knows
the digests of its texts, not where on the Hub they are, so the user says so: `--dataset`.
"""

from __future__ import annotations

import math

import yaml

from llmbench.errors import UsageError, did_you_mean
from llmbench.integrations.exports.entries import describe_interval, group_by_model
from llmbench.integrations.exports.target import Export, File, Source, name_file
from llmbench.results.record import Score, is_ranked_by


def make(source: Source) -> Export:
    """Return MODEL/.eval_results/SUITE.yaml for each model: a row for each task of `--dataset`, of
    the metric that its models are ranked by.
    """
    record = source.opened.record
    tasks = {score.task for score in record.scores if is_ranked_by(score)}
    for task in source.datasets:
        if task not in tasks:
            raise UsageError(
                f"--dataset: no task {task!r} with a ranked metric in this run",
                hint=did_you_mean(task, tasks),
            )
    if not source.datasets:
        raise UsageError(
            "hf-eval-results needs to know where on the Hub the questions of a task are",
            hint="--dataset TASK=ORG/NAME:TASK_ID, with the benchmark's own task id",
        )
    files, notes = [], []
    for model, scores in group_by_model(record):
        rows = []
        for score in scores:
            if score.task not in source.datasets or not is_ranked_by(score):
                continue
            if math.isfinite(score.value):
                rows.append(_describe(source, score))
            else:
                notes.append(f"left out: {score.metric} of {model.name} is infinite")
        if rows:
            text = yaml.safe_dump(rows, sort_keys=False, allow_unicode=True, width=1000)
            name = f"{name_file(model.name)}/.eval_results/{name_file(record.suite.name)}.yaml"
            files.append(File(name, text.encode()))
    return Export(files, notes=notes)


def _describe(source: Source, score: Score) -> dict[str, object]:
    record, dataset = source.opened.record, source.datasets[score.task]
    version = f"{record.suite.name} {record.suite.version}"
    return {
        "dataset": {"id": dataset.repo, "task_id": dataset.task},
        "value": score.value,
        "date": record.finished,
        "notes": f"{score.metric} in {describe_interval(score)}; llmbench {record.llmbench},"
        f" suite {version}, {score.signature}",
    }
