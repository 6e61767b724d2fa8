"""Workers that are started before their turn: they import while others work, or while the run is
still being planned, and wait.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmbench.config import strict_yaml
from llmbench.config.model_card import Card
from llmbench.errors import LlmbenchError
from llmbench.hardware import machine
from llmbench.plan import registry, task_registry
from llmbench.plan.plan import Options
from llmbench.plan.resolved_model import ResolvedModel, resolve_model
from llmbench.plan.suite_file import SuiteFile
from llmbench.runner.process import Child
from llmbench.tasks.task import Task


class Ahead:
    """Workers by the name of their model. In a `with` block, those whose turn did not come end with
    it.
    """

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

    def close(self) -> None:
        """End those whose turn did not come."""
        for child in self._waiting.values():
            child.kill()
        self._waiting.clear()


def list_modules(model: ResolvedModel, kinds: Sequence[type[Task.Settings]]) -> list[str]:
    """Return what a worker can import before it has its job."""
    ahead = dict.fromkeys(name for kind in kinds for name in kind.imported_ahead)
    return [*model.list_modules(), *ahead]


@contextmanager
def start_first(suite: str, options: Options) -> Iterator[Ahead]:
    """Workers that start before their turn: in this block already that of the first model, while
    the run is planned. None starts if something is wrong, which planning tells, or if anything of
    the run is timed.
    """
    found = _find_first(suite, options) if machine.cores() > 1 else None
    ahead = Ahead(options)
    with ExitStack() as stack:
        if found is not None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="llmbench-"))
        stack.callback(ahead.close)  # before the folder of its log goes
        if found is not None:
            name, modules = found
            ahead.start(name, Path(scratch) / "worker.log", modules)
        yield ahead


def _find_first(suite: str, options: Options) -> tuple[str, list[str]] | None:
    """The first model of a new run, and what its worker imports; None if that is not plain."""
    is_new = options.out is None or not options.out.exists()
    if not is_new or options.workers > 1 or options.engine != "local" or options.named:
        return None
    with suppress(LlmbenchError, ValidationError, OSError):
        raw, _ = strict_yaml.read(registry.suite_path(suite))
        file = SuiteFile.model_validate(raw)
        kinds = [_find_settings(entry.task) for entry in file.tasks]
        first = _find_card(file, options)
        if first is None or any(kind is None or kind.process != "shared" for kind in kinds):
            return None
        model = resolve_model(first)
        if not model.is_outside:
            return model.name, list_modules(model, [kind for kind in kinds if kind])
    return None


def _find_settings(task: str) -> Any:
    """The settings of a task that came with llmbench; None of another: its code is not run here."""
    return task_registry.task_class(task).Settings if task in task_registry.TASKS else None


def _find_card(file: SuiteFile, options: Options) -> Card | None:
    """The card of the first model; None if it may be another than it seems."""
    if file.models:
        entry = file.models[0]
        return registry.resolve(entry) if isinstance(entry, str) and not options.only else None
    return registry.resolve(options.models[0]) if options.models else None
