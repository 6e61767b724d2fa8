"""Make the record of a run from its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import llmbench
from llmbench.adapter import BuildContext
from llmbench.config.model_card import Stage
from llmbench.data.overlap import overlap_share
from llmbench.data.text import Text
from llmbench.hardware import machine, peaks
from llmbench.metrics.facts import BITS_PER_BYTE, MEAN_OF
from llmbench.plan.plan import Plan
from llmbench.plan.registry import hide_folders
from llmbench.results.parents.differences import compare_with_parents
from llmbench.results.ranking import Items, rank_scores
from llmbench.results.record import (
    Failure,
    Machine,
    ModelRow,
    Notes,
    Record,
    Score,
)
from llmbench.results.rows import Certificate, LeftOut, RunState, SuiteRow
from llmbench.results.samples import read_items
from llmbench.results.schema import SCHEMA
from llmbench.results.tables.items import ItemTable
from llmbench.results.tables.means import build_mean_table
from llmbench.runner.folder.earlier import Earlier
from llmbench.runner.folder.run_folder import RunFolder
from llmbench.runner.lossy_documents import score_documents
from llmbench.runner.progress import Watcher
from llmbench.storage import default_cache
from llmbench.tasks.answers.averages import average_tasks
from llmbench.tasks.lossy import leaves_out
from llmbench.tasks.performance.prices import add_prices
from llmbench.training.cache import find_training_texts

End = Literal["done", "interrupted", "unfinished"]


def assemble(
    folder: RunFolder,
    failures: Sequence[Failure],
    started: str,
    earlier: Earlier,
    watcher: Watcher | None,
    end: End = "done",
) -> Record:
    """The record: this run's cells, and those of models that an earlier run of the same question
    left in this folder. Without a watcher, nothing is ranked. `end`: how the run ended, if it did.
    """
    made = folder.made
    found = _read_cells(folder, earlier)
    _tell_documents(earlier, found, watcher)
    models, scores = found.models, found.scores
    for card in made.cards:
        new = ModelRow(name=card.name, stage=card.stage, family=card.family)
        models.setdefault(card.name, new).parent = card.parent
    for row in models.values():
        add_certificate(folder, row)
    refused = [m.name for m in models.values() if m.certificate and m.certificate.is_refused]
    if end != "unfinished":  # minutes, of large texts
        _add_overlap(made, models, earlier.before)
    scores = [add_noise(score, models[score.model]) for score in scores]
    scores = found.scores = add_prices(scores, made.options.price_per_hour)
    failures = [*_keep_failures(earlier, found), *failures, *found.failures]
    means, failures = _average_all(made, found, failures, end)
    return Record(
        schema=SCHEMA,
        llmbench=llmbench.__version__,
        suite=_describe_suite(made),
        started=started,
        finished=now(),
        seed=made.options.seed,
        options={
            **made.options.for_cells(),
            "data": sorted(made.options.data),
            "only": sorted(made.options.only),
            "models": [hide_folders(spec) for spec in made.options.models],
            "timeout": made.options.timeout,
            "memory_budget": made.options.memory_budget,
            "price_per_hour": made.options.price_per_hour,
        },
        machine=_machine(made),
        models=list(models.values()),
        scores=[*means, *scores],
        failures=[failure.drop_folders() for failure in failures],
        notes=Notes.model_validate(
            {
                "tasks": _task_notes(folder, found, means, refused, watcher),
                "cells": found.done,
                "files": found.files,
                "left_out": found.left_out,
                "absent": {
                    name: why for name, why in made.absent.items() if name not in found.models
                },
            }
        ),
        state=_find_state(made, found, failures, earlier, end),
    )


def _average_all(
    made: Plan, found: _Found, failures: Sequence[Failure], end: End
) -> tuple[list[Score], list[Failure]]:
    """The means over all tasks that the suite names; and the failures, with why models have none
    instead of what an earlier run said of it.
    """
    averages, tasks = made.suite.file.averages, [task.name for task in made.suite.tasks]
    means, failures = list[Score](), [row for row in failures if row.task not in averages]
    for name, metric in averages.items():
        some, lacks = average_tasks(name, metric, tasks, list(found.models), found.scores)
        means, failures = means + some, failures + (lacks if end != "unfinished" else [])
    return means, failures


def _describe_suite(made: Plan) -> SuiteRow:
    suite = made.suite
    return SuiteRow(
        name=suite.name, version=suite.version, sha256=suite.sha256, gate=suite.file.gate
    )


def _find_state(
    made: Plan, found: _Found, failures: Sequence[Failure], earlier: Earlier, end: End
) -> RunState:
    """How far this run and earlier ones came: which cells nobody has tried."""
    tried = {(name, task) for name, tasks in found.done.items() for task in tasks}
    tried |= {(failure.model, failure.task) for failure in failures}
    before = earlier.before.state.not_reached if earlier.before else {}
    asked = {name: tasks for name, tasks in before.items() if name in found.models}
    asked |= {name: [task.name for task in made.suite.tasks] for name in made.models}
    missing = {
        name: [task for task in tasks if (name, task) not in tried] for name, tasks in asked.items()
    }
    return RunState(
        end=end,
        not_reached={name: missing[name] for name in found.models if missing.get(name)},
        not_asked=[name for name in made.suite.not_asked if name not in found.models],
    )


def _keep_failures(earlier: Earlier, found: _Found) -> list[Failure]:
    """The failures of models that are not asked again: of cells that are damaged now, and those of
    an earlier run that still hold, but for cells that were looked at anew.
    """
    judged = {*found.judged, *earlier.damaged}
    kept = [
        failure
        for failure in (earlier.before.failures if earlier.before else ())
        if failure.model in found.models
        and failure.model in earlier.names
        and (failure.model, failure.task) not in judged
    ]
    return kept + earlier.list_failures()


def _tell_documents(earlier: Earlier, found: _Found, watcher: Watcher | None) -> None:
    """Say that scores of an earlier run changed, since other documents are left out than before."""
    if watcher is None or earlier.before is None:
        return
    for task in found.left_out.keys() | earlier.before.notes.left_out.keys():
        notes = (earlier.before.notes.left_out.get(task), found.left_out.get(task))
        was, now = (frozenset(note.documents) if note else frozenset() for note in notes)
        scored = {score.model for score in earlier.before.scores if score.task == task}
        changed = [name for name in found.models if name in scored & set(earlier.names)]
        if was != now and changed:
            watcher.warn(
                f"{task}: the scores of {', '.join(changed)} changed: {len(now):,}"
                f" document{' is' if len(now) == 1 else 's are'} left out for all models,"
                f" {len(was):,} before"
            )


@dataclass
class _Found:
    """What the finished cells hold. done: model -> its tasks. judged: cells of tasks that leave out
    documents, as (model, task).
    """

    models: dict[str, ModelRow] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    done: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    judged: set[tuple[str, str]] = field(default_factory=set)


def _read_cells(folder: RunFolder, earlier: Earlier) -> _Found:
    """Of all finished cells return what they hold, without documents that some models cannot hold
    where a task leaves these out.
    """
    made = folder.made
    cells = dict(earlier.cells)
    for name in made.models:
        for task in made.suite.tasks:
            if (cell := folder.cell(name, task.name)) is not None:
                cells.setdefault(name, {})[task.name] = cell
    rests = {
        task.name: score_documents(
            made,
            task,
            {name: own[task.name] for name, own in cells.items() if task.name in own},
            earlier.find_losses(task.name),
        )
        for task in made.suite.tasks
        if leaves_out(task)
    }
    found = _Found(
        judged={(name, task) for name, own in cells.items() for task in own.keys() & rests.keys()}
    )
    for name in earlier.names:
        if name not in cells and (row := earlier.find_row(name)) is not None:
            found.models[name] = row
    for name, own in cells.items():
        for task_name, cell in own.items():
            found.models.setdefault(name, ModelRow.model_validate(cell["model"]))
            found.files |= cell["files"]
            rest = rests.get(task_name)
            if rest is not None and name in rest.refused:
                found.failures.append(rest.refused[name])
                continue
            rows = cell["scores"] if rest is None else rest.scores.get(name, cell["scores"])
            head = {"model": name, "task": task_name}
            found.scores += [Score.model_validate({**head, **row}) for row in rows]
            found.done.setdefault(name, []).append(task_name)
    found.left_out = {
        name: rest.left_out for name, rest in rests.items() if rest.left_out is not None
    }
    return found


def _task_notes(
    folder: RunFolder,
    cells: _Found,
    means: Sequence[Score],
    refused: Sequence[str],
    watcher: Watcher | None,
) -> Mapping[str, Mapping[str, object]]:
    """Ranks and what they prove, where somebody waits for them; and of tasks in which models took
    turns, what is known about the measuring itself.
    """
    made = folder.made
    found: dict[str, Mapping[str, object]] = {}
    if watcher is not None:
        name = made.suite.name
        read = partial(_read_items, made, cells)
        found |= rank_scores(
            [*means, *cells.scores],
            read,
            refused,
            lambda share, what: watcher.progress(name, "comparing", share, what),
        )
        against = compare_with_parents(list(cells.models.values()), cells.scores, read)
        for key, rows in against.items():
            found[key] = {**found.get(key, {}), "against_parent": rows}
    for task in made.suite.tasks:
        if task.process == "interleaved" and (seen := folder.read_rounds(task.name)):
            with suppress(KeyError):
                found[task.name] = {
                    **found.get(task.name, {}),
                    **{key: seen[key] for key in ("again", "cost", "state", "session")},
                }
    return found


def _read_items(made: Plan, cells: _Found, score: Score) -> Items:
    """The items of a score, without documents that it leaves out; of a mean those of its tasks."""

    def read(one: Score) -> ItemTable:
        ids = cells.left_out[one.task].documents if one.left_out else ()
        table = read_items(made.out, one.model, one.task, [one.metric])
        return table.leave_out(ids)

    is_mean = score.metric in MEAN_OF
    table = build_mean_table(score, cells.scores, read) if is_mean else read(score)
    return Items.of(table, score.metric)


def _machine(made: Plan) -> Machine:
    """The machine, with what it can do at most where that was measured."""
    threads = made.options.threads or machine.cores()
    known = peaks.read(
        peaks.kept_in(made.options.cache or default_cache(), made.options.device_kind, threads)
    )
    return Machine.model_validate(
        {**machine.facts(threads), **({"ceilings": peaks.as_record(known)} if known else {})}
    )


def add_certificate(folder: RunFolder, row: ModelRow) -> None:
    """What the model was proven to be, by this run or by `llmbench check`, with the weights of its
    cells and on their device.
    """
    if not row.fingerprint:
        return
    in_cache = row.process == "worker"  # an object may compute other things from the same weights
    found = folder.certificate(row.name, row.fingerprint, row.device, in_cache)
    row.certificate = Certificate.model_validate(found) if found else None


def add_noise(score: Score, row: ModelRow) -> Score:
    """The score with its engine's noise in its interval, if it is of bits and there is any."""
    noise = row.certificate.noise if row.certificate else 0.0
    if score.metric != BITS_PER_BYTE or not noise or score.low is None or score.high is None:
        return score
    ends = {"low": max(0.0, float(score.low) - noise), "high": float(score.high) + noise}
    return score.model_copy(update={**ends, "noise": noise})


