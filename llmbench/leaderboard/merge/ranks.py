"""Ranks of a table whose scores are of several runs."""

from __future__ import annotations

from collections.abc import Sequence

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.merge.groups import TableGroup
from llmbench.leaderboard.merge.runs import (
    CellScores,
    Models,
    SourceRun,
    list_names,
)
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import SPEED
from llmbench.results.paired_tests import is_consistent
from llmbench.results.ranking import Items, is_unranked, rank_scores
from llmbench.results.record import (
    Score,
    TaskNotes,
    is_ranked,
    is_ranked_by,
    key_of,
    metric_of,
    notes_key,
)
from llmbench.results.samples import Opened
from llmbench.results.tables.items import ItemTable

RANKED_AT_MOST = 40  # models: the work grows with the fourth power of their number


def rank_table(
    group: TableGroup, headline: Sequence[Score], refused: Sequence[str], models: Models
) -> tuple[TaskNotes, list[str]]:
    """Set the ranks of a table's scores: those of the run, where it has all of them; else anew,
    from the samples, of the models that have them. Gives what else the items prove, and who is not
    ranked, and why.
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
        is_whole = own.keys() == {score.model for score in headline}
        if is_whole and not newly_refused and not is_unranked(run.record):
            for score in headline:
                score.rank = own[score.model].rank
            return (
                _rename(
                    run.record.notes.tasks.get(notes_key(group.cells[0].task, metric), TaskNotes()),
                    run,
                    models,
                ),
                [],
            )
    takes_part = is_ranked_by(headline[0])
    ranked = [score for score in headline if takes_part and is_ranked(score, refused)]
    if len(ranked) < 2:
        return TaskNotes(), []
    cells = {cell.model: cell for cell in group.cells}
    items = {score.model: _items(cells[score.model], metric) for score in ranked}
    untested = [cells[name] for name, found in items.items() if not found]
    said = _describe_untested(untested, metric, len(ranked))
    if len(ranked) - len(untested) < 2:
        return TaskNotes(), said
    without = {cell.model for cell in untested}
    tested = [score for score in headline if score.model not in without]
    if len(ranked) - len(untested) > RANKED_AT_MOST:
        return TaskNotes(), [
            *said,
            f"Not ranked: every pair is tested, and {len(ranked) - len(untested)} models are more"
            f" than {RANKED_AT_MOST}.",
        ]
    found = rank_scores(tested, lambda score: items[score.model], refused)
    if not found:
        return TaskNotes(), [
            *said,
            "Not ranked: no two of them were measured on the same items in one session.",
        ]
    return TaskNotes.model_validate(next(iter(found.values()))), said


def _describe_untested(untested: Sequence[CellScores], metric: str, count: int) -> list[str]:
    """Say which of `count` models could not be tested, and why; nothing if all could."""
    if not untested:
        return []
    if count - len(untested) < 2:
        runs = list_names([cell.run.name for cell in untested])
        return [
            "Not tested here, and so not ranked: the samples of these scores are not beside the"
            f" record, or are others: {runs}."
        ]
    names: dict[str, list[str]] = {}
    for cell in untested:
        is_there = bool(_read_items(cell, metric))
        why = "are not those of the score" if is_there else "are not beside the record"
        name = f"{cut(cell.model, NAME_CHARACTERS)} of {cut(cell.run.name, NAME_CHARACTERS)}"
        names.setdefault(why, []).append(name)
    return [
        f"Not tested here, and so without a rank: {list_names(found)}; the samples {why}."
        for why, found in names.items()
    ]


def _rename(notes: TaskNotes, run: SourceRun, models: Models) -> TaskNotes:
    """The notes of a run, with the names that its models have among all."""

    def rename_all(names: Sequence[str]) -> list[str]:
        return [models.name(run, name) for name in names]

    changes: dict[str, object] = {
        "better_than": {
            models.name(run, name): rename_all(others) for name, others in notes.better_than.items()
        },
        "left_out": rename_all(notes.left_out),
        "against_parent": {
            models.name(run, name): one.model_copy(update={"parent": models.name(run, one.parent)})
            for name, one in notes.against_parent.items()
        },
    }
    if notes.again and isinstance(name := notes.again.get("model"), str):
        changes["again"] = {**notes.again, "model": models.name(run, name)}
    return notes.model_copy(update=changes)


def _items(cell: CellScores, metric: str) -> Items:
    """The items that a score was made of, beside the record or, of a reviewed one, in it; none
    where they are not to be had, or are not those of this score.
    """
    score, found = cell.scores[metric], _read_items(cell, metric)
    if len(found) == score.n and is_consistent(metric_of(score), found.rows, score.value):
        return found
    return Items.of(ItemTable(), metric)


def _read_items(cell: CellScores, metric: str) -> Items:
    score = cell.scores[metric]
    table = Opened(cell.run.record, cell.run.path).table(score.model, score.task)
    return Items.of(table, metric)
