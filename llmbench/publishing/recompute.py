"""Measure cells of a published run again, with the ordinary runner.

No code of the published folder is run: the suite is one that came with llmbench, or one that the
caller names, and a model is one of the suite, a baseline, or one that the caller names.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmbench.errors import UsageError
from llmbench.hardware import machine
from llmbench.plan import plan as planning
from llmbench.plan import registry
from llmbench.plan import suite as plan_suite
from llmbench.publishing.figures import Figure, is_recomputable, meet_scores
from llmbench.results.record import Machine, Record, Score
from llmbench.runner import run as runner_run
from llmbench.runner.progress import Watcher

Cell = tuple[str, str]  # model, task


@dataclass(frozen=True)
class Request:
    """What to measure again, and how.

    count: of cells, chosen at random by `seed`.
    suite: a path, if it is none that came with llmbench.
    models: name in the record -> SPEC, for models that are in neither the suite nor the baselines.
    data: text of the suite -> file. device: None for the one of the record.
    """

    count: int
    seed: int = 0
    suite: Path | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None
    threads: int | None = None
    offline: bool = False
    cache: Path | None = None


@dataclass(frozen=True)
class Recomputed:
    """What came of it. `cells`: those that were chosen, of `choices` that could be. `machine`: this
    one. `others`: models whose weights here are not those of the record.
    """

    cells: tuple[Cell, ...]
    choices: int
    figures: tuple[Figure, ...]
    machine: Machine
    others: tuple[str, ...]


def recompute(
    record: Record, request: Request, place: Path, watcher: Watcher | None = None
) -> Recomputed:
    """Choose cells of the record, measure them in `place`, and hold them against it.

    Raises UsageError if there is no such suite, text or model here, or nothing to choose from.
    """
    suite = _find_suite(record, request)
    read = plan_suite.read(suite)
    own = {card.name for card in read.cards([], [])}
    known = {*own, *registry.names("baselines"), *request.models}
    choices = list_choices(record, {task.name for task in read.tasks}, known)
    if not choices:
        raise UsageError(
            "no cell of the record can be measured again here",
            where=record.suite.name,
            hint="name its models with --model NAME=SPEC",
        )
    chosen = draw_cells(choices, request.count, request.seed)
    figures, others = list[Figure](), list[str]()
    for model in dict.fromkeys(model for model, _ in chosen):
        tasks = [task for name, task in chosen if name == model]
        made = _plan(record, request, suite, model, tasks, model in own, place / model)
        result, interrupted = runner_run.run(made, watcher)
        if interrupted:
            raise KeyboardInterrupt
        figures += [f for task in tasks for f in _hold_against(record, result, model, task)]
        if _fingerprint(record, model) != _fingerprint(result, model):
            others.append(model)
    here = Machine.model_validate(machine.facts(request.threads or machine.cores()))
    return Recomputed(tuple(chosen), len(choices), tuple(figures), here, tuple(others))


def _find_suite(record: Record, request: Request) -> str:
    """The suite of the record, as the runner takes it. UsageError if it is not here."""
    row = record.suite
    if request.suite is None and row.name not in registry.names("suites"):
        raise UsageError(
            f"the suite {row.name!r} did not come with llmbench",
            hint="name its file with --suite FILE",
        )
    spec = str(request.suite or row.name)
    path = registry.suite_path(spec)
    if hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
        raise UsageError(
            f"the record is of another suite {row.name!r}, version {row.version}",
            where=spec,
            hint="name the file of that version with --suite FILE",
        )
    return spec


def list_choices(record: Record, tasks: set[str], models: set[str]) -> list[Cell]:
    """Return the cells of a record that do not depend on the machine or on other models, of these
    tasks and models, in the order of the record.
    """
    by_cell: dict[Cell, list[Score]] = {}
    for score in record.scores:
        by_cell.setdefault((score.model, score.task), []).append(score)
    callers = {row.name for row in record.models if row.process == "caller"}
    return [
        (model, task)
        for (model, task), scores in by_cell.items()
        if task in tasks
        and model in models - callers
        and any(map(is_recomputable, scores))
        and not any(score.left_out for score in scores)
    ]


def draw_cells(choices: Sequence[Cell], count: int, seed: int) -> list[Cell]:
    """Return so many of them, at random by the seed, in their order; all if there are fewer."""
    places = random.Random(seed).sample(range(len(choices)), min(count, len(choices)))
    return [choices[at] for at in sorted(places)]


def _plan(
    record: Record,
    request: Request,
    suite: str,
    model: str,
    tasks: Sequence[str],
    is_own: bool,
    out: Path,
) -> planning.Plan:
    """The plan of one model's cells, with the options of the record."""
    given = record.options
    dtype, limit = given.get("dtype"), given.get("limit")
    spec = request.models.get(model)
    options = planning.Options(
        models=() if is_own or spec else (model,),
        named={model: spec} if spec else {},
        only=(model,) if is_own else (),
        data=request.data,
        out=out,
        device=request.device or str(given.get("device", "auto")),
        dtype=dtype if isinstance(dtype, str) else None,
        threads=request.threads,
        limit=limit if isinstance(limit, int) else None,
        seed=record.seed,
        offline=request.offline,
        cache=request.cache,
    )
    made = planning.plan(suite, options)
    made.suite.tasks = [task for task in made.suite.tasks if task.name in tasks]
    wanted = {(model, task) for task in tasks}
    return replace(
        made,
        models={name: found for name, found in made.models.items() if name == model},
        keys={cell: key for cell, key in made.keys.items() if cell in wanted},
        lacks={cell: lack for cell, lack in made.lacks.items() if cell in wanted},
        absent={name: why for name, why in made.absent.items() if name == model},
    )


def _hold_against(record: Record, result: Record, model: str, task: str) -> list[Figure]:
    """The figures of a cell, published and here."""
    published, here = (
        [score for score in one.scores if (score.model, score.task) == (model, task)]
        for one in (record, result)
    )
    failed = [row for row in result.failures if (row.model, row.task) == (model, task)]
    why = f"{failed[0].reason}: {failed[0].message}" if failed else ""
    return meet_scores(published, here, why or result.notes.absent.get(model, ""))


def _fingerprint(record: Record, model: str) -> str:
    return next((row.fingerprint for row in record.models if row.name == model), "")
