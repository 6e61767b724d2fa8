"""The only loop: cells, resume, progress. The parent stays light: it imports no torch and sleeps
while a worker runs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from llmbench import storage
from llmbench.config.model_card import Card
from llmbench.errors import UsageError
from llmbench.plan.plan import Plan
from llmbench.results import record
from llmbench.results.record import (
    Failure,
    Record,
)
from llmbench.runner import in_process, interleaving, max_batch, process
from llmbench.runner.assemble import assemble, now
from llmbench.runner.messages import Job, failure_of, job_of, log_of
from llmbench.runner.process import Child
from llmbench.runner.progress import Silent, Watcher
from llmbench.tasks.performance.max_batch import MaxBatch
from llmbench.tasks.performance.speed import Speed
from llmbench.tasks.task import Task


def run(made: Plan, watcher: Watcher | None = None) -> tuple[Record, bool]:
    """Fill the cells that are missing and write run.json. Gives the record, and whether it was
    interrupted.
    """
    watcher = watcher or Silent()
    started = now()
    made.out.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    interrupted = False
    with _lock(made.out) as lock:
        before = _before(made.out)
        mark = {"name": made.suite.name, "version": made.suite.version, "sha256": made.suite.sha256}
        storage.write_sealed(made.out / "suite.json", mark)
        try:
            for number, card in enumerate(made.cards, 1):
                watcher.model(card.name, number, len(made.cards))
                failures += _run_model(made, card, watcher)
            for task in made.suite.tasks:
                if isinstance(task, Speed.Settings):
                    failures += _run_rounds(made, task, watcher)
        except KeyboardInterrupt:
            interrupted = True
        if not _is_there(made.out, lock):
            raise UsageError(
                "the folder was removed or replaced while the run was at work; what it had measured"
                " is lost",
                where=str(made.out),
                hint="run again, and leave the folder alone until it ends",
            )
        try:
            result = assemble(made, failures, started, before, watcher)
        except (
            KeyboardInterrupt
        ):  # comparing answers can take minutes; what was measured is written without it
            interrupted = True
            result = assemble(made, failures, started, before, None)
        result.write(made.out)
    return result, interrupted


@contextmanager
def _lock(out: Path) -> Iterator[TextIO]:
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
        yield handle


def _is_there(out: Path, lock: TextIO) -> bool:
    """Whether the folder still holds the very lock that this run has."""
    try:
        return os.path.samestat((out / ".lock").stat(), os.fstat(lock.fileno()))
    except OSError:
        return False


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
    with process.open_child(log_of(made, card), made.options) as child:
        failures, open_tasks = _follow(child, job, made.options.timeout, card, watcher)
    if open_tasks:
        reason, message, hint = child.explain_end(made.options.timeout)
        for name in open_tasks:
            failures.append(
                Failure(model=card.name, task=name, reason=reason, message=message, hint=hint)
            )
            watcher.cell(card.name, name, reason)
    return failures


def _unavailable(made: Plan, card: Card, watcher: Watcher) -> list[Failure]:
    """Return a failure for each of the model's cells whose text is unavailable."""
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
    child: Child, job: Job, timeout: float, card: Card, watcher: Watcher
) -> tuple[list[Failure], list[str]]:
    """Read events until the worker ends or is late: (failures it reported, tasks it left open)."""
    failures: list[Failure] = []
    open_tasks = list(job["keys"])
    child.send(job)
    for event in child.events(timeout):
        if event["event"] == "end":
            break
        if event["event"] == "progress":
            watcher.progress(card.name, event["what"], event["share"], event["remark"])
        elif event["event"] == "cell":
            open_tasks.remove(event["task"])
            watcher.cell(card.name, event["task"], event["outcome"])
        elif event["event"] == "failed":
            open_tasks.remove(event["task"])
            failures.append(failure_of(card, event))
            watcher.cell(card.name, event["task"], event["reason"])
    if not child.late:
        child.wait()
    return failures, open_tasks
