"""What earlier runs left in a run's folder of models that this run does not name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmbench.errors import UsageError
from llmbench.plan.plan import Plan
from llmbench.results import record
from llmbench.results.cell import CellRow
from llmbench.results.record import Failure, ModelRow, Record
from llmbench.runner.folder.run_folder import RunFolder
from llmbench.runner.progress import Watcher
from llmbench.tasks.lossy import leaves_out
from llmbench.tasks.task import Task

DAMAGED = "damaged: its files were changed, cut or removed after the run that wrote them"
AGAIN = "run again with the same --out and this model: what is damaged is computed again"


def load_before(out: Path, watcher: Watcher) -> Record | None:
    """Return the record that an earlier run left in this folder; None, and a warning, if it is
    damaged.
    """
    if not (out / "run.json").exists():
        return None
    try:
        return record.load(out)
    except UsageError as error:
        watcher.warn(
            f"{error}; models of earlier runs are read from their finished cells, and their"
            " failures are lost"
        )
        return None


class Earlier:
    """The models of earlier runs, and their cells as they are now.

    names: in their order on the board, those that only their cells tell of last. cells: model ->
    task -> the finished cell, if it is whole and belongs on this board. damaged: (model, task) of
    cells that were finished, and cannot be read any more. others: of those that answer another
    question than this run.
    """

    def __init__(self, folder: RunFolder, before: Record | None):
        """`before`: the record in the folder; None if there is none, or a damaged one."""
        self._folder, self._made, self.before = folder, folder.made, before
        self._rows = {row.name: row for row in before.models} if before else {}
        found = [*self._rows, *folder.list_models()]
        self.names = [name for name in dict.fromkeys(found) if name not in self._made.models]
        self._same_options = before is not None and all(
            before.options.get(key) == value
            for key, value in self._made.options.for_cells().items()
        )
        self.cells: dict[str, dict[str, CellRow]] = {}
        self.damaged: list[tuple[str, str]] = []
        self.others: list[tuple[str, str]] = []
        for name in self.names:
            for task in self._made.suite.tasks:
                self._sort(name, task)

    def _sort(self, name: str, task: Task.Settings) -> None:
        cell = self._folder.read_cell(name, task.name)
        head = cell or self._folder.read_head(name, task.name)
        if head is not None and not _same_question(self._made, head, task):
            self.others.append((name, task.name))
        elif cell is not None:
            self.cells.setdefault(name, {})[task.name] = cell
        elif self._was_finished(name, task.name):
            self.damaged.append((name, task.name))

    def _was_finished(self, name: str, task: str) -> bool:
        """Whether a cell that cannot be read was once there."""
        if self._folder.has_cell(name, task):
            return True
        if self.before is None or not self._same_options:
            return False
        missed = ((f.model, f.task) for f in self.before.failures if f.message == DAMAGED)
        return task in self.before.notes.cells.get(name, ()) or (name, task) in missed

    def list_failures(self) -> list[Failure]:
        """Rows for the damaged cells."""
        return [
            Failure(model=name, task=task, reason="error", message=DAMAGED, hint=AGAIN)
            for name, task in self.damaged
        ]

    def find_row(self, name: str) -> ModelRow | None:
        """What is known of a model without a whole cell; None if it has no failure either."""
        damaged = [task for model, task in self.damaged if model == name]
        failures = self.before.failures if self.before and self._same_options else []
        if not damaged and not any(failure.model == name for failure in failures):
            return None
        heads = (self._folder.read_head(name, task) for task in damaged)
        rows = (ModelRow.model_validate(head["model"]) for head in heads if head is not None)
        return self._rows.get(name) or next(rows, ModelRow(name=name))

    def find_losses(self, task: str) -> dict[str, Mapping[str, str]]:
        """Model -> the documents that it cannot hold, of damaged cells of a task that leaves these
        out: the scores of the other models stay those of the documents that were left.

        Raises UsageError if nothing in the folder tells.
        """
        names = [model for model, other in self.damaged if other == task]
        found = {name: self._recall_losses(name, task) for name in names}
        return {name: lost for name, lost in found.items() if lost is not None}

    def _recall_losses(self, name: str, task: str) -> Mapping[str, str] | None:
        """From the cell if only its samples are damaged, else from the record; None of a masked
        model, which keeps all documents.
        """
        head = self._folder.read_head(name, task)
        if head is not None:
            return head.get("lossy")
        note = self.before.notes.left_out.get(task) if self.before else None
        if note is not None and name in note.models:
            return {id: causes[name] for id, causes in note.documents.items() if name in causes}
        failures = self.before.failures if self.before else []
        refused = ((f.model, f.task) for f in failures if f.reason == "unsupported")
        if self.before is None or (name, task) in refused:
            raise UsageError(
                f"the cell of {name} for {task} is damaged, and which documents are left out for"
                " all models depends on it",
                where=str(self._made.cell_path(name, task)),
                hint="name this model too, so that the cell is computed again; or choose another"
                " --out",
            )
        return None

    def tell(self, watcher: Watcher) -> None:
        """Say what is left off the board, and why. Raises UsageError as find_losses does."""
        for task in filter(leaves_out, self._made.suite.tasks):
            self.find_losses(task.name)
        for row in self.list_failures():
            watcher.warn(f"{row.model} {row.task} is left off the board: {row.message}; {row.hint}")
        for name in filter(self._rows.__contains__, self.names):
            if tasks := [task for model, task in self.others if model == name]:
                watcher.warn(
                    f"{name} {', '.join(tasks)} is left off the board: measured with other texts or"
                    " options, or on another machine"
                )


def _same_question(made: Plan, cell: CellRow, task: Task.Settings) -> bool:
    """Whether an earlier run's cell belongs on this board; times and memory of another machine, or
    of fewer threads, do not.
    """
    return cell["question"] == made.question and (
        task.process == "shared" or cell.get("machine") == made.options.machine
    )
