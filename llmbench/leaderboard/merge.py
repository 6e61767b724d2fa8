"""One board from many runs: what is comparable shares a table, what is not stands apart, and the
board says why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmbench.errors import UsageError
from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.board import COSTS, Board, Table
from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.findings import cut
from llmbench.leaderboard.runs import (
    FIRST_TEXT,
    Measured,
    Models,
    Place,
    Run,
    facts,
    failures,
    is_refused,
    listed,
    measured,
    opened,
    places,
)
from llmbench.metrics.facts import BITS_PER_BYTE, FACTS, RANKED, SPEED
from llmbench.results import signature as results_signature
from llmbench.results.paired_tests import is_consistent
from llmbench.results.ranking import Item, is_ranked, rank_scores, with_statistics
from llmbench.results.record import Notes, Score, TaskNotes, key_of, notes_key
from llmbench.results.samples import Opened

RANKED_AT_MOST = 40  # models: the work grows with the fourth power of their number
BESIDE = ""  # the task of what stands beside every table's own scores: no table has this title
ROUNDING = 1e-5  # of a value: machines and libraries add in different orders


@dataclass(frozen=True)
class Group:
    """A table to be: its place, its title, the line of each model from the newest run that has it,
    and the notes that only many runs call for.
    """

    place: Place
    title: str
    cells: Sequence[Measured]
    said: Sequence[str]


def merge(paths: Sequence[Path], strict: bool = False) -> tuple[Board, list[str]]:
    """The board of these runs (folders, run.json files or reviewed records), and warnings about
    values that should be the same and are not.

    UsageError where a record cannot be read, or, if `strict`, where scores of one task differ in
    their signatures.
    """
    runs = opened(paths)
    models = Models(runs)
    cells = [cell for run in runs for cell in measured(run, models)]
    found: dict[Place, dict[str, list[Measured]]] = {}
    for cell in cells:
        for place in places(cell):
            found.setdefault(place, {}).setdefault(cell.model, []).append(cell)
    if strict:
        _refuse_differences(found)
    machines = {run.machine for run in runs}
    beside = {machine: _beside(found, machine) for machine in machines}
    groups, warnings = _groups(
        found,
        {machine for machine in machines if len(machines) > 1 or _is_apart(found, beside, machine)},
    )
    one = runs[0].machine if len(machines) == 1 else None
    tables = [
        _table(group, models, beside.get(group.place.machine or one or "", {}), one is not None)
        for group in groups
    ]
    rows, elsewhere = failures(runs, models, cells)
    known = facts(runs)
    if elsewhere:
        known.append(
            (
                "filled",
                f"{elsewhere} cells that could not be measured in one run are here from another",
            )
        )
    scores, picture = _picture(groups, beside)
    if picture and len(machines) > 1:
        known.append(("picture", f"speeds on {picture}"))
    whole = runs[0].record.model_copy(
        update={
            "models": models.all(one is not None),
            "scores": scores,
            "failures": rows,
            "notes": Notes(),
        }
    )
    board = leaderboard_board.compose(f"llmbench: {len(runs)} runs", known, tables, whole)
    return (
        replace(
            board,
            provenance=None,
            published=leaderboard_board.elsewhere(whole.models, _by_model(cells)),
        ),
        warnings,
    )


def _by_model(cells: Sequence[Measured]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for cell in cells:
        found.setdefault(cell.model, []).extend(cell.scores.values())
    return found


def _task(rows: Mapping[str, Sequence[Measured]]) -> str:
    """What a table's task is called: as in the first of its cells, which is of the newest run."""
    return next(iter(rows.values()))[0].task


def _of_one_task(
    found: Mapping[Place, Mapping[str, Sequence[Measured]]],
) -> dict[tuple[str, str], dict[str, list[Measured]]]:
    """(task, metric) -> signature -> cells: where there are several signatures, those tables stand
    apart.
    """
    grouped: dict[tuple[str, str], dict[str, list[Measured]]] = {}
    for place, rows in found.items():
        same = grouped.setdefault((_task(rows), place.metric), {})
        same.setdefault(place.signature, []).extend(cell for row in rows.values() for cell in row)
    return grouped


def _differences(by_signature: Mapping[str, Sequence[Measured]]) -> list[str]:
    """For each part in which signatures differ: its values, and in which runs each is."""
    said = []
    for part in results_signature.differing(by_signature):
        runs: dict[str, list[str]] = {}
        for signature, cells in by_signature.items():
            runs.setdefault(results_signature.short_value(signature, part), []).extend(
                cell.run.name for cell in cells
            )
        said.append(
            f"{part} differs: "
            + " against ".join(f"{value} (in {listed(names)})" for value, names in runs.items())
        )
    return said


