"""Which scores of many runs share a table, and why others do not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.errors import UsageError
from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.merge.runs import (
    CellScores,
    TableKey,
    list_names,
)
from llmbench.leaderboard.tables import SAMPLE_CHARACTERS
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import SPEED
from llmbench.results import signature as results_signature

ROUNDING = 1e-5  # of a value: machines and libraries add in different orders


@dataclass(frozen=True)
class TableGroup:
    """A table to be: its place, its title, the line of each model from the newest run that has it,
    and the notes that only many runs call for.
    """

    place: TableKey
    title: str
    cells: Sequence[CellScores]
    said: Sequence[str]


def _task(rows: Mapping[str, Sequence[CellScores]]) -> str:
    """What a table's task is called: as in the first of its cells, which is of the newest run."""
    return next(iter(rows.values()))[0].task


def _of_one_task(
    found: Mapping[TableKey, Mapping[str, Sequence[CellScores]]],
) -> dict[tuple[str, str], dict[str, list[CellScores]]]:
    """(task, metric) -> signature -> cells: where there are several signatures, those tables stand
    apart.
    """
    grouped: dict[tuple[str, str], dict[str, list[CellScores]]] = {}
    for place, rows in found.items():
        same = grouped.setdefault((_task(rows), place.metric), {})
        same.setdefault(place.signature, []).extend(cell for row in rows.values() for cell in row)
    return grouped


def _differences(by_signature: Mapping[str, Sequence[CellScores]]) -> list[str]:
    """For each part in which signatures differ: its values, and in which runs each is."""
    said = []
    for part in results_signature.find_differences(by_signature):
        runs: dict[str, list[str]] = {}
        for signature, cells in by_signature.items():
            runs.setdefault(results_signature.short_value(signature, part), []).extend(
                cell.run.name for cell in cells
            )
        said.append(
            f"{part} differs: "
            + " against ".join(f"{value} (in {list_names(names)})" for value, names in runs.items())
        )
    return said


def refuse_differences(found: Mapping[TableKey, Mapping[str, Sequence[CellScores]]]) -> None:
    for (task, _), by_signature in _of_one_task(found).items():
        if len(by_signature) > 1:
            said = cut("; ".join(_differences(by_signature)), SAMPLE_CHARACTERS)
            raise UsageError(
                f"not comparable: {said}",
                where=cut(task, NAME_CHARACTERS),
                hint="without --strict they are tables apart",
            )


def find_groups(
    found: Mapping[TableKey, Mapping[str, Sequence[CellScores]]], apart: set[str]
) -> tuple[list[TableGroup], list[str]]:
    """The tables to be, quality first, then speed, then what else machines are asked about where
    that stands apart; and warnings.
    """
    by_task = _of_one_task(found)
    order = list(dict.fromkeys(task for task, _ in by_task))
    groups, warnings = [], []
    for place, rows in found.items():
        if place.machine and place.metric != SPEED and place.machine not in apart:
            continue  # it stands beside the others
        task = _task(rows)
        alike = by_task[task, place.metric]
        said = (
            [
                f"Apart from other tables of {cut(task, NAME_CHARACTERS)}: {words}."
                for words in _differences(alike)
            ]
            if len(alike) > 1
            else []
        )
        wrong = (
            []
            if place.machine
            else [
                text
                for name, cells in rows.items()
                if (text := _disagreement(name, place.metric, cells))
            ]
        )
        warnings += [f"{task}: {text}" for text in wrong]
        groups.append(
            TableGroup(
                place,
                _title(task, place, list(alike)),
                [cells[0] for cells in rows.values()],
                [*said, *wrong],
            )
        )
    groups.sort(
        key=lambda group: (
            bool(group.place.machine),
            group.place.metric != SPEED,
            order.index(group.cells[0].task),
        )
    )
    return groups, warnings


def _title(task: str, place: TableKey, alike: Sequence[str]) -> str:
    """The task's name, what tells its signature from the others', and the machine."""
    own = results_signature.Signature.parse(place.signature).values()
    parts = results_signature.find_differences(alike)
    short = [
        tuple(results_signature.short_value(signature, part) for part in parts)
        for signature in alike
    ]
    values = {
        part: (
            results_signature.short_value(place.signature, part)
            if len({*short}) == len(short)
            else own.get(part, results_signature.ABSENT)
        )
        for part in parts
    }
    marks = f" ({', '.join(f'{part}={value}' for part, value in values.items())})" if parts else ""
    machine = f" on {place.machine}" if place.machine else ""
    return f"{cut(task + marks, NAME_CHARACTERS // 2) or '?'}{machine}"


def _disagreement(name: str, metric: str, cells: Sequence[CellScores]) -> str:
    """What is odd about a model's scores that have one signature and one fingerprint; "" where they
    are the same up to rounding.
    """
    newest = float(cells[0].scores[metric].value)
    others = [
        (abs(newest - float(cell.scores[metric].value)), cell)
        for cell in cells[1:]
        if not _is_same(newest, cell.scores[metric].value)
    ]
    if not others:
        return ""
    gap, other = max(others, key=lambda found: found[0])
    value = float(other.scores[metric].value)
    share = f", {gap / abs(newest):.2%} apart" if newest and math.isfinite(gap) else ""
    where = f"{newest:.6g} in {cells[0].run.name} and {value:.6g} in {other.run.name}"
    return (
        f"{cut(name, NAME_CHARACTERS)}: {metric} is {where}{share}, with the same weights and"
        " signature: something is off. The newer is shown."
    )


def _is_same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=1e-9)
