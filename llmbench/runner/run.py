"""The only loop: cells, resume, progress. The parent stays light: it imports no torch and sleeps
while a worker runs.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import llmbench
from llmbench import storage
from llmbench.adapter import BuildContext
from llmbench.config.model_card import Card, Stage
from llmbench.conformance import certificates
from llmbench.data.overlap import overlap_share
from llmbench.data.text import Text
from llmbench.errors import UsageError
from llmbench.hardware import machine, peaks
from llmbench.metrics.facts import FACTS
from llmbench.plan.plan import Plan
from llmbench.results import record
from llmbench.results.cell import read_cell
from llmbench.results.ranking import rank_scores
from llmbench.results.record import (
    Failure,
    Machine,
    ModelRow,
    Notes,
    Record,
    Score,
    SuiteRow,
    key_of,
)
from llmbench.results.schema import SCHEMA
from llmbench.results.signature import Signature
from llmbench.runner import in_process, interleaving, max_batch, process
from llmbench.runner.messages import job_of, log_of
from llmbench.runner.process import Child
from llmbench.runner.progress import Silent, Watcher
from llmbench.storage import default_cache
from llmbench.tasks.performance.max_batch import MaxBatch
from llmbench.tasks.performance.speed import Speed
from llmbench.tasks.task import Task
from llmbench.training.cache import find_training_texts


def run(made: Plan, watcher: Watcher | None = None) -> tuple[Record, bool]:
    """Fill the cells that are missing and write run.json. Gives the record, and whether it was
    interrupted.
    """
    watcher = watcher or Silent()
    started = _now()
    made.out.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    interrupted = False
    with _lock(made.out):
        before = _before(made.out)
        mark = {"name": made.suite.name, "version": made.suite.version, "sha256": made.suite.sha256}
        storage.write_json(made.out / "suite.json", mark)
        try:
            for number, card in enumerate(made.cards, 1):
                watcher.model(card.name, number, len(made.cards))
                failures += _run_model(made, card, watcher)
            for task in made.suite.tasks:
                if isinstance(task, Speed.Settings):
                    failures += _run_rounds(made, task, watcher)
        except KeyboardInterrupt:
            interrupted = True
        try:
            result = _assemble(made, failures, started, before, watcher)
        except (
            KeyboardInterrupt
        ):  # comparing answers can take minutes; what was measured is written without it
            interrupted = True
            result = _assemble(made, failures, started, before, None)
        result.write(made.out)
    return result, interrupted


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """One run at a time in a folder."""
    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                "another run is at work in this folder",
                where=str(out),
                hint="wait for it, or choose another --out",
            ) from None
        yield


def _before(out: Path) -> Record | None:
    """The record that an earlier run left in this folder."""
    try:
        return record.load(out)
    except UsageError:
        return None


def _run_model(made: Plan, card: Card, watcher: Watcher) -> list[Failure]:
    """The model's missing cells, but those of tasks that all models take turns in. Whatever happens
    to a worker is a row for each cell that it leaves open.

    A model from outside is loaded even if all its cells are there: its weights may have changed,
    which only its fingerprint tells.
    """
    if card.name in made.objects:
        return _unavailable(made, card, watcher) + in_process.run(made, card, watcher)
    tasks = [task for task in made.suite.tasks if task.process != "interleaved"]
    known = _known(made, card)
    if not made.models[card.name].is_outside:
        for task in made.suite.tasks:
            if task.name in known:
                watcher.cell(card.name, task.name, "done before")
    failures = _unavailable(made, card, watcher)
    asked = [task for task in tasks if _is_asked(made, card, task, known)]
    if asked:
        log_of(made, card).unlink(missing_ok=True)
    shared = [task for task in asked if task.process == "shared"]
    alone = [[task] for task in asked if task.process == "own"]
    trains = card.recipe is not None and any(
        _is_asked(made, card, task, known) for task in made.suite.tasks
    )
    for batch in (
        [shared] if shared or trains else []
    ) + alone:  # one without a task trains, so that other processes find what they measure
        failures += _run_batch(made, card, batch, known, watcher)
    for task in asked:
        if isinstance(task, MaxBatch.Settings):
            failures += max_batch.run(made, card, task, known, watcher)
    return failures + _lost(made, card, asked, failures)


def _known(made: Plan, card: Card) -> dict[str, str]:
    """Finished cells of a model: task -> the fingerprint that it was made with."""
    return {
        task.name: cell["model"]["fingerprint"]
        for task in made.suite.tasks
        if (cell := made.cell(card.name, task.name)) is not None
    }


def _is_asked(made: Plan, card: Card, task: Task.Settings, known: Mapping[str, str]) -> bool:
    return (card.name, task.name) not in made.lacks and (
        task.name not in known or made.models[card.name].is_outside
    )


def _run_rounds(made: Plan, task: Speed.Settings, watcher: Watcher) -> list[Failure]:
    """A task in which all models take turns."""
    cards = [card for card in made.cards if card.name not in made.objects]
    found = [(card, _known(made, card)) for card in cards]
    asked = [(card, known) for card, known in found if _is_asked(made, card, task, known)]
    failures = interleaving.Rounds(made, task, watcher).run(asked) if asked else []
    return failures + [row for card, _ in asked for row in _lost(made, card, [task], failures)]


def _lost(
    made: Plan, card: Card, asked: Sequence[Task.Settings], failures: Sequence[Failure]
) -> list[Failure]:
    """Rows of cells that were finished, and cannot be read back."""
    failed = {failure.task for failure in failures if failure.model == card.name}
    lost, hint = (
        "the worker finished this cell, and it cannot be read back",
        "run again with the same --out",
    )
    names = [
        task.name
        for task in asked
        if task.name not in failed and made.cell(card.name, task.name) is None
    ]
    return [
        Failure(model=card.name, task=name, reason="error", message=lost, hint=hint)
        for name in names
    ]


def _run_batch(
    made: Plan,
    card: Card,
    tasks: Sequence[Task.Settings],
    known: Mapping[str, str],
    watcher: Watcher,
) -> list[Failure]:
    """One worker and its tasks: rows for those that it leaves open."""
    job = job_of(made, card, tasks, known)
    with process.opened(log_of(made, card), made.options) as child:
        failures, open_tasks = _follow(child, job, made.options.timeout, card, watcher)
    if open_tasks:
        reason, message, hint = child.ending(made.options.timeout)
        for name in open_tasks:
            failures.append(
                Failure(model=card.name, task=name, reason=reason, message=message, hint=hint)
            )
            watcher.cell(card.name, name, reason)
    return failures


def _unavailable(made: Plan, card: Card, watcher: Watcher) -> list[Failure]:
    """Rows of the model's cells whose texts cannot be had here."""
    failures = []
    for task in made.suite.tasks:
        lack = made.lacks.get((card.name, task.name))
        if lack is not None:
            failures.append(
                Failure(
                    model=card.name,
                    task=task.name,
                    reason="unavailable",
                    message=lack.what,
                    hint=lack.hint,
                )
            )
            watcher.cell(card.name, task.name, "unavailable")
    return failures