def _refuse_differences(found: Mapping[Place, Mapping[str, Sequence[Measured]]]) -> None:
    for (task, _), by_signature in _of_one_task(found).items():
        if len(by_signature) > 1:
            said = cut("; ".join(_differences(by_signature)), leaderboard_board.SAMPLE_CHARACTERS)
            raise UsageError(
                f"not comparable: {said}",
                where=cut(task, NAME_CHARACTERS),
                hint="without --strict they are tables apart",
            )


def _beside(
    found: Mapping[Place, Mapping[str, Sequence[Measured]]], machine: str
) -> dict[str, list[Score]]:
    """What each model costs on a machine, to stand beside what it can do: of the metrics that have
    one signature there.
    """
    costs: dict[tuple[str, str], Score] = {}
    seen: dict[str, set[str]] = {}
    for place, rows in found.items():
        for name, cells in rows.items() if place.machine == machine else ():
            for cell in cells:
                for key in COSTS:
                    if key in cell.scores:
                        seen.setdefault(key, set()).add(cell.scores[key].signature)
                        costs.setdefault((name, key), cell.scores[key])
    beside: dict[str, list[Score]] = {}
    for (name, key), score in costs.items():
        if len(seen[key]) == 1:
            beside.setdefault(name, []).append(
                score.model_copy(update={"model": name, "task": BESIDE})
            )
    return beside


def _is_apart(
    found: Mapping[Place, Mapping[str, Sequence[Measured]]],
    beside: Mapping[str, Mapping[str, Sequence[Score]]],
    machine: str,
) -> bool:
    """Whether some costs can stand beside nothing, because their signatures differ."""
    shown = {key_of(score) for scores in beside[machine].values() for score in scores}
    return any(
        place.metric not in shown
        for place in found
        if place.machine == machine and place.metric != SPEED
    )


