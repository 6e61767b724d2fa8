"""Workers that are started before their turn: they import while another one works, or while the run
is planned, and wait for their job.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from llmbench.config.model_card import Card
from llmbench.errors import LlmbenchError
from llmbench.hardware import machine
from llmbench.plan import registry, task_registry
from llmbench.plan.plan import Options
from llmbench.plan.resolved_model import ResolvedModel, resolve_model
from llmbench.plan.suite import place_spec, read_file
from llmbench.plan.suite_file import SuiteFile
from llmbench.runner.process import Child
from llmbench.tasks.task import Task


class Ahead:
    """Waiting workers, by the name of their model."""

    def __init__(self, options: Options):
        self._options = options
        self._waiting: dict[str, Child] = {}

    def start(self, name: str, log: Path, modules: Sequence[str]) -> None:
        """Start a worker for the model `name`, unless one waits already."""
        if name not in self._waiting:
            self._waiting[name] = Child(log, self._options, arguments=modules)

    def has(self, name: str) -> bool:
        """Whether a worker waits for this model."""
        return name in self._waiting

    def take(self, name: str, log: Path) -> Child | None:
        """Hand over the worker that waits for this model, with `log` for what it prints; None if
        there is none, or it died.
        """
        child = self._waiting.pop(name, None)
        if child is None:
            return None
        if child.process.poll() is not None:
            child.kill()
            return None
        if child.log != log:
            child.move_log(log)
        return child

    def keep(self, names: Collection[str]) -> None:
        """End the workers of all other models."""
        for name in self._waiting.keys() - set(names):
            self._waiting.pop(name).kill()

    def close(self) -> None:
        """End all workers that were not handed over."""
        self.keep(())


def list_modules(model: ResolvedModel, kinds: Sequence[type[Task.Settings]]) -> list[str]:
    """Return what a worker can import before it has its job."""
    ahead = dict.fromkeys(name for kind in kinds for name in kind.imported_ahead)
    return [*model.list_modules(), *ahead]


@contextmanager
def start_first(suite: str, options: Options) -> Iterator[Ahead]:
    """Start the worker of a run's first model before the run is planned; end it with this block if
    the run did not take it.

    No worker is started if the suite or the model is wrong, which planning tells, if the code of
    either is the user's own, if a task measures time or memory, for an existing run, or for an
    engine that starts several.
    """
    found = _find_first(suite, options) if machine.cores() > 1 else None
    ahead = Ahead(options)
    with ExitStack() as stack:
        if found is not None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="llmbench-"))
            ahead.start(found.name, Path(scratch) / "worker.log", found.modules)
        stack.callback(ahead.close)  # before the folder of the log is removed
        yield ahead


class _First(NamedTuple):
    """A run's first model, and what its worker imports."""

    name: str
    modules: Sequence[str]


def _find_first(suite: str, options: Options) -> _First | None:
    """Return the first model if its worker may start before the run is planned."""
    is_new = options.out is None or not options.out.exists()
    if not is_new or options.workers > 1 or options.engine != "local" or options.named:
        return None
    with suppress(LlmbenchError, OSError):  # planning tells
        path, file, _ = read_file(suite)
        card = _find_card(file, path.parent, options)
        if card is None or not all(entry.task in task_registry.TASKS for entry in file.tasks):
            return None
        kinds = [task_registry.task_class(entry.task).Settings for entry in file.tasks]
        model = resolve_model(card)
        if not model.is_outside and all(kind.process == "shared" for kind in kinds):
            return _First(model.name, list_modules(model, kinds))
    return None


def _find_card(file: SuiteFile, folder: Path, options: Options) -> Card | None:
    """Return the card of the first model; None if the suite or --only changes which that is."""
    if not file.models:
        return registry.resolve_all(options.models[0])[0] if options.models else None
    first = file.models[0]
    if options.only or not isinstance(first, str):
        return None
    return registry.resolve_all(place_spec(first, folder))[0]
