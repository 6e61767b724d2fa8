"""One worker and the cells that it fills, as the run sees them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from llmbench.config.model_card import Card
from llmbench.errors import LlmbenchError
from llmbench.plan.dry_run import estimate_training
from llmbench.plan.plan import Plan
from llmbench.results.record import Failure
from llmbench.runner.engine.claims import Claims
from llmbench.runner.engine.engine import Engine, Place, Worker
from llmbench.runner.folder.run_folder import RunFolder
from llmbench.runner.folder.work_log import WorkLog
from llmbench.runner.messages import Event, Job, failure_of, job_of
from llmbench.runner.progress import Watcher, name_failure
from llmbench.runner.watching.stragglers import LOADING, LOADING_SECONDS, Part, Stragglers
from llmbench.tasks.task import Task

HERE = "here"  # the place of a worker that is alone
Open = Callable[[], AbstractContextManager[Worker]]


@dataclass
class Crew:
    """What the workers of a run have in common. `lock`: around the folder and the watcher."""

    folder: RunFolder
    watcher: Watcher
    claims: Claims = field(default_factory=Claims)
    stragglers: Stragglers = field(default_factory=Stragglers)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: Iterator[int] = field(default_factory=count)  # of workers

    def __post_init__(self) -> None:
        self.log = WorkLog(self.folder.out)


@dataclass
class Seat:
    """A worker of a crew. `where`: its place; `since`: when it began what it is doing."""

    number: int
    where: str
    waits: bool = True  # for what other workers do of its cells
    since: float = field(default_factory=time.monotonic)

    def read_clock(self) -> float:
        """Return the seconds since the last time, or since the beginning."""
        now = time.monotonic()
        seconds, self.since = now - self.since, now
        return seconds


class PlaceGone(OSError):
    """A worker's place went away. failures: of cells that it had reported; rest: the tasks that are
    still open.
    """

    def __init__(self, what: str, failures: list[Failure], rest: list[Task.Settings]):
        super().__init__(what)
        self.failures, self.rest = failures, rest


@contextmanager
def open_worker(
    engine: Engine, place: Place, log: Path, made: Plan, modules: Sequence[str]
) -> Iterator[Worker]:
    """A worker in a place, which does not outlive this block."""
    worker = engine.start(place, log, made.options, modules)
    try:
        yield worker
    finally:
        worker.kill()


def expect_loading(made: Plan, card: Card, where: str) -> Part:
    """What a worker does before its first task. where: its place."""
    with suppress(LlmbenchError, OSError):  # the worker will say what is wrong
        seconds = estimate_training(made, card)[1]
        return Part(card.name, LOADING, where, expected=LOADING_SECONDS + seconds)
    return Part(card.name, LOADING, where, expected=LOADING_SECONDS)


def find_known(folder: RunFolder, card: Card) -> dict[str, str]:
    """Finished cells of a model: task -> the fingerprint that it was made with."""
    return {
        task.name: cell["model"]["fingerprint"]
        for task in folder.made.suite.tasks
        if (cell := folder.cell(card.name, task.name)) is not None
    }


def is_asked(made: Plan, card: Card, task: Task.Settings, known: Mapping[str, str]) -> bool:
    """Whether a worker is to look at a cell. A model from outside is always loaded: its weights may
    have changed, which only its fingerprint tells.
    """
    return (card.name, task.name) not in made.lacks and (
        task.name not in known or made.models[card.name].is_outside
    )


def list_unavailable(made: Plan, card: Card, watcher: Watcher) -> list[Failure]:
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


def run_batch(
    crew: Crew,
    card: Card,
    tasks: Sequence[Task.Settings],
    known: Mapping[str, str],
    open: Open,
    where: str = HERE,
) -> tuple[list[Failure], list[Task.Settings]]:
    """One worker and its tasks: rows for those that it leaves open, and those that it did not begin
    because the one before them, which was to have a process to itself, ended it. A worker that dies
    in a shard is followed by another, once. where: the worker's place.

    Raises PlaceGone if that went away.
    """
    made, seat = crew.folder.made, Seat(next(crew.numbers), where)
    with _find_place_gone(tasks), open() as worker:
        job = make_job(crew, card, tasks, known)
        crew.stragglers.begin(seat.number, expect_loading(made, card, where))
        worker.send(job)
        failures, open_tasks, begun = _follow(crew, worker, job, card, seat)
        crew.stragglers.end(seat.number, is_done=False)
    has_another_try = crew.claims.take_back(seat.number, is_gone=worker.is_gone) and not worker.late
    if crew.claims.is_over:  # the worker was ended, and nothing is wrong with its model
        return failures, []
    rest = [task for task in tasks if task.name in open_tasks]
    if rest and worker.is_gone:
        raise PlaceGone(worker.explain_end(made.options.timeout)[1], failures, rest)
    if rest and has_another_try:
        try:
            found, left = run_batch(crew, card, rest, known, open, where)
        except PlaceGone as gone:
            gone.failures[:0] = failures
            raise
        return failures + found, left
    if any(task.name == begun and task.process == "own" for task in tasks):
        left = [task for task in rest if task.name != begun]
    else:
        left = []
    for task in rest:
        if task in left:
            continue
        reason, message, hint = worker.explain_end(made.options.timeout)
        failures.append(
            Failure(model=card.name, task=task.name, reason=reason, message=message, hint=hint)
        )
        with crew.lock:
            crew.claims.drop((card.name, task.name))
            crew.watcher.cell(card.name, task.name, reason)
    return failures, left


@contextmanager
def _find_place_gone(tasks: Sequence[Task.Settings]) -> Iterator[None]:
    """PlaceGone if a worker cannot be started, or reached, where it was to be."""
    try:
        yield
    except PlaceGone:
        raise
    except ConnectionError as error:
        raise PlaceGone(str(error), [], list(tasks)) from error


def help_batch(
    crew: Crew,
    card: Card,
    tasks: Sequence[Task.Settings],
    known: Mapping[str, str],
    open: Open,
    where: str = HERE,
) -> bool:
    """Another worker for shards of a model that is at work. Returns whether it was of use."""
    seat, is_fine = Seat(next(crew.numbers), where, waits=False), True
    with _find_place_gone(tasks), open() as worker:
        job = make_job(crew, card, tasks, known)
        job["helps"] = True
        crew.stragglers.begin(seat.number, expect_loading(crew.folder.made, card, where))
        worker.send(job)
        for event in worker.events(crew.folder.made.options.timeout):
            if event["event"] == "failed":
                is_fine = False
            if event["event"] == "end":
                worker.wait()
                break
            _take(crew, worker, event, card, seat)
        else:
            is_fine = False
    crew.stragglers.end(seat.number, is_done=False)
    crew.claims.take_back(seat.number, is_gone=worker.is_gone)
    if worker.is_gone:
        raise PlaceGone(worker.explain_end(0)[1], [], [])
    return is_fine


def make_job(
    crew: Crew, card: Card, tasks: Sequence[Task.Settings], known: Mapping[str, str]
) -> Job:
    """The job of a worker, with all that the folder knows of the model by now."""
    folder = crew.folder
    with crew.lock:
        job = job_of(folder.made, card, tasks, known, folder.known_certificates(card.name))
        job["answers"] = folder.answers.find_seal(card.name)
        job["shards"] = folder.known_shards(card.name)
    return job


def _follow(
    crew: Crew, worker: Worker, job: Job, card: Card, seat: Seat
) -> tuple[list[Failure], list[str], str]:
    """Read events until the worker ends or is late: failures it reported, tasks it left open, and
    which of these it had begun.
    """
    failures: list[Failure] = []
    open_tasks, begun = list(job["keys"]), ""
    for event in worker.events(crew.folder.made.options.timeout):
        if event["event"] == "end":
            break
        if event["event"] == "task":
            begun = event["task"]
            seat.read_clock()
            crew.stragglers.begin(seat.number, Part(card.name, begun, seat.where))
        elif event["event"] == "cell" and event["task"] in open_tasks:
            open_tasks.remove(event["task"])
            crew.claims.drop((card.name, event["task"]))
            with crew.lock:
                crew.folder.accept_cell(card.name, event["task"], event["digest"])
                usual = crew.stragglers.end(seat.number)
                if event["digest"]:
                    crew.log.add(card.name, event["task"], "", seat.where, seat.read_clock(), usual)
                crew.watcher.cell(card.name, event["task"], event["outcome"])
        elif event["event"] == "failed" and event["task"] in open_tasks:
            open_tasks.remove(event["task"])
            crew.stragglers.end(seat.number, is_done=False)
            crew.claims.drop((card.name, event["task"]))
            failures.append(failure_of(card, event))
            outcome = name_failure(event["reason"], event["message"])
            with crew.lock:
                crew.watcher.cell(card.name, event["task"], outcome)
        else:
            _take(crew, worker, event, card, seat)
    if not worker.late:
        worker.wait()
    return failures, open_tasks, begun if begun in open_tasks else ""


def _take(crew: Crew, worker: Worker, event: Event, card: Card, seat: Seat) -> None:
    """Take in an event that ends no cell."""
    if event["event"] == "claim":
        cell = (card.name, event["task"])
        crew.stragglers.end(seat.number, is_done=False)  # it may wait now, for others
        claimed = crew.claims.claim(cell, event["edges"], seat.number, waits=seat.waits)
        if claimed["span"] is not None:
            first, last = claimed["span"]
            crew.stragglers.begin(seat.number, Part(*cell, seat.where, (first, last)))
        worker.send(claimed)
        seat.read_clock()
        return
    with crew.lock:
        if event["event"] == "progress":
            crew.watcher.progress(card.name, event["what"], event["share"], event["remark"])
        elif event["event"] == "note":
            crew.watcher.warn(f"{card.name}: {event['text']}")
        elif event["event"] == "answers":
            crew.folder.answers.accept(card.name, event["seal"])
        elif event["event"] == "shard":
            crew.claims.add_file((card.name, event["task"]), event["name"], event["digest"])
            crew.folder.accept_shard(card.name, event["task"], event["name"], event["digest"])
            usual = crew.stragglers.end(seat.number)
            took = seat.read_clock()
            crew.log.add(card.name, event["task"], event["name"], seat.where, took, usual)
        elif event["event"] == "certificate":
            crew.folder.accept_certificate(card.name, event["digest"], event["cached"])
