"""MLflow: an experiment for the suite, a run for each model; a local file store or a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.errors import UsageError
from llmbench.integrations.exports.target import Export, Source, Tracked
from llmbench.integrations.exports.trackers.tracked import list_tracked, name_project, show_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

TAGS, METRICS = 100, 1000  # that MLflow takes at once


def make(source: Source) -> Export:
    """Return the models as runs: values as metrics, facts as parameters, units as tags."""
    return Export(tracked=list_tracked(source.opened.record))


def send(export: Export, place: Path, uri: str | None) -> str:
    """Write the runs to the file store in a folder, or to a tracking server."""
    place = place.resolve()
    if (
        uri is None
    ):  # MLflow has it only if it is asked for; an empty one gets no default experiment
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        place.mkdir(parents=True, exist_ok=True)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri=uri or place.as_uri())
        for tracked in export.tracked:
            _send_run(client, tracked, is_local=uri is None)
    except (MlflowException, OSError) as error:
        raise UsageError(f"MLflow refuses: {error}", where=uri or str(place)) from None
    if uri is not None:
        return f"{len(export.tracked)} runs sent"
    return f"to look at it: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {place}"


def _send_run(client: MlflowClient, tracked: Tracked, is_local: bool) -> None:
    from mlflow.entities import Param, RunTag

    name = name_project(tracked)
    known = client.get_experiment_by_name(name)
    # a local store would note its own folder as the place of artifacts, of which there are none
    location = f"mlflow-artifacts:/{name}" if is_local else None
    experiment = known.experiment_id if known else client.create_experiment(name, location)
    finished = _read_time(tracked, "finished")
    run = client.create_run(
        experiment, start_time=_read_time(tracked, "started"), run_name=show_name(tracked)
    ).info.run_id
    params = [Param(key, str(value)) for key, value in tracked.config.items()]
    client.log_batch(run, params=params)
    tags = [RunTag(f"unit.{key}", unit) for key, unit in tracked.units.items()]
    for at in range(0, len(tags), TAGS):
        client.log_batch(run, tags=tags[at : at + TAGS])
    metrics = list(_list_metrics(tracked, finished))
    for at in range(0, len(metrics), METRICS):
        client.log_batch(run, metrics=metrics[at : at + METRICS])
    client.set_terminated(run, end_time=finished)


def _list_metrics(tracked: Tracked, time: int) -> Iterator[Metric]:
    from mlflow.entities import Metric

    for key, value in tracked.values.items():
        yield Metric(key, value, time, 0)
    for key, curve in tracked.curves.items():
        for step, value in curve:
            yield Metric(key, value, time, step)


def _read_time(tracked: Tracked, name: str) -> int:
    """Milliseconds since 1970."""
    return int(1000 * datetime.fromisoformat(str(tracked.config[name])).timestamp())