def _add_overlap(made: Plan, models: Mapping[str, ModelRow], before: Record | None) -> None:
    """How much of the test stands word for word in what a model learnt from; unknown for models
    that bring their own training.
    """
    for row in before.models if before else []:
        if row.name in models:
            models[row.name].overlap = row.overlap
    texts = made.suite.texts
    asked = [texts[role] for role in {task.text for task in made.suite.tasks} if role in texts]
    if "train" not in texts or not asked:
        return
    share = max(
        (value for text in asked if (value := overlap_share(text, texts["train"])) is not None),
        default=None,
    )
    for name, model in made.models.items():
        if model.card.network is not None or model.facts.learns_from_text:
            models[name].overlap = share
        elif model.card.recipe is not None:
            models[name].overlap = _overlap_of_stages(made, model.stages, asked)
        elif model.facts.learns_from_text is False:
            models[name].overlap = 0.0


def _overlap_of_stages(made: Plan, stages: Sequence[Stage], asked: Sequence[Text]) -> float | None:
    """Of a checkpoint that was trained here from nothing; unknown where its first weights came from
    elsewhere.
    """
    if stages[0].checkpoint.new is None:
        return None
    texts = made.suite.texts
    stuff = BuildContext(
        train=texts.get("train"),
        valid=texts.get("valid"),
        domain=texts.get("domain"),
        domain_valid=texts.get("domain_valid"),
    )
    learnt_texts = [
        text for stage in stages if (text := find_training_texts(stage, stuff)[0]) is not None
    ]
    return max(
        (
            value
            for test in asked
            for text in learnt_texts
            if (value := overlap_share(test, text)) is not None
        ),
        default=None,
    )


def now() -> str:
    """Return the time in UTC, to the second, in ISO format."""
    return datetime.now(UTC).isoformat(timespec="seconds")
