"""One board from many runs: what is comparable shares a table, what is not stands apart, and the
board says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llmbench.errors import is_inapplicable
from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.board import Board
from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.merge.groups import TableGroup, find_groups, refuse_differences
from llmbench.leaderboard.merge.ranks import rank_table
from llmbench.leaderboard.merge.runs import (
    FIRST_TEXT,
    CellScores,
    Models,
    SourceRun,
    TableKey,
    facts,
    failures,
    find_tables,
    is_refused,
    list_names,
    list_open,
    open_runs,
    read_scores,
)
from llmbench.leaderboard.sentences.state import describe_state, mark_state
from llmbench.leaderboard.serving.section import build_load_tables
from llmbench.leaderboard.tables import COSTS, SAMPLE_CHARACTERS, Table
from llmbench.leaderboard.tables import table as table_of_task
from llmbench.leaderboard.votes.judges import build_judge_tables
from llmbench.leaderboard.votes.section import build_vote_tables
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import BITS_PER_BYTE, SPEED
from llmbench.results import signature as results_signature
from llmbench.results.record import Failure, Notes, Score, TaskNotes, key_of, notes_key
from llmbench.results.rows import LeftOut

NO_TASK = ""  # the task of what stands beside every table's own scores: no table has this title


def merge(paths: Sequence[Path], strict: bool = False) -> tuple[Board, list[str]]:
    """Return the board of these runs, and warnings about values that should agree and do not.

    Args:
        paths: run folders, run.json files or reviewed records.
        strict: raise UsageError if scores of one task differ in their signatures.

    Raises UsageError if a record cannot be read.
    """
    runs = open_runs(paths)
    models = Models(runs)
    cells = [cell for run in runs for cell in read_scores(run, models)]
    found = _collect_cells(cells)
    if strict:
        refuse_differences(found)
    machines = {run.machine for run in runs}
    machine_costs = {machine: _collect_costs(found, machine) for machine in machines}
    separate = {
        machine
        for machine in machines
        if len(machines) > 1 or _has_separate_costs(found, machine_costs, machine)
    }
    groups, warnings = find_groups(found, separate)
    one = runs[0].machine if len(machines) == 1 else None
    tables = [
        _table(
            group, models, machine_costs.get(group.place.machine or one or "", {}), one is not None
        )
        for group in groups
    ]
    rows, elsewhere = failures(runs, models, cells)
    rows = _drop_inapplicable(rows, runs, cells)
    known = facts(runs)
    if elsewhere:
        known.append(("filled", _describe_filled(elsewhere)))
    scores, picture, tests = _choose_picture(groups, tables, machine_costs)
    if picture and len(machines) > 1:
        known.append(("picture", f"speeds on {picture}"))
    whole = runs[0].record.model_copy(
        update={
            "models": models.all(one is not None),
            "scores": scores,
            "failures": rows,
            "notes": tests,
        }
    )
    board = leaderboard_board.compose(f"llmbench: {_count(runs)}", known, tables, whole)
    suites = {run.record.suite.name for run in runs}
    published = leaderboard_board.list_published(whole.models, _by_model(cells), suites)
    said = [f"{run.name}: {words}" for run in runs if (words := describe_state(run.record))]
    board = replace(
        board,
        provenance=None,
        published=published,
        state=said,
        open_cells=list_open(runs, models, cells),
    )
    return _add_sections(board, runs), warnings


def _add_sections(board: Board, runs: Sequence[SourceRun]) -> Board:
    """What is not comparable between runs: loads on servers, and people's votes."""
    loads = [table for run in runs for table in build_load_tables(run.record, run.name)]
    votes = [
        table
        for run in runs
        for build in (build_vote_tables, build_judge_tables)
        for table in build(run.record, run.path.parent, run.name)
    ]
    board = leaderboard_board.add_loads(board, loads)
    return leaderboard_board.add_vote_tables(board, votes)


def _count(runs: Sequence[SourceRun]) -> str:
    return f"{len(runs)} run{'' if len(runs) == 1 else 's'}"


def _drop_inapplicable(
    rows: Sequence[Failure], runs: Sequence[SourceRun], cells: Sequence[CellScores]
) -> list[Failure]:
    """The failures without those of tasks that do not apply to a kind of model. Those of a task
    that no model did stay: nothing else tells of it.
    """
    tried = {cell.task for cell in cells}
    for run in runs:
        tried |= {task for tasks in run.record.notes.cells.values() for task in tasks}
    return [
        row for row in rows if row.task not in tried or not is_inapplicable(row.reason, row.message)
    ]


def _describe_filled(count: int) -> str:
    said = "cell failed in one run and is" if count == 1 else "cells failed in one run and are"
    return f"{count} {said} here from another"


def _collect_cells(cells: Sequence[CellScores]) -> dict[TableKey, dict[str, list[CellScores]]]:
    """Return table -> model -> the cells that have a score in it."""
    found: dict[TableKey, dict[str, list[CellScores]]] = {}
    for cell in cells:
        for place in find_tables(cell):
            found.setdefault(place, {}).setdefault(cell.model, []).append(cell)
    return _drop_repeated(found)


def _drop_repeated(
    found: dict[TableKey, dict[str, list[CellScores]]],
) -> dict[TableKey, dict[str, list[CellScores]]]:
    """Return the tables without those of written text whose cells stand in another one, too: all
    metrics of what was written share a table, which has the signature of the first.
    """
    kept: dict[TableKey, dict[str, list[CellScores]]] = {}
    shown: set[tuple[str, str, str]] = set()
    for place, rows in found.items():
        cells = [cell for own in rows.values() for cell in own]
        keys = {(cell.run.name, cell.model, cell.task) for cell in cells}
        is_written = all(
            place.metric in cell.scores and cell.scores[place.metric].is_of_generated_text
            for cell in cells
        )
        if is_written and keys <= shown:
            continue
        shown |= keys if is_written else set()
        kept[place] = rows
    return kept