def _follow(
    child: Child, job: Mapping[str, Any], timeout: float, card: Card, watcher: Watcher
) -> tuple[list[Failure], list[str]]:
    """Read events until the worker ends or is late: (failures it reported, tasks it left open)."""
    failures: list[Failure] = []
    open_tasks = [task["name"] for task in job["tasks"]]
    child.send(job)
    for event in child.events(timeout):
        kind = event["event"]
        if kind == "end":
            break
        if kind == "progress":
            watcher.progress(card.name, event["what"], event["share"], event["remark"])
        elif kind == "cell":
            open_tasks.remove(event["task"])
            watcher.cell(card.name, event["task"], event["outcome"])
        elif kind == "failed":
            open_tasks.remove(event["task"])
            row = {key: event[key] for key in ("task", "reason", "message", "hint")}
            failures.append(Failure(model=card.name, **row))
            watcher.cell(card.name, event["task"], event["reason"])
    if not child.late:
        child.wait()
    return failures, open_tasks


def _assemble(
    made: Plan,
    failures: Sequence[Failure],
    started: str,
    before: Record | None,
    watcher: Watcher | None,
) -> Record:
    """The record: this run's cells, and those of models that an earlier run of the same question
    left in this folder. Without a watcher, nothing is ranked.
    """
    models: dict[str, ModelRow] = {}
    scores: list[Score] = []
    done: dict[str, list[str]] = {}
    names = [card.name for card in made.cards]
    others = [row.name for row in before.models if row.name not in names] if before else []
    for name in [*others, *names]:
        for task in made.suite.tasks:
            cell = (
                made.cell(name, task.name)
                if name in names
                else read_cell(made.cell_path(name, task.name))
            )
            if cell is None or (
                name not in names and not _same_question(made, cell, task)
            ):  # of this run's models the key has told
                continue
            models.setdefault(name, ModelRow.model_validate(cell["model"]))
            scores += [
                Score.model_validate({"model": name, "task": task.name, **row})
                for row in cell["scores"]
            ]
            done.setdefault(name, []).append(task.name)
    for card in made.cards:
        models.setdefault(card.name, ModelRow(name=card.name, stage=card.stage, family=card.family))
    for row in models.values():
        _add_certificate(made, row)
    refused = [
        row.name
        for row in models.values()
        if row.certificate and "refused" in (p.state for p in row.certificate.levels.values())
    ]
    _add_overlap(made, models, before)
    scores = _with_prices(scores, made.options.price_per_hour)
    kept = (
        [
            failure
            for failure in before.failures
            if failure.model in models and failure.model not in names
        ]
        if before
        else []
    )
    return Record(
        schema=SCHEMA,
        llmbench=llmbench.__version__,
        suite=SuiteRow(
            name=made.suite.name,
            version=made.suite.version,
            sha256=made.suite.sha256,
            gate=made.suite.file.gate,
        ),
        started=started,
        finished=_now(),
        seed=made.options.seed,
        options={
            **made.options.for_cells(),
            "data": sorted(made.options.data),
            "timeout": made.options.timeout,
            "memory_budget": made.options.memory_budget,
            "price_per_hour": made.options.price_per_hour,
        },
        machine=_machine(made),
        models=list(models.values()),
        scores=scores,
        failures=[*kept, *failures],
        notes=Notes.model_validate(
            {"tasks": _task_notes(made, scores, refused, watcher), "cells": done}
        ),
    )


