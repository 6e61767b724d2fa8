"""`run` and `score` from Python, as on the command line, and what can be asked of a run."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench import storage
from llmbench.adapter import Adapter
from llmbench.data import loading
from llmbench.data.text import Text
from llmbench.errors import UsageError, did_you_mean
from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.renderers import (
    chart,
    comparison,
    html,
    registry,
    sections,
    serving,
    table,
)
from llmbench.plan import plan
from llmbench.results import compare as results_compare
from llmbench.results import matching
from llmbench.results.record import Record
from llmbench.results.samples import Opened, Sample, sample_files
from llmbench.runner import run as runner_run
from llmbench.runner.engine.ahead import start_first
from llmbench.runner.judging.suite import judge_suite
from llmbench.runner.progress import Watcher, warn
from llmbench.runner.session import score
from llmbench.training.shared_cache import split_cache
from llmbench.votes.scores import add_votes, open_run

if TYPE_CHECKING:
    import altair
    import pandas

__all__ = ["Run", "load_run", "load_text", "run", "score", "write_boards"]

Model = str | Path | Adapter


@dataclass(frozen=True, repr=False)
class Run:
    """A run: its record and its output directory. A notebook shows its board."""

    record: Record
    folder: Path
    interrupted: bool = False

    @cached_property
    def board(self) -> leaderboard_board.Board:
        """The tables and findings of the leaderboard. A run that was killed is ranked now."""
        record = self.record
        if record.state.end != "done" and not self.interrupted:
            from llmbench.results.ranking import rank_stopped  # numpy

            record = rank_stopped(record, self.folder)
        return leaderboard_board.build(record, self.folder)

    def value(self, model: str, metric: str = "bits_per_byte", task: str | None = None) -> float:
        """Return one score, by default of the first task that has it. UsageError if none has."""
        for row in self.record.scores:
            if row.model == model and row.metric == metric and task in (None, row.task):
                return row.value
        self._check_names(model, task)
        known = {row.metric for row in self.record.scores if row.model == model}
        raise UsageError(f"there is no {metric} of {model}", hint=did_you_mean(metric, known))

    def to_pandas(self) -> pandas.DataFrame:
        """Return the scores as a data frame: a row for each model, task and metric."""
        import pandas

        return pandas.DataFrame([row.model_dump() for row in self.record.scores])

    def samples(self, task: str, model: str) -> list[Sample]:
        """Return what `model` did on each item of `task`, in order. UsageError if there is none."""
        self._check_names(model, task)
        found = Opened(self.record, self.folder).items(model, task)
        if not found:
            files = sample_files(self.folder, model)
            raise UsageError(
                f"there are no samples of {model} on {task}",
                hint=f"there are some on: {', '.join(file.stem for file in files)}"
                if files
                else "",
            )
        return found

    def _check_names(self, model: str, task: str | None) -> None:
        """UsageError, with the known ones, if the run has no such model or task."""
        record = self.record
        models = [row.name for row in record.models]
        tasks = {row.task for row in record.scores} | {row.task for row in record.failures}
        if model not in models:
            raise UsageError(f"no model {model!r} in this run", hint=did_you_mean(model, models))
        if task is not None and task not in tasks:
            raise UsageError(f"no task {task!r} in this run", hint=did_you_mean(task, tasks))

    def compare(
        self, model_a: str, model_b: str, metrics: Sequence[str] = (), top: int = 5
    ) -> ModelComparison:
        """Compare two models item by item, as `llmbench compare` does.

        metrics: only these (default: all that have a direction).
        top: how many of the items that differ most to keep, and of the answers that flipped.
        """
        pairs = matching.within(add_votes(Opened(self.record, self.folder)), model_a, model_b)
        return ModelComparison(results_compare.compare((model_a, model_b), pairs, metrics, top))

    def plot(self, metric: str | None = None, task: str | None = None) -> altair.TopLevelMixin:
        """Return an Altair chart: the scores of `metric` with their intervals.

        Without `metric`: quality against speed if at least two models have both, else bits per
        byte.
        """
        if metric is None and len(self.board.points) > 1:
            import altair

            return altair.LayerChart.from_dict(chart.chart(self.board.points))
        return chart.draw_intervals(self.record, metric or "bits_per_byte", task)

    def __repr__(self) -> str:
        record = self.record
        counts = f"{len(record.models)} models, {len(record.scores)} scores"
        state = ", interrupted" if self.interrupted else ""
        failures = f"{len(record.failures)} failures"
        return f"<Run of {record.suite.name}: {counts}, {failures}{state}, in {self.folder}>"

    def __str__(self) -> str:
        return table.render(self.board)

    def _repr_html_(self) -> str:
        page = html.render(self.board).replace("&", "&amp;").replace('"', "&quot;")
        return (
            f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:0"'
            ' sandbox="allow-scripts"></iframe>'
        )


@dataclass(frozen=True, repr=False)
class ModelComparison:
    """Two models of a run, compared item by item; `result` holds every number."""

    result: results_compare.Comparison

    def __repr__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        sections.print_to(Console(file=out, width=140), comparison.sections(self.result))
        return out.getvalue()

    def _repr_markdown_(self) -> str:
        return sections.markdown(comparison.sections(self.result))


def run(
    suite: str | Path,
    models: Sequence[Model] | Mapping[str, Model] = (),
    *,
    data: Mapping[str, str | Path] | None = None,
    watcher: Watcher | None = None,
    **options: Any,
) -> Run:
    """Run a suite on its own models and on `models`; write the boards; return the run.

    suite: a path, or the name of a shipped suite.
    models: SPECs as on the command line, and adapters; or a mapping from the name on the board to
        such a model. An adapter runs in this process, so tasks that measure a process (speed,
        memory, max-batch) are unsupported for it, and it is measured again in every run.
        `llmbench.wrap` makes an adapter of a torch module or a transformers model.
    data: text of the suite -> file to use instead.
    options: those of the command line: only, out, device, dtype, threads, limit, seed, timeout,
        offline, retrain, cache (a folder, or the address of a cache that machines share), workers,
        engine.
    Raises UsageError if suite, models or texts are wrong; nothing ran then. What a model could not
    do is in `record.failures`.
    """
    if "only" in options:
        options["only"] = tuple(options["only"])
    if options.pop("retrain", False):
        options["retrain_since"] = time.time()
    if options.get("out") is not None:
        options["out"] = Path(options["out"])
    options |= split_cache(options.pop("cache", None))
    specs, named = _split_models(models)
    files = {name: str(path) for name, path in (data or {}).items()}
    chosen = plan.Options(models=specs, named=named, data=files, **options)
    with start_first(str(suite), chosen) as ahead:
        made = plan.plan(str(suite), chosen)
        result, interrupted = runner_run.run(made, watcher, ahead)
    if not interrupted:
        judge_suite(made, warn)
    finished = Run(result, made.out, interrupted)
    write_boards(finished.board, made.out)
    return finished


def _split_models(
    models: Sequence[Model] | Mapping[str, Model],
) -> tuple[tuple[str, ...], dict[str, str | Adapter]]:
    """The SPECs, and what has a name of its own: adapters, and every value of a mapping."""
    if isinstance(models, str | Adapter):
        raise UsageError("`models` is a list of models", hint=f"models=[{models!r}]")
    if isinstance(models, Mapping):
        return (), {name: _check_model(model) for name, model in models.items()}
    specs: list[str] = []
    named: dict[str, str | Adapter] = {}
    for model in map(_check_model, models):
        if isinstance(model, str):
            specs.append(model)
        elif (name := model.info.name) in named:
            raise UsageError(
                f"two objects are called {name!r}",
                hint="give a mapping from names to models: models={'first': ..., 'second': ...}",
            )
        else:
            named[name] = model
    return tuple(specs), named


def _check_model(model: Model) -> str | Adapter:
    if isinstance(model, str | Path):
        return str(model)
    if isinstance(model, Adapter):
        return model
    raise UsageError(
        f"expected a SPEC or an adapter, got {type(model).__name__}",
        hint="llmbench.wrap(model, tokenizer) makes an adapter of a torch module",
    )


def write_boards(board: leaderboard_board.Board, folder: Path) -> None:
    """Write leaderboard.md, .csv and .html, and pictures if there are any."""
    for ending in registry.WRITTEN:
        storage.write_text(folder / f"leaderboard.{ending}", registry.draw(ending, board))
    pictures = {"leaderboard.svg": chart.svg(board.points), serving.PICTURE: ""}
    if board.loads:
        pictures[serving.PICTURE] = serving.draw_loads(board.loads)
    for name, drawn in pictures.items():
        if drawn:
            storage.write_text(folder / name, drawn)
        else:
            (folder / name).unlink(missing_ok=True)


def load_text(source: str | Path, *, select: Mapping[str, str] | None = None) -> Text:
    """Load a text as a suite does, for example to train a model on it.

    source: a built-in text (fables, storyworld) or a file: rows, or a text of one document.
    select: keep the rows whose fields have these values, as in {"part": "tales"}.
    Raises UsageError if it cannot be read or nothing is left.
    """
    return loading.load("text", source, select=select)


def load_run(path: str | Path) -> Run:
    """Load a run from its output directory or its run.json. UsageError if there is none."""
    file = Path(path)
    opened = open_run(file)
    return Run(opened.record, opened.folder)