def _by_model(cells: Sequence[CellScores]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for cell in cells:
        found.setdefault(cell.model, []).extend(cell.scores.values())
    return found


def _collect_costs(
    found: Mapping[TableKey, Mapping[str, Sequence[CellScores]]], machine: str
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
    machine_costs: dict[str, list[Score]] = {}
    for (name, key), score in costs.items():
        if len(seen[key]) == 1:
            machine_costs.setdefault(name, []).append(
                score.model_copy(update={"model": name, "task": NO_TASK})
            )
    return machine_costs


def _has_separate_costs(
    found: Mapping[TableKey, Mapping[str, Sequence[CellScores]]],
    machine_costs: Mapping[str, Mapping[str, Sequence[Score]]],
    machine: str,
) -> bool:
    """Whether some costs belong to no table, because their signatures differ."""
    shown = {key_of(score) for scores in machine_costs[machine].values() for score in scores}
    return any(
        place.metric not in shown
        for place in found
        if place.machine == machine and place.metric != SPEED
    )


def _table(
    group: TableGroup, models: Models, machine_costs: Mapping[str, Sequence[Score]], timed: bool
) -> Table:
    """`timed`: whether seconds of training, too, are of one machine."""
    place, names = group.place, [cell.model for cell in group.cells]
    kept, said = _keep_usual_signature(group.cells)
    scores = []
    for name, own in zip(names, kept, strict=True):
        scores += [
            score.model_copy(update={"model": name, "task": group.title, "rank": None})
            for score in own
        ]
        scores += machine_costs.get(name, ())
    rows = models.rows(names, place.machine or None, timed or bool(place.machine))
    metric = (
        place.metric if any(place.metric in cell.scores for cell in group.cells) else FIRST_TEXT
    )
    headline = [score for score in scores if score.task == group.title and key_of(score) == metric]
    refused = [row.name for row in rows if is_refused(row.certificate)]
    notes, remarks = rank_table(group, headline, refused, models)
    first = group.cells[0].run.record
    changes = {
        "models": rows,
        "scores": scores,
        "failures": [],
        "notes": Notes(
            tasks={notes_key(group.title, metric): notes},
            left_out=_join_left_out(group, metric, models),
        ),
    }
    table = table_of_task(first.model_copy(update=changes), group.title, metric)
    where = {cut(cell.model, NAME_CHARACTERS): cell.run for cell in group.cells}
    lines = [
        replace(
            line,
            run=cut(where[line.model].name, NAME_CHARACTERS),
            machine=where[line.model].machine,
            state=mark_state(where[line.model].record),
        )
        for line in table.lines
    ]
    return replace(
        table,
        lines=lines,
        notes=[
            cut(text, SAMPLE_CHARACTERS) for text in (*group.said, *said, *remarks, *table.notes)
        ],
    )


def _join_left_out(group: TableGroup, metric: str, models: Models) -> dict[str, LeftOut]:
    """The documents that the runs of a table left out, all the same ones, with the models of all
    runs that cannot hold them.
    """
    joined: LeftOut | None = None
    for cell in group.cells:
        own = cell.run.record.notes.left_out.get(cell.task)
        if own is None or metric not in cell.scores or not cell.scores[metric].left_out:
            continue
        before = {} if joined is None else joined.documents
        documents = {
            id: {
                **before.get(id, {}),
                **{models.name(cell.run, name): why for name, why in causes.items()},
            }
            for id, causes in own.documents.items()
        }
        joined = own.model_copy(update={"documents": documents})
    return {} if joined is None else {group.title: joined}


def _keep_usual_signature(cells: Sequence[CellScores]) -> tuple[list[list[Score]], list[str]]:
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
            parts = " and ".join(results_signature.find_differences(found))
            said.append(
                f"{key} of {list_names(names)} is left out: its signature differs from the others'"
                f" in {parts}."
            )
    return [
        [score for key, score in cell.scores.items() if score.signature == usual[key]]
        for cell in cells
    ], said


def _choose_picture(
    groups: Sequence[TableGroup],
    tables: Sequence[Table],
    machine_costs: Mapping[str, Mapping[str, Sequence[Score]]],
) -> tuple[list[Score], str, Notes]:
    """The scores of the picture, of one table of bits and one of speed: the two that have the most
    models in common; the machine; and who is proven better than whom in these tables.
    """
    known = list(zip(groups, tables, strict=True))
    bits = [pair for pair in known if pair[0].place.metric == BITS_PER_BYTE]
    rates = [pair for pair in known if pair[0].place.metric == SPEED]
    pairs = [
        (len({c.model for c in one[0].cells} & {c.model for c in other[0].cells}), one, other)
        for one in bits
        for other in rates
    ]
    if not pairs:
        return [], "", Notes()
    _, one, other = max(pairs, key=lambda pair: pair[0])
    machine = other[0].place.machine
    scores, notes = list[Score](), dict[str, TaskNotes]()
    for key, (group, table) in ((BITS_PER_BYTE, one), (SPEED, other)):
        scores += [
            cell.scores[key].model_copy(update={"model": cell.model, "task": group.title})
            for cell in group.cells
            if key in cell.scores
        ]
        beats = {name: list(others) for name, others in table.beats.items()}
        notes[notes_key(group.title, key)] = TaskNotes(better_than=beats)
    for costs in machine_costs[machine].values():
        scores += [score for score in costs if key_of(score).startswith("peak_")]
    return scores, machine, Notes(tasks=notes)
