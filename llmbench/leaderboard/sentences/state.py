"""How far a run came, in sentences: a board that lacks models must not look like a whole one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from llmbench.leaderboard.words import cut, join_words
from llmbench.results.record import Record

MOST_MODELS = 24  # names of a sentence
NAME_CHARACTERS = 80
ENDS = {
    "done": "Partial",
    "interrupted": "Interrupted",
    "unfinished": "Unfinished, as the run is still at work or was killed",
}


@dataclass(frozen=True)
class OpenCell:
    """A cell that was asked for and that nobody has tried. `run`: its short name, on a board of
    several.
    """

    model: str
    task: str
    run: str = ""


def is_whole(record: Record) -> bool:
    """Whether the run reached all that it was asked for, and all models of its suite."""
    return record.state.is_complete and not record.state.not_asked


def mark_state(record: Record) -> str:
    """Return in a word what a run is that is not whole: interrupted, unfinished or partial; "" of a
    whole one.
    """
    if is_whole(record):
        return ""
    state = record.state
    return "partial" if state.end == "done" or state.is_complete else state.end


def name_end(record: Record) -> str:
    """Return what the last moment of a run is called: finished, interrupted or last written."""
    if record.state.is_complete:
        return "finished"
    names = {"done": "finished", "interrupted": "interrupted", "unfinished": "last written"}
    return names[record.state.end]


def list_open_cells(record: Record, run: str = "") -> list[OpenCell]:
    """Return the cells that nobody has tried, by model."""
    return [
        OpenCell(cut(model, NAME_CHARACTERS), cut(task, NAME_CHARACTERS), run)
        for model, tasks in record.state.not_reached.items()
        for task in tasks
    ]


def describe_state(record: Record) -> str:
    """Return how far an interrupted or partial run came, as in "Interrupted: 7 of 13 models; not
    reached: lstm and rnn."; "" of a whole one.
    """
    if is_whole(record):
        return ""
    state, names = record.state, [model.name for model in record.models]
    tried = {name for name, tasks in record.notes.cells.items() if tasks}
    tried |= {failure.model for failure in record.failures}
    unreached = [name for name in names if name in state.not_reached and name not in tried]
    parts = []
    if unreached:
        some = f"{len(names) - len(unreached)} of {_count(names)}"
        parts.append(f"{some}; not reached: {_list(unreached)}")
    parts += _describe_tasks(record, [name for name in names if name not in unreached])
    if state.not_asked:
        left_out = f"{len(state.not_asked)} of the suite's models"
        parts.append(f"{_count(names)}; not asked, {left_out}: {_list(state.not_asked)}")
    if not parts:
        parts = ["every cell is filled"]
    end = ENDS["done" if state.is_complete else state.end]
    return f"{end}: {'; '.join(parts)}."


def _describe_tasks(record: Record, reached: Collection[str]) -> list[str]:
    """Return for each task which of the models that were reached lack it."""
    lacking: dict[str, list[str]] = {}
    for name in reached:
        for task in record.state.not_reached.get(name, ()):
            lacking.setdefault(task, []).append(name)
    return [
        f"{cut(task, NAME_CHARACTERS)} not reached"
        f" {'by any model' if len(models) == len(reached) else f'by {_list(models)}'}"
        for task, models in lacking.items()
    ]


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} model{'' if len(names) == 1 else 's'}"


def _list(names: Sequence[str]) -> str:
    shown = [cut(name, NAME_CHARACTERS) for name in names[:MOST_MODELS]]
    more = [f"{len(names) - MOST_MODELS} more"] if len(names) > MOST_MODELS else []
    return join_words([*shown, *more])