def _groups(
    found: Mapping[Place, Mapping[str, Sequence[Measured]]], apart: set[str]
) -> tuple[list[Group], list[str]]:
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
            Group(
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


def _title(task: str, place: Place, alike: Sequence[str]) -> str:
    """The task's name, what tells its signature from the others', and the machine."""
    own = results_signature.Signature.parse(place.signature).values()
    parts = results_signature.differing(alike)
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
    return f"{cut(task + marks, NAME_CHARACTERS // 2) or '?'}{f' on {place.machine}' if place.machine else ''}"


def _disagreement(name: str, metric: str, cells: Sequence[Measured]) -> str:
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


def _table(
    group: Group, models: Models, beside: Mapping[str, Sequence[Score]], timed: bool
) -> Table:
    """`timed`: whether seconds of training, too, are of one machine."""
    place, names = group.place, [cell.model for cell in group.cells]
    kept, said = _one_signature_each(group.cells)
    scores = []
    for name, own in zip(names, kept, strict=True):
        scores += [
            score.model_copy(update={"model": name, "task": group.title, "rank": None})
            for score in own
        ]
        scores += beside.get(name, ())
    rows = models.rows(names, place.machine or None, timed or bool(place.machine))
    metric = (
        place.metric if any(place.metric in cell.scores for cell in group.cells) else FIRST_TEXT
    )
    headline = [score for score in scores if score.task == group.title and key_of(score) == metric]
    refused = [row.name for row in rows if is_refused(row.certificate)]
    notes, remarks = _ranks(group, headline, refused, models)
    first = group.cells[0].run.record
    changes = {
        "models": rows,
        "scores": scores,
        "failures": [],
        "notes": Notes(tasks={notes_key(group.title, metric): notes}),
    }
    table = leaderboard_board.table(first.model_copy(update=changes), group.title, metric)
    where = {cut(cell.model, NAME_CHARACTERS): cell.run for cell in group.cells}
    lines = [
        replace(
            line,
            run=cut(where[line.model].name, NAME_CHARACTERS),
            machine=where[line.model].machine,
        )
        for line in table.lines
    ]
    return replace(
        table,
        lines=lines,
        notes=[
            cut(text, leaderboard_board.SAMPLE_CHARACTERS)
            for text in (*group.said, *said, *remarks, *table.notes)
        ],
    )


def _one_signature_each(cells: Sequence[Measured]) -> tuple[list[list[Score]], list[str]]:
    """The scores of each cell, and in words those that are left out because most of their column
    have another signature.
    """
    counts: dict[str, Counter[str]] = {}
    for cell in cells:
        for key, score in cell.scores.items():
            counts.setdefault(key, Counter())[score.signature] += 1
    usual = {key: found.most_common(1)[0][0] for key, found in counts.items()}
    said = []
    for key, found in counts.items():
        if len(found) > 1:
            names = [
                cell.model
                for cell in cells
                if key in cell.scores and cell.scores[key].signature != usual[key]
            ]
            parts = " and ".join(results_signature.differing(found))
            said.append(
                f"{key} of {listed(names)} is left out: its signature differs from the others' in"
                f" {parts}."
            )
    return [
        [score for key, score in cell.scores.items() if score.signature == usual[key]]
        for cell in cells
    ], said


def _ranks(
    group: Group, headline: Sequence[Score], refused: Sequence[str], models: Models
) -> tuple[TaskNotes, list[str]]:
    """Set the ranks of a table's scores: those of the run, where it has all of them; else anew,
    from the samples. Gives what else the items prove, and why nothing is ranked, where nothing is.
    """
    runs = {cell.run.name: cell.run for cell in group.cells}
    metric = headline[0].metric
    if len(runs) == 1:
        (run,) = runs.values()
        own = {
            models.name(run, score.model): score
            for score in run.record.scores
            if key_of(score) == metric and score.task == group.cells[0].task
        }
        newly_refused = metric != SPEED and any(
            own[name].rank for name in refused if name in own
        )  # by another run
        if own.keys() == {score.model for score in headline} and not newly_refused:
            for score in headline:
                score.rank = own[score.model].rank
            return (
                _renamed(
                    run.record.notes.tasks.get(notes_key(group.cells[0].task, metric), TaskNotes()),
                    run,
                    models,
                ),
                [],
            )
    ranked = [score for score in headline if is_ranked(score, refused)] if metric in RANKED else []
    if len(ranked) < 2:
        return TaskNotes(), []
    if len(ranked) > RANKED_AT_MOST:
        return TaskNotes(), [
            f"Not ranked: every pair is tested, and {len(ranked)} models are more than"
            f" {RANKED_AT_MOST}."
        ]
    cells = {cell.model: cell for cell in group.cells}
    items = {score.model: _items(cells[score.model], metric) for score in ranked}
    missing = [cells[name].run.name for name, found in items.items() if not found]
    if missing:
        return TaskNotes(), [
            "Not ranked: the samples of these scores are not beside the record, or are others:"
            f" {listed(missing)}."
        ]
    found = rank_scores(headline, lambda score: items[score.model], refused)
    if not found:
        return TaskNotes(), [
            "Not ranked: no two of them were measured on the same items in one session."
        ]
    return TaskNotes.model_validate(next(iter(found.values()))), []


def _renamed(notes: TaskNotes, run: Run, models: Models) -> TaskNotes:
    """The notes of a run, with the names that its models have among all."""

    def named(names: Sequence[str]) -> list[str]:
        return [models.name(run, name) for name in names]

    changes: dict[str, object] = {
        "better_than": {
            models.name(run, name): named(others) for name, others in notes.better_than.items()
        },
        "left_out": named(notes.left_out),
    }
    if notes.again and isinstance(notes.again.get("model"), str):
        changes["again"] = {**notes.again, "model": models.name(run, notes.again["model"])}
    return notes.model_copy(update=changes)


def _items(cell: Measured, metric: str) -> list[Item]:
    """The items that a score was made of, beside the record or, of a reviewed one, in it; none
    where they are not to be had, or are not those of this score.
    """
    score = cell.scores[metric]
    found = with_statistics(
        Opened(cell.run.record, cell.run.path).items(score.model, score.task, texts=False), metric
    )
    return (
        found
        if len(found) == score.n
        and is_consistent(FACTS[metric], [values for _, values in found], score.value)
        else []
    )


def _picture(
    groups: Sequence[Group], beside: Mapping[str, Mapping[str, Sequence[Score]]]
) -> tuple[list[Score], str]:
    """The scores of the picture, of one table of bits and one of speed: the two that have the most
    models in common; and the machine.
    """
    bits = [group for group in groups if group.place.metric == BITS_PER_BYTE]
    rates = [group for group in groups if group.place.metric == SPEED]
    pairs = [
        (len({c.model for c in one.cells} & {c.model for c in other.cells}), one, other)
        for one in bits
        for other in rates
    ]
    if not pairs:
        return [], ""
    _, one, other = max(pairs, key=lambda pair: pair[0])
    machine = other.place.machine
    scores = []
    for key, cells in ((BITS_PER_BYTE, one.cells), (SPEED, other.cells)):
        scores += [
            cell.scores[key].model_copy(update={"model": cell.model})
            for cell in cells
            if key in cell.scores
        ]
    for costs in beside[machine].values():
        scores += [score for score in costs if key_of(score).startswith("peak_")]
    return scores, machine
