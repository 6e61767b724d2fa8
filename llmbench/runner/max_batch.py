"""The search for the largest batch, as its parent sees it: a fresh process for each attempt, and
the cell from all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from llmbench.config.model_card import Card
from llmbench.errors import CellError, OutOfMemory
from llmbench.hardware import machine
from llmbench.plan.plan import Plan
from llmbench.results import cell as results_cell
from llmbench.results.record import Failure, ModelRow
from llmbench.runner.folder.run_folder import RunFolder
from llmbench.runner.messages import BatchJob, failure_of, head_of, job_of, log_of
from llmbench.runner.process import open_child
from llmbench.runner.progress import Watcher
from llmbench.tasks.performance.max_batch import MaxBatch
from llmbench.tasks.performance.max_batch_search import Attempt, search

FREE_SHARE = 0.8  # of the free memory, where no budget is given


class _Over(Exception):
    """The search ends without a number: with a failure, or None if the cell was done before."""

    def __init__(self, failure: Failure | None):
        super().__init__()
        self.failure = failure


def run(
    folder: RunFolder,
    card: Card,
    task: MaxBatch.Settings,
    known: Mapping[str, str],
    watcher: Watcher,
) -> list[Failure]:
    """Search, and write the cell."""
    made = folder.made
    begun, budget = time.perf_counter(), made.options.memory_budget or int(FREE_SHARE * _free(made))
    fail = partial(Failure, model=card.name, task=task.name)
    job = job_of(made, card, [task], known)
    tried: list[int] = []
    model: ModelRow | None = None

    def attempt(batch: int) -> Attempt:
        nonlocal model
        watcher.progress(
            card.name,
            "fitting batches",
            min(0.99, len(tried) / 8),
            f"{batch} answers side by side",
        )
        found, row = _attempt(made, card, {**job, "batch": batch, "budget": budget})
        model = row or model
        tried.append(batch)
        return found

    try:
        fit = search(attempt, budget, task.most)
        words = str(made.options.memory_budget) if made.options.memory_budget else "free memory"
        asked = MaxBatch.from_settings(task, made.suite.texts, made.options.seed)
        outcome = asked.outcome(fit, words)
        assert model is not None  # a search whose first attempt fails is over
        head = head_of(job, task.name, model)
        digest = results_cell.write_cell(made.out, head, outcome, time.perf_counter() - begun)
        folder.accept_cell(card.name, task.name, digest)
    except _Over as over:
        failure = over.failure
    except CellError as error:
        failure = fail(reason=error.reason, message=error.what, hint=error.hint)
    except OSError as error:
        what = f"the cell could not be written: {error.strerror or error}"
        hint = "make room, and run again with the same --out"
        failure = fail(reason="error", message=what, hint=hint)
    else:
        watcher.cell(card.name, task.name, "done")
        return []
    watcher.cell(card.name, task.name, failure.reason if failure else "done before")
    return [failure] if failure else []


def _attempt(made: Plan, card: Card, job: BatchJob) -> tuple[Attempt, ModelRow | None]:
    """One child: the attempt, and the model's row if it got so far. A batch of more than one whose
    process is lost did not fit; of one, it is a failure like any other.
    """
    batch = job["batch"]
    with open_child(log_of(made, card), made.options, "llmbench.runner.workers.max_batch") as child:
        child.send(job)
        for event in child.events(made.options.timeout):
            if event["event"] == "probe":
                found = Attempt(event["batch"], event["peak"], event["rate"], event["refused"])
                return found, ModelRow.model_validate(event["model"])
            if event["event"] == "failed":
                if event["reason"] == OutOfMemory.reason and batch > 1:
                    return Attempt(batch, None, refused=event["message"]), None
                raise _Over(failure_of(card, event))
            if event["event"] == "cell":
                raise _Over(None)
    reason, message, hint = child.explain_end(made.options.timeout)
    if batch > 1 and reason != "timeout":
        return Attempt(batch, None, refused=message), None
    (task,) = job["keys"]
    message = f"with {batch} answers side by side, {message}"
    raise _Over(Failure(model=card.name, task=task, reason=reason, message=message, hint=hint))


def _free(made: Plan) -> int:
    free = machine.free_gpu_memory() if made.options.device_kind == "cuda" else None
    return machine.free_memory() if free is None else free
