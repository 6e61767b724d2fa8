"""Several workers at once, for all that is not timed: a model in each place, and where a place is
free and no model waits, help for one that is at work.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from llmbench import limits
from llmbench.config.model_card import Card
from llmbench.errors import Reason
from llmbench.results.record import Failure
from llmbench.runner.engine.batch import (
    Crew,
    PlaceGone,
    find_known,
    help_batch,
    is_asked,
    open_worker,
    run_batch,
)
from llmbench.runner.engine.engine import Engine, Place, Worker
from llmbench.runner.engine.needs import (
    Need,
    estimate_need,
    explain_no_room,
    has_room,
    sum_needs,
)
from llmbench.runner.messages import log_of
from llmbench.tasks.task import Task

LOOK_SECONDS = 0.2  # between two looks for work
PLACES_SECONDS = 10.0  # between two looks for machines


@dataclass
class _Unit:
    """A model, and the tasks that share a worker."""

    card: Card
    tasks: list[Task.Settings]
    known: dict[str, str]
    number: int
    need: Need
    moves: int = 0  # how often the place of its worker went away


class SideBySide:
    """The untimed work of a run. `saved`: is called whenever a model is through. `failures`: of
    each model that is through.
    """

    def __init__(self, crew: Crew, engine: Engine, saved: Callable[[Sequence[Failure]], None]):
        self._crew, self._engine, self._saved = crew, engine, saved
        self._made = crew.folder.made
        self.failures: dict[str, list[Failure]] = {}
        self._active: dict[str, _Unit] = {}
        self._workers: set[Worker] = set()
        self._useless: set[str] = set()  # models that no second worker could help
        self._waiting: deque[_Unit] = deque()
        self._room: dict[str, int] = {}  # machine -> the most memory that it had free

    def run(self) -> None:
        """Ask all models. Whatever ends this ends all workers."""
        self._waiting.extend(self._list_units())
        running: dict[Future[None], tuple[Place, Need]] = {}
        looked = had = time.monotonic()  # for places, and when there was one
        free = list(self._engine.places)
        with ThreadPoolExecutor(limits.WORKERS) as pool:
            try:
                while self._waiting or running:
                    self._refuse_too_large()
                    for place in list(free):
                        taken = sum_needs(running.values(), self._engine.measure)
                        if (found := self._find_work(place, taken)) is not None:
                            free.remove(place)
                            running[pool.submit(found[0], place)] = place, found[1]
                    if not running:  # no place is there, and `wait` would not wait for nothing
                        time.sleep(LOOK_SECONDS)
                    for future in wait(running, LOOK_SECONDS, return_when=FIRST_COMPLETED).done:
                        del running[future]
                        future.result()
                    self._tell_stragglers()
                    now = time.monotonic()
                    if now - looked > PLACES_SECONDS:
                        self._engine.refresh()
                        looked = now
                    places = self._engine.places
                    busy = [place for place, _ in running.values()]
                    free = [place for place in places if place not in busy]
                    had = now if places or running else had
                    if now - had > limits.PLACE_SECONDS:
                        self._give_up()
            except BaseException:
                self._crew.claims.end()
                with self._crew.lock:
                    for worker in self._workers:
                        worker.kill()
                raise

    def _tell_stragglers(self) -> None:
        with self._crew.lock:
            for line in self._crew.stragglers.find():
                self._crew.watcher.warn(line)

    def _give_up(self) -> None:
        """No place is left: rows for all that waits."""
        while self._waiting:
            self._fail(self._waiting.popleft(), "no machine is left to run on")

    def _refuse_too_large(self) -> None:
        """Rows for models whose weights no machine can hold, with all that it ever had free."""
        places = self._engine.places
        for place in places:
            self._room[place.machine] = max(self._room.get(place.machine, 0), place.memory)
        largest = [replace(place, memory=self._room[place.machine]) for place in places]
        with self._crew.lock:
            for unit in list(self._waiting):
                if why := explain_no_room(largest, unit.need):
                    self._waiting.remove(unit)
                    self._fail(unit, why, "out_of_memory", "a smaller --dtype, or more memory")

    def _fail(
        self,
        unit: _Unit,
        why: str,
        reason: Reason = "crashed",
        hint: str = "run again with the same --out",
    ) -> None:
        """Rows for the open tasks of a model."""
        rows = [
            Failure(model=unit.card.name, task=task.name, reason=reason, message=why, hint=hint)
            for task in unit.tasks
        ]
        with self._crew.lock:
            self.failures.setdefault(unit.card.name, []).extend(rows)
            for row in rows:
                self._crew.watcher.cell(row.model, row.task, row.reason)

    def _list_units(self) -> Iterator[_Unit]:
        """The models with cells that a shared worker is to fill, in the order of the board."""
        for number, card in enumerate(self._made.cards, 1):
            if card.name in self._made.objects or self._crew.folder.turns.is_left_out(card.name):
                continue
            known = find_known(self._crew.folder, card)
            tasks = [
                task
                for task in self._made.suite.tasks
                if task.process == "shared" and is_asked(self._made, card, task, known)
            ]
            if tasks or self._crew.folder.is_proof_open(card.name):
                need = estimate_need(self._made.models[card.name], self._made.options)
                yield _Unit(card, tasks, known, number, need)

    def _find_work(
        self, place: Place, taken: Mapping[str, int]
    ) -> tuple[Callable[[Place], None], Need] | None:
        """The next model whose parent is not at work or waiting itself, or one to be helped, that
        has room beside what is `taken`.
        """
        with self._crew.lock:  # a model comes back from its thread when a machine goes away
            busy = {*self._active, *(unit.card.name for unit in self._waiting)}
            for unit in self._waiting:
                is_ready = unit.card.parent is None or (
                    unit.card.parent not in busy - {unit.card.name}
                )
                if is_ready and has_room(place, unit.need, taken):
                    self._waiting.remove(unit)
                    self._active[unit.card.name] = unit
                    return partial(self._ask, unit), unit.need
            name = self._crew.claims.find_needy()
            if name is not None and name in self._active and name not in self._useless:
                unit = self._active[name]
                if has_room(place, unit.need, taken):
                    return partial(self._help, unit), unit.need
        return None

    def _ask(self, unit: _Unit, place: Place) -> None:
        """One model's worker, from its beginning to its end."""
        crew, name = self._crew, unit.card.name
        with crew.lock:
            crew.watcher.model(name, unit.number, len(self._made.cards))
            crew.folder.turns.begin(name, beside=True)
            log_of(self._made, unit.card).unlink(missing_ok=True)
        open = partial(self._open, unit, place, "")
        gone: PlaceGone | None = None
        try:
            failures, _ = run_batch(crew, unit.card, unit.tasks, unit.known, open, place.name)
        except PlaceGone as error:
            gone, failures = error, error.failures
            unit.tasks, unit.moves = error.rest, unit.moves + 1
        with crew.lock:
            crew.folder.turns.end(name)
            self.failures.setdefault(name, []).extend(failures)
            del self._active[name]
            if gone is not None and unit.moves < limits.MOVES:
                crew.watcher.warn(f"{name}: {gone}; it goes on elsewhere")
                self._waiting.appendleft(unit)
            elif gone is not None:
                self._fail(unit, f"{gone}, {unit.moves} times with this model")
            crew.watcher.over(name)
            self._saved([row for rows in self.failures.values() for row in rows])

    def _help(self, unit: _Unit, place: Place) -> None:
        """A second worker of a model. It begins with the last task, where least is done."""
        open = partial(self._open, unit, place, f"-{place.machine}-{place.number}")
        tasks = list(reversed(unit.tasks))
        try:
            if not help_batch(self._crew, unit.card, tasks, unit.known, open, place.name):
                self._useless.add(unit.card.name)
        except PlaceGone as gone:
            with self._crew.lock:
                self._crew.watcher.warn(f"{unit.card.name}: {gone}; others go on")

    @contextmanager
    def _open(self, unit: _Unit, place: Place, mark: str) -> Iterator[Worker]:
        """A worker in a place, known to `run` as long as it lives."""
        log = log_of(self._made, unit.card)
        log = log.with_name(f"{log.stem}{mark}{log.suffix}")
        modules = () if unit.card.name in self._made.objects else self._list_modules(unit)
        with open_worker(self._engine, place, log, self._made, modules) as worker:
            with self._crew.lock:
                self._workers.add(worker)
                if self._crew.claims.is_over:  # it started while the others were ended
                    worker.kill()
            try:
                yield worker
            finally:
                with self._crew.lock:
                    self._workers.discard(worker)

    def _list_modules(self, unit: _Unit) -> Sequence[str]:
        """What a worker imports at once; nothing of models from outside."""
        model = self._made.models[unit.card.name]
        return () if model.is_outside else model.list_modules()
