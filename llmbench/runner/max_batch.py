"""The search for the largest batch, as its parent sees it: a fresh process for each attempt, and
the cell from all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from llmbench.config.model_card import Card
from llmbench.errors import CellError, OutOfMemory
from llmbench.hardware import machine
from llmbench.plan.plan import Plan
from llmbench.results import cell as results_cell
from llmbench.results.record import Failure
from llmbench.runner.messages import job_of, log_of
from llmbench.runner.process import open_child
from llmbench.runner.progress import Watcher
from llmbench.tasks.performance.max_batch import MaxBatch
from llmbench.tasks.performance.max_batch_search import Attempt, search

FREE_SHARE = 0.8  # of the free memory, where no budget is given


class _Over(Exception):
    """The search ends without a number: `row` is what stands in its cell, None where it was done
    before.
    """

    def __init__(self, row: dict[str, Any] | None):
        super().__init__()
        self.row = row


def run(
    made: Plan, card: Card, task: MaxBatch.Settings, known: Mapping[str, str], watcher: Watcher
) -> list[Failure]:
    """Search, and write the cell."""
    begun, budget = time.perf_counter(), made.options.memory_budget or int(FREE_SHARE * _free(made))
    job = {**job_of(made, card, [task], known), "budget": budget}
    seen: dict[str, Any] = {}

    def attempt(batch: int) -> Attempt:
        watcher.progress(
            card.name,
            "fitting batches",
            min(0.99, len(seen.setdefault("tried", [])) / 8),
            f"{batch} answers side by side",
        )
        found, model = _attempt(made, card, {**job, "batch": batch})
        seen["model"] = model or seen.get("model")
        seen["tried"].append(batch)
        return found

    try:
        fit = search(attempt, budget, task.most)
        words = str(made.options.memory_budget) if made.options.memory_budget else "free memory"
        asked = MaxBatch.from_settings(task, made.suite.texts, made.options.seed)
        outcome = asked.outcome(fit, words)
        cell = {
            "key": made.keys[card.name, task.name],
            "question": made.question,
            "machine": job["machine"],
            "task": task.name,
            "model": seen["model"],
        }
        results_cell.write_cell(made.out, cell, outcome, time.perf_counter() - begun)
    except _Over as over:
        row = over.row
    except CellError as error:
        row = {"reason": error.reason, "message": error.what, "hint": error.hint}
    except OSError as error:
        row = {
            "reason": "error",
            "message": f"the cell could not be written: {error.strerror or error}",
            "hint": "make room, and run again with the same --out",
        }
    else:
        watcher.cell(card.name, task.name, "done")
        return []
    watcher.cell(card.name, task.name, row["reason"] if row else "done before")
    return [Failure(model=card.name, task=task.name, **row)] if row else []


def _attempt(made: Plan, card: Card, job: Mapping[str, Any]) -> tuple[Attempt, dict[str, Any]]:
    """One child. A batch of more than one whose process is lost did not fit; of one, it is a
    failure like any other.
    """
    with open_child(log_of(made, card), made.options, "llmbench.runner.workers.max_batch") as child:
        child.send(job)
        for event in child.events(made.options.timeout):
            if event["event"] == "probe":
                return (
                    Attempt(event["batch"], event["peak"], event["rate"], event["refused"]),
                    event["model"],
                )
            if event["event"] == "failed":
                if event["reason"] == OutOfMemory.reason and job["batch"] > 1:
                    return Attempt(job["batch"], None, refused=event["message"]), {}
                raise _Over({key: event[key] for key in ("reason", "message", "hint")})
            if event["event"] == "cell":
                raise _Over(None)
    reason, message, hint = child.explain_end(made.options.timeout)
    if job["batch"] > 1 and reason != "timeout":
        return Attempt(job["batch"], None, refused=message), {}
    raise _Over(
        {
            "reason": reason,
            "message": f"with {job['batch']} answers side by side, {message}",
            "hint": hint,
        }
    )


def _free(made: Plan) -> int:
    free = machine.free_gpu_memory() if made.options.device_kind == "cuda" else None
    return machine.free_memory() if free is None else free
