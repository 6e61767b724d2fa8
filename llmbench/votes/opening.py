"""From a run to its poll: which task, which contestants, which prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from llmbench.errors import UsageError, did_you_mean
from llmbench.results.record import Record
from llmbench.results.samples import Opened, open_results
from llmbench.votes.answers import REFERENCE, AnswerSet, read_answers
from llmbench.votes.poll import PAIRS, Poll

FIRST_TASK = "continuation"  # if a run has several, and none is named


def open_poll(
    path: Path,
    task: str = "",
    only: Collection[str] = (),
    *,
    human: bool = False,
    asks: str = PAIRS,
    seed: int | None = None,
    target: int = 50,
) -> Poll:
    """Return the poll on a run's task.

    task: by default "continuation", or the run's only task with generated text.
    only: the models that are asked about, by default all.
    human: whether the human text is a contestant.
    UsageError if there is nothing to ask about.
    """
    opened = open_results(path)
    if opened.record.items is not None:
        raise UsageError(
            "a reviewed record has no answers to vote on", where=str(path), hint="name a run"
        )
    task = task or _choose_task(opened)
    sets = find_sets(opened, task, _choose_models(opened.record, task, only), human=human)
    least = 2 if asks == PAIRS else 1
    sets = {prompt: found for prompt, found in sets.items() if len(found.answers) >= least}
    if not sets:
        what = "two answers to one prompt" if asks == PAIRS else "an answer"
        raise UsageError(f"task {task!r} has not {what}", where=str(path))
    return Poll(
        opened.folder,
        task,
        sets,
        key=make_key(opened.record),
        asks=asks,
        seed=opened.record.seed if seed is None else seed,
        target=target,
    )


def make_key(record: Record) -> str:
    """Return what is the same for a run and its copies, and other for other runs."""
    models = [f"{model.name} {model.fingerprint}" for model in record.models]
    whole = "\n".join([record.started, record.suite.sha256, *models])
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()


def list_tasks(record: Record) -> list[str]:
    """Return the tasks of a record in which models wrote text: also those without a metric."""
    found = dict.fromkeys(s.task for s in record.scores if s.is_of_generated_text)
    measured = {score.task for score in record.scores}
    cells = (task for tasks in record.notes.cells.values() for task in tasks)
    return list(found | dict.fromkeys(task for task in cells if task not in measured))


def _choose_task(opened: Opened) -> str:
    tasks = list_tasks(opened.record)
    if FIRST_TASK in tasks:
        return FIRST_TASK
    if len(tasks) == 1:
        return tasks[0]
    if not tasks:
        raise UsageError("no task of this run has generated text", where=str(opened.path))
    raise UsageError(
        "several tasks have generated text", where=str(opened.path), hint=f"--task {tasks[0]}"
    )


def list_models(record: Record, task: str) -> list[str]:
    """Return the models that did a task, also one without a metric, in the order of the record."""
    scored = {score.model for score in record.scores if score.task == task}
    cells = record.notes.cells
    return [m.name for m in record.models if m.name in scored or task in cells.get(m.name, ())]


def _choose_models(record: Record, task: str, only: Collection[str]) -> list[str]:
    known = list_models(record, task)
    if not known:
        raise UsageError(
            f"the run has no task {task!r}", hint=did_you_mean(task, list_tasks(record))
        )
    for name in only:
        if name not in known:
            raise UsageError(
                f"no model {name!r} has the task {task!r}", hint=did_you_mean(name, known)
            )
    names = [name for name in known if not only or name in only]
    if REFERENCE in names:
        raise UsageError(
            f"a model is called {REFERENCE!r}, which votes call the human text",
            hint="name it otherwise in its card",
        )
    return names


def find_sets(
    opened: Opened, task: str, models: Sequence[str], *, human: bool
) -> dict[str, AnswerSet]:
    """Return the prompts of a task with the answers of these models, and the human text."""
    left_out = opened.record.notes.left_out.get(task)
    gone = () if left_out is None else left_out.documents
    found = read_answers(opened.folder, task, models)
    wanted = [*models, *([REFERENCE] if human else [])]
    return {
        prompt: AnswerSet(
            prompt,
            one.text,
            {name: one.answers[name] for name in wanted if name in one.answers},
        )
        for prompt, one in found.items()
        if prompt not in gone
    }