def _same_question(made: Plan, cell: Mapping[str, Any], task: Task.Settings) -> bool:
    """Whether an earlier run's cell belongs on this board; times and memory of another machine, or
    of fewer threads, do not.
    """
    return cell["question"] == made.question and (
        task.process == "shared" or cell.get("machine") == made.options.machine
    )


def _task_notes(
    made: Plan, scores: list[Score], refused: Sequence[str], watcher: Watcher | None
) -> dict[str, Any]:
    """Ranks and what they prove, where somebody waits for them; and of tasks in which models took
    turns, what is known about the measuring itself.
    """
    found: dict[str, Any] = {}
    if watcher is not None:
        name = made.suite.name
        found = rank_scores(
            scores,
            made.out,
            refused,
            lambda share, what: watcher.progress(name, "comparing", share, what),
        )
    for task in made.suite.tasks:
        place = made.out / "rounds" / f"{task.name}.json"
        if task.process == "interleaved" and place.is_file():
            with suppress(OSError, ValueError, KeyError, TypeError):
                seen = json.loads(place.read_text(encoding="utf-8"))
                found[task.name] = {
                    **found.get(task.name, {}),
                    **{key: seen[key] for key in ("again", "cost", "state", "session")},
                }
    return found


def _with_prices(scores: list[Score], price: float | None) -> list[Score]:
    """The price of a million tokens, from what an hour of this machine costs: at the best batch
    where one was measured.
    """
    if price is None:
        return scores
    rates = {
        (score.model, score.task): score
        for score in scores
        if key_of(score) == "decode_tokens_per_second"
    }
    rates |= {
        (score.model, score.task): score
        for score in scores
        if key_of(score) == "decode_tokens_per_second@best"
    }
    for (model, _), rate in rates.items():
        value, low, high = (
            None if end is None else price / 3600 / float(end) * 1e6
            for end in (rate.value, rate.high, rate.low)
        )
        facts = {
            "model": model,
            "task": rate.task,
            "batch": rate.batch,
            "low": low,
            "high": high,
        }
        row = FACTS["price_per_million_tokens"].row(
            value or 0.0,
            rate.n,
            str(Signature.parse(rate.signature).extend(price_per_hour=f"{price:g}")),
        )
        scores.append(Score.model_validate({**row, **facts}))
    return scores


def _machine(made: Plan) -> Machine:
    """The machine, with what it can do at most where that was measured."""
    threads = made.options.threads or machine.cores()
    known = peaks.read(
        peaks.kept_in(made.options.cache or default_cache(), made.options.device_kind, threads)
    )
    return Machine.model_validate(
        {**machine.facts(threads), **({"ceilings": peaks.as_record(known)} if known else {})}
    )


def _add_certificate(made: Plan, row: ModelRow) -> None:
    """What the model was proven to be, by this run or by `llmbench check`, with the weights of its
    cells and on their device.
    """
    if not row.fingerprint:
        return
    place = certificates.of_run(made.out, row.name)
    found = certificates.read(place, row.fingerprint, row.device)
    if row.process == "worker":  # an object may compute other things from the same weights
        cache = made.options.cache or default_cache()
        place = certificates.of_weights(cache, row.fingerprint, row.device)
        found = certificates.merge(found, certificates.read(place, row.fingerprint, row.device))
    row.certificate = record.Certificate.model_validate(found) if found else None


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
