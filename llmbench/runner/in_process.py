"""The cells of a model that is an object of the calling process, as a notebook has it."""

from __future__ import annotations

import time
from functools import partial

from llmbench import limits, storage
from llmbench.adapter import Adapter, ModelInfo
from llmbench.config.model_card import Card
from llmbench.conformance import certificates, kit
from llmbench.errors import hold_exits
from llmbench.plan import task_registry
from llmbench.results.cell import CellHead, write_cell
from llmbench.results.record import Failure, ModelRow
from llmbench.runner import worker
from llmbench.runner.folder.run_folder import RunFolder
from llmbench.runner.folder.shards import find_shelf
from llmbench.runner.messages import failure_of, job_of
from llmbench.runner.progress import Watcher
from llmbench.runner.session import evaluation_mode
from llmbench.tasks.lossy import run_documents
from llmbench.tasks.shards.files import Shelf
from llmbench.tasks.shards.running import run_shards
from llmbench.tasks.task import Task, check_outcome

ALONE = "this task measures a process of its own, and the model is an object of the calling process"
HOW = "save the model, and give it as file.py:Class, module:Class or hf:DIRECTORY"


def run(folder: RunFolder, card: Card, watcher: Watcher) -> list[Failure]:
    """Measure the model of `card` by all tasks whose texts are here; return a row for each failure.

    Whatever the object raises costs the cell alone; only Ctrl-C ends the run, and what is finished
    is kept. Cells of earlier runs are never taken over: what an object computes cannot be told.
    """
    made = folder.made
    adapter = made.objects[card.name]
    tasks = [task for task in made.suite.tasks if (card.name, task.name) not in made.lacks]
    failures = [_refuse(card, task) for task in tasks if task.process != "shared"]
    tasks = [task for task in tasks if task.process == "shared"]
    with evaluation_mode(adapter), hold_exits():
        try:
            info, row = worker.describe(adapter, card)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failures += [_explain(card, task, error) for task in tasks]
        else:
            row.process = "caller"
            for task in tasks:
                watcher.progress(card.name, task.name, 0.0, "")
                failure = _fill(folder, card, adapter, task, row, watcher)
                if failure is None:
                    watcher.cell(card.name, task.name, "done")
                else:
                    failures.append(failure)
            _certify(folder, adapter, info, watcher)
    for failure in failures:
        watcher.cell(card.name, failure.task, failure.reason)
    return failures


def _fill(
    folder: RunFolder,
    card: Card,
    adapter: Adapter,
    spec: Task.Settings,
    row: ModelRow,
    watcher: Watcher,
) -> Failure | None:
    """Measure and write one cell; the failure if it cannot be filled."""

    def report(what: str, share: float, remark: str) -> None:
        watcher.progress(card.name, what, share, remark)

    made, begun = folder.made, time.perf_counter()
    try:
        task = task_registry.build(spec, made.suite.texts, made.options.seed)
        task.scratch = made.out
        job = job_of(made, card, [spec], {})
        task.load_model = partial(worker.load_spec, texts=made.suite.texts, job=job, report=report)
        shelf = Shelf(find_shelf(made.out, card.name, spec.name), {})
        run = partial(run_shards, shelf=shelf)
        outcome = check_outcome(task, run_documents(task, spec, adapter, report, run))
        key = made.keys[card.name, spec.name]
        head = CellHead(key, made.question, made.options.machine, spec.name, row)
        digest = write_cell(made.out, head, outcome, time.perf_counter() - begun)
        folder.accept_cell(card.name, spec.name, digest)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _explain(card, spec, error)
    return None


def _explain(card: Card, task: Task.Settings, error: BaseException) -> Failure:
    """The failure's row; the traceback goes to stderr."""
    event = worker.failure(task.name, error)
    event["hint"] = event["hint"].replace("in the worker's log", "above")
    return failure_of(card, event)


def _refuse(card: Card, task: Task.Settings) -> Failure:
    return Failure(model=card.name, task=task.name, reason="unsupported", message=ALONE, hint=HOW)


def _certify(folder: RunFolder, adapter: Adapter, info: ModelInfo, watcher: Watcher) -> None:
    """Earn A1 and A2 by sampling, for this run alone: another run may hold another object."""

    def report(what: str, share: float, remark: str) -> None:
        watcher.progress(info.name, what, share, remark)

    results = kit.sample(adapter, limits.PROOF_SECONDS, report)
    found = kit.certificate(results, info.fingerprint, info.device)
    digest = storage.write_sealed(certificates.of_run(folder.out, info.name), found)
    folder.accept_certificate(info.name, digest)
