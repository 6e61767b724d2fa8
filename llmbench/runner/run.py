"""The only loop: cells, resume, progress. The parent stays light: it imports no torch and sleeps
while a worker runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from llmbench import storage, system
from llmbench.config.model_card import Card
from llmbench.errors import UsageError
from llmbench.hardware import machine
from llmbench.plan.plan import Plan
from llmbench.plan.training_state import count_steps, list_damage
from llmbench.results.record import Failure, Record
from llmbench.runner import in_process, interleaving, max_batch, process
from llmbench.runner.assemble import End, assemble, now
from llmbench.runner.engine.ahead import Ahead, list_modules
from llmbench.runner.engine.batch import (
    Crew,
    find_known,
    is_asked,
    list_unavailable,
    run_batch,
)
from llmbench.runner.engine.engine import Engine
from llmbench.runner.engine.local import LocalEngine, share_cores
from llmbench.runner.engine.parallel import SideBySide
from llmbench.runner.folder.earlier import Earlier, load_before
from llmbench.runner.folder.run_folder import RunFolder, open_folder
from llmbench.runner.messages import log_of
from llmbench.runner.process import Child
from llmbench.runner.progress import Silent, Watcher
from llmbench.tasks.performance.max_batch import MaxBatch
from llmbench.tasks.performance.speed import Speed
from llmbench.tasks.task import Task

AHEAD = 2  # workers that start while another works: each holds the memory of its imports


def run(
    made: Plan, watcher: Watcher | None = None, ahead: Ahead | None = None
) -> tuple[Record, bool]:
    """Fill the cells that are missing and write run.json. Gives the record, and whether it was
    interrupted. ahead: has the workers that were started before.
    """
    watcher, ahead = watcher or Silent(), ahead or Ahead(made.options)
    started = now()
    failures: list[Failure] = []
    interrupted = False
    with _open_engine(made) as engine, open_folder(made) as folder:
        before = load_before(made.out, watcher)
        Earlier(folder, before).tell(watcher)
        mark = {"name": made.suite.name, "version": made.suite.version, "sha256": made.suite.sha256}
        storage.write_sealed(made.out / "suite.json", mark)
        draft = _Draft(folder, before, started)
        _tell_deaths(folder, watcher)
        for name, why in made.absent.items():
            watcher.warn(f"{name} is optional and left out: {why}")
        try:
            _run_models(folder, watcher, failures, draft, engine, ahead)
            for task in made.suite.tasks:
                if isinstance(task, Speed.Settings):
                    failures += _run_rounds(folder, task, watcher)
        except KeyboardInterrupt:
            interrupted = True
            watcher.stop()
            if folder.turns.at_work:
                watcher.warn(f"interrupted while {', '.join(folder.turns.at_work)} was at work")
        folder.check_there()
        folder.turns.end()
        folder.clear_shards()
        _remove_unknown(folder, watcher)
        failures += _find_changed(folder, failures)
        earlier = Earlier(folder, before)
        try:
            end: End = "interrupted" if interrupted else "done"
            result = assemble(folder, failures, started, earlier, watcher, end)
        except (
            KeyboardInterrupt
        ):  # comparing answers can take minutes; what was measured is written without it
            interrupted = True
            result = assemble(folder, failures, started, earlier, None, "interrupted")
        if before is not None and _is_same(result, before):
            result = before
        if result is not before or draft.is_written:
            result.write(made.out)
    return result, interrupted


class _Draft:
    """The record of a run that has not ended, so that one that is killed leaves what it measured
    and says how far it came.
    """

    def __init__(self, folder: RunFolder, before: Record | None, started: str):
        self._folder, self._before, self._started = folder, before, started
        self._cells = 0 if (folder.out / "run.json").exists() else -1  # that the record has
        self.is_written = False

    def write(self, failures: Sequence[Failure]) -> None:
        """Write it if there are new cells, or no record. Nothing is ranked."""
        if self._folder.new_cells <= self._cells:
            return
        self._cells, self.is_written = self._folder.new_cells, True
        self._folder.check_there()
        earlier = Earlier(self._folder, self._before)
        assemble(self._folder, failures, self._started, earlier, None, "unfinished").write(
            self._folder.out
        )


def _is_same(one: Record, other: Record) -> bool:
    """Whether two records differ in nothing but when, and on which machine, they were written, and
    how long proofs took that were made again: no run has measured anything in between.
    """
    seconds = {"certificate": {"levels": {"__all__": {"seconds"}}}}
    left_out: Any = {
        **dict.fromkeys(("started", "finished", "llmbench", "machine"), True),
        "models": {"__all__": seconds},
    }
    texts = {
        storage.as_json(record.model_dump(by_alias=True, exclude=left_out))
        for record in (one, other)
    }
    return len(texts) == 1


def _tell_deaths(folder: RunFolder, watcher: Watcher) -> None:
    """Say in which turns earlier runs in this folder were killed, and what follows."""
    for turn, count in folder.turns.deaths.items():
        times = f"{count} times" if count > 1 else "once"
        follows = "it is left out" if folder.turns.is_left_out(turn) else "it is tried again"
        watcher.warn(f"a run in this folder was killed {times} while {turn} was at work: {follows}")


def _remove_unknown(folder: RunFolder, watcher: Watcher) -> None:
    """Remove results that nobody vouches for, and say so."""
    for name in folder.remove_unknown():
        watcher.warn(f"removed {name}: it is not what a worker of this model wrote")


def _find_changed(folder: RunFolder, failures: Sequence[Failure]) -> list[Failure]:
    """Rows of cells that were finished and whose files were changed since then."""
    failed = {(failure.model, failure.task) for failure in failures}
    return [
        Failure(
            model=model,
            task=task,
            reason="error",
            message="its files were changed or removed after they were written, while the run was"
            " at work",
            hint="run again with the same --out, without the model that does so",
        )
        for model, task in folder.lost_cells()
        if (model, task) not in failed
    ]


def _run_models(
    folder: RunFolder,
    watcher: Watcher,
    failures: list[Failure],
    draft: _Draft,
    engine: Engine | None,
    ahead: Ahead,
) -> None:
    """One model after the other, while the workers of the next ones start. Adds to `failures`."""
    made = folder.made
    for damage in list_damage(made):
        watcher.warn(damage)
    try:
        draft.write(failures)
        settled = set[tuple[str, str]]()
        if engine is not None:
            settled = _run_side_by_side(folder, watcher, failures, draft, engine)
        for number, card in enumerate(made.cards, 1):
            ahead.keep([later.name for later in made.cards[number - 1 :]])
            watcher.model(card.name, number, len(made.cards))
            failures += _run_model(folder, card, watcher, ahead, settled)
            draft.write(failures)
    finally:
        ahead.close()


def _run_side_by_side(
    folder: RunFolder,
    watcher: Watcher,
    failures: list[Failure],
    draft: _Draft,
    engine: Engine,
) -> set[tuple[str, str]]:
    """All that is not timed, by several workers. Adds to `failures`; returns the cells, model and
    task, that need not be looked at again.
    """
    made, settled = folder.made, set[tuple[str, str]]()
    for name, why in engine.refused.items():
        watcher.warn(f"no worker runs on {name}: {why}")
    work = SideBySide(Crew(folder, watcher), engine, draft.write)
    try:
        work.run()
    finally:
        engine.close()  # what is timed comes next, and has the machine to itself
        for card in made.cards:
            failures += work.failures.get(card.name, [])
    for card in made.cards:
        if card.name not in work.failures:
            continue
        settled |= {(card.name, t.name) for t in made.suite.tasks if t.process == "shared"}
    return settled


@contextmanager
def _open_engine(made: Plan) -> Iterator[Engine | None]:
    """What starts several workers, if these are asked for. What is wrong with it is found before
    there is a folder.
    """
    if made.options.engine == "local":
        share_cores(made.options.workers, made.options)
        if made.options.workers == 1:
            yield None
            return
    engine = _make_engine(made)
    try:
        yield engine
    finally:
        engine.close()


def _make_engine(made: Plan) -> Engine:
    """What starts the workers that the options ask for."""
    options = made.options
    if options.engine == "local":
        return LocalEngine(options.workers, options)
    if system.WINDOWS:
        raise UsageError(
            "--engine ray needs Linux or macOS: its workers' folders cannot be moved on Windows",
            hint="--engine local --workers N uses the cores of this machine",
        )
    from llmbench.runner.engine.ray_engine import RayEngine

    is_client = options.engine.startswith("ray://")
    address = options.engine if is_client else options.engine.partition(":")[2] or None
    gpus = 1 if options.device_kind == "cuda" else 0
    return RayEngine.connect(address, options.threads, gpus=gpus)


def _start_next(folder: RunFolder, card: Card, ahead: Ahead) -> None:
    """Start the workers of the next models, if they came with llmbench and nothing is timed."""
    made = folder.made
    timed = [task for task in made.suite.tasks if task.process in ("own", "attempts")]
    if machine.cores() < 2 or not all(task.is_untimed for task in timed):
        return
    names = list(made.models)
    for name in names[names.index(card.name) + 1 :][:AHEAD]:
        model = made.models[name]
        if model.is_outside or name in made.objects or folder.turns.is_left_out(name):
            continue
        known = find_known(folder, model.card)
        if any(
            is_asked(made, model.card, task, known)
            for task in made.suite.tasks
            if task.process != "interleaved"
        ):
            log_of(made, model.card).unlink(missing_ok=True)
            kinds = [] if timed else [type(task) for task in made.suite.tasks]
            ahead.start(name, log_of(made, model.card), list_modules(model, kinds))


def _run_model(
    folder: RunFolder,
    card: Card,
    watcher: Watcher,
    ahead: Ahead,
    settled: Collection[tuple[str, str]] = (),
) -> list[Failure]:
    """The model's missing cells, but those that are `settled`, and those of tasks that all models
    take turns in. Whatever happens to a worker is a row for each cell that it leaves open.

    A model from outside is loaded even if all its cells are there: its weights may have changed,
    which only its fingerprint tells.
    """
    made = folder.made
    _remove_unknown(folder, watcher)
    if folder.turns.is_left_out(card.name):
        return list_unavailable(made, card, watcher) + _leave_out(folder, card.name, watcher)
    if card.name in made.objects:
        folder.turns.begin(card.name)
        failures = list_unavailable(made, card, watcher) + in_process.run(folder, card, watcher)
        folder.turns.end(card.name)
        return failures
    tasks = [
        task
        for task in made.suite.tasks
        if task.process != "interleaved" and (card.name, task.name) not in settled
    ]
    known = find_known(folder, card)
    if not made.models[card.name].is_outside:
        for task in made.suite.tasks:
            if task.name in known and (card.name, task.name) not in settled:
                watcher.cell(card.name, task.name, "done before")
    failures = list_unavailable(made, card, watcher)
    asked = [task for task in tasks if is_asked(made, card, task, known)]
    if asked and not ahead.has(card.name):
        log_of(made, card).unlink(missing_ok=True)
    batches = _batch(folder, card, asked, known)
    if asked or batches:
        folder.turns.begin(card.name)
    crew = Crew(folder, watcher)
    while batches:
        found, left = run_batch(
            crew, card, batches.pop(0), known, partial(_open, folder, card, ahead)
        )
        failures += found
        batches[:0] = [left] if left else []
    for task in asked:
        if isinstance(task, MaxBatch.Settings):
            failures += max_batch.run(folder, card, task, known, watcher)
    folder.turns.end(card.name)
    return failures + _lost(folder, card, asked, failures)


@contextmanager
def _open(folder: RunFolder, card: Card, ahead: Ahead) -> Iterator[Child]:
    """A worker of a model, while those of the next models start."""
    made = folder.made
    log = log_of(made, card)
    started = ahead.take(card.name, log)
    with process.open_child(log, made.options, started=started) as child:
        _start_next(folder, card, ahead)
        yield child


def _batch(
    folder: RunFolder, card: Card, asked: Sequence[Task.Settings], known: Mapping[str, str]
) -> list[list[Task.Settings]]:
    """The tasks of a model by the process that they run in.

    One without a task trains, so that other processes find what they measure, or proves. If nothing
    is to be trained, what shares a process follows a task that had it to itself.
    """
    made = folder.made
    shared = [task for task in asked if task.process == "shared"]
    alone = [[task] for task in asked if task.process == "own"]
    is_untrained = any(is_asked(made, card, task, known) for task in made.suite.tasks) and bool(
        count_steps(made, card.name)
    )
    if alone and shared and not is_untrained and alone[-1][0].is_untimed:
        return [*alone[:-1], [*alone[-1], *shared]]
    is_needed = bool(shared) or is_untrained or folder.is_proof_open(card.name)
    return ([shared] if is_needed else []) + alone


def _leave_out(folder: RunFolder, turn: str, watcher: Watcher) -> list[Failure]:
    """Rows for the open cells of a turn in which the run was killed too often."""
    rows = folder.leave_out(turn)
    for row in rows:
        watcher.cell(row.model, row.task, row.reason)
    return rows


def _run_rounds(folder: RunFolder, task: Speed.Settings, watcher: Watcher) -> list[Failure]:
    """A task in which all models take turns."""
    made = folder.made
    _remove_unknown(folder, watcher)
    turns = {card.name: f"{card.name}/{task.name}" for card in made.cards}
    left_out = {name for name, turn in turns.items() if folder.turns.is_left_out(turn)}
    failures = [row for name in left_out for row in _leave_out(folder, turns[name], watcher)]
    absent = {*left_out, *made.objects}
    found = [(card, find_known(folder, card)) for card in made.cards if card.name not in absent]
    asked = [(card, known) for card, known in found if is_asked(made, card, task, known)]
    if asked:
        failures += interleaving.Rounds(folder, task, watcher).run(asked)
        folder.turns.end(*(turns[card.name] for card, _ in asked))
    return failures + [row for card, _ in asked for row in _lost(folder, card, [task], failures)]


def _lost(
    folder: RunFolder, card: Card, asked: Sequence[Task.Settings], failures: Sequence[Failure]
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
        if task.name not in failed and folder.cell(card.name, task.name) is None
    ]
    return [
        Failure(model=card.name, task=name, reason="error", message=lost, hint=hint)
        for name in names
    ]
