"""MLflow: an experiment for the suite, a run for each model; a local file store or a server."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from llmbench.errors import UsageError
from llmbench.integrations.exports.target import Export, Source, Tracked
from llmbench.integrations.exports.trackers.told import Told, read_time
from llmbench.integrations.exports.trackers.tracked import list_tracked, name_project, show_name

TAGS, METRICS = 100, 1000  # that MLflow takes at once


def make(source: Source) -> Export:
    """Return the models as runs: values as metrics, facts as parameters, units as tags."""
    return Export(tracked=list_tracked(source.opened.record))


def send(export: Export, place: Path, uri: str | None) -> str:
    """Write the runs to the file store in a folder, or to a tracking server."""
    return Live(place, uri).finish(export)


class Live:
    """Runs that are written while models are at work. UsageError if MLflow refuses."""

    def __init__(self, place: Path, uri: str | None):
        place = place.resolve()
        if uri is None:  # MLflow has it only on demand; an empty one gets no default experiment
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            place.mkdir(parents=True, exist_ok=True)
        # stdout says where the runs are, in the words of the command
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow import MlflowClient

        self.place, self.uri = place, uri
        with self._errors():
            self.client = MlflowClient(tracking_uri=uri or place.as_uri())
        self.runs: dict[str, str] = {}  # model -> its run
        self.told, self.infinite = Told(), list[str]()

    def log(self, tracked: Tracked, values: Mapping[str, float], step: int) -> None:
        """Add values of a model that is at work."""
        from mlflow.entities import Metric

        with self._errors():
            run, now = self._open(tracked), _count_milliseconds(time.time())
            kept = {key: value for key, value in values.items() if self._keeps(value)}
            self.told.note(tracked, kept, step)
            metrics = [Metric(key, value, now, step) for key, value in kept.items()]
            self.client.log_batch(run, metrics=metrics)

    def finish(self, export: Export) -> str:
        """Complete the runs, and end them."""
        with self._errors():
            for tracked in export.tracked:
                self._complete(tracked)
        if self.uri is not None:
            lost = f"; left out, since databases hold no infinity: {', '.join(self.infinite)}"
            count = len(export.tracked)
            return f"{count} run{'' if count == 1 else 's'} sent{lost if self.infinite else ''}"
        return (
            "to look at it: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri"
            f" {self.place}"
        )

    def _open(self, tracked: Tracked) -> str:
        """The run of a model, begun now if there is none."""
        if tracked.name not in self.runs:
            name = name_project(tracked)
            known = self.client.get_experiment_by_name(name)
            # a local store would note its own folder as the place of artifacts, which none has
            location = f"mlflow-artifacts:/{name}" if self.uri is None else None
            self.runs[tracked.name] = self.client.create_run(
                known.experiment_id if known else self.client.create_experiment(name, location),
                start_time=_count_milliseconds(read_time(tracked, "started", time.time())),
                run_name=show_name(tracked),
            ).info.run_id
        return self.runs[tracked.name]

    def _complete(self, tracked: Tracked) -> None:
        from mlflow.entities import Metric, Param, RunTag

        run = self._open(tracked)
        finished = _count_milliseconds(read_time(tracked, "finished", time.time()))
        params = [Param(key, str(value)) for key, value in tracked.config.items()]
        self.client.log_batch(run, params=params)
        tags = [RunTag(f"unit.{key}", unit) for key, unit in tracked.units.items()]
        for at in range(0, len(tags), TAGS):
            self.client.log_batch(run, tags=tags[at : at + TAGS])
        left = list(self.told.list_left(tracked))
        metrics = [Metric(key, v, finished, step) for key, step, v in left if self._keeps(v)]
        name = show_name(tracked)
        self.infinite += [f"{key} of {name}" for key, _, v in left if not self._keeps(v)]
        for at in range(0, len(metrics), METRICS):
            self.client.log_batch(run, metrics=metrics[at : at + METRICS])
        self.client.set_terminated(run, end_time=finished)

    def _keeps(self, value: float) -> bool:
        """Whether the store keeps a number as it is: of infinity, a server's database makes the
        largest number that it has.
        """
        return self.uri is None or math.isfinite(value)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            raise UsageError(
                f"MLflow refuses: {error}", where=self.uri or str(self.place)
            ) from None


def _count_milliseconds(seconds: float) -> int:
    return int(1000 * seconds)
