"""One table of a board: the models of a task by one metric, as plain data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from llmbench.leaderboard.cells import Cell, cells, metric_cell
from llmbench.leaderboard.columns import COLUMNS, NAME_CHARACTERS, Column, all_columns
from llmbench.leaderboard.numbers import insert_unit
from llmbench.leaderboard.provenance import describe_machine
from llmbench.leaderboard.reference_scores import describe_all
from llmbench.leaderboard.sentences.findings import notes
from llmbench.leaderboard.sentences.state import mark_state
from llmbench.leaderboard.sentences.summary import Contender, describe_cost, summarise
from llmbench.leaderboard.sentences.verdict import SHOWN_GAPS, SPEED_LABEL, Field
from llmbench.leaderboard.training_runs import describe_training_runs
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import BITS, METRICS, SPEED
from llmbench.metrics.metric import Better
from llmbench.results.record import (
    ModelRow,
    Record,
    Score,
    TaskNotes,
    is_ranked,
    key_of,
    metric_of,
    notes_key,
)

COSTS = tuple(  # what a model costs stands in every table
    metric.name + variant.suffix
    for metric in METRICS
    for variant in metric.variants
    if variant.is_cost
)
DETAILS = (  # of the table of speed alone
    "cache",
    *(
        metric.name + variant.suffix
        for metric in METRICS
        if metric.group == "speed"
        for variant in metric.variants
        if not variant.is_cost and metric.format in ("rate", "milliseconds", "percent")
    ),
)
SAMPLE_CHARACTERS = 2000  # of one prompt, continuation or message, on a board


@dataclass(frozen=True)
class TableRow:
    """A model's row of a table. `n` items and `unit` are those of the headline; `machine` and `run`
    are where it was measured; `state` says if that run is not whole.
    """

    model: str
    stage: int | None
    cells: dict[str, Cell]
    n: int | None = None
    unit: str = ""
    machine: str = ""
    run: str = ""
    state: str = ""


@dataclass(frozen=True)
class Table:
    """One task's comparison by one metric, the `headline`. `lines` go by stage, then by it, the
    best first; `scale`: the range of its bars; `field`: its models as they were tested against each
    other.
    """

    task: str
    headline: str
    columns: list[Column]
    lines: list[TableRow]
    notes: list[str]
    signature: str
    scale: tuple[float, float]
    summary: str = ""
    field: Field | None = None

    @property
    def better(self) -> Better:
        """The direction of the headline."""
        return self.field.better if self.field else None

    @property
    def beats(self) -> dict[str, Collection[str]]:
        """Each ranked model, and those that it is significantly better than; {} without tests."""
        models = self.field.models if self.field else ()
        return {one.model: one.beats for one in models if one.beats is not None}


def table(record: Record, task: str, metric: str) -> Table:
    """The table of a task that goes by this metric. ValueError where no score of the record is of
    both.
    """
    headline = [score for score in record.scores if score.task == task and key_of(score) == metric]
    by_model = _scores_by_model(record, task, metric, headline)
    models = [model for model in record.models if model.name in by_model]
    machine = describe_machine(record.machine)
    state = mark_state(record)
    lines = [_line(model, by_model[model.name], metric, machine, state) for model in models]
    better = headline[0].better
    columns = all_columns(
        score
        for score in record.scores
        if score.task == task
        and (score.is_of_generated_text or score.member or key_of(score) == metric)
    )
    for line, model in zip(lines, models, strict=True):
        line.cells.update(
            (column.key, metric_cell(by_model[model.name].get(column.key)))
            for column in columns[len(COLUMNS) :]
        )
    label, _, unit = next(c.title for c in columns if c.key == metric).partition(", ")
    contenders = [
        _contender(record, model, line, by_model[model.name], (task, metric, unit))
        for line, model in zip(lines, models, strict=True)
    ]
    title, label = cut(task, NAME_CHARACTERS), SPEED_LABEL if metric == SPEED else label
    facts = metric_of(headline[0])
    names_best = None if facts.is_distance else better
    summary = summarise(title, label, names_best, contenders)
    field = Field(title, label, names_best, contenders, *SHOWN_GAPS[facts.format])
    lines.sort(
        key=lambda line: (
            99 if line.stage is None else line.stage,
            _order(line.cells[metric].value, better),
        )
    )
    top = max(
        (
            cell.high or cell.value or 0.0
            for line in lines
            if math.isfinite((cell := line.cells[metric]).value or 0.0)
        ),
        default=1.0,
    )
    signature = cut(headline[0].signature, SAMPLE_CHARACTERS)
    said = [*describe_training_runs(record, headline), *notes(record, task, headline)]
    said += describe_all(models, by_model)
    used = _shown_columns(columns, lines, metric)
    return Table(title, metric, used, lines, said, signature, (0.0, top), summary, field)


def name_headline(table: Table) -> str:
    """Return the title of the column that a table goes by."""
    return next(column.title for column in table.columns if column.key == table.headline)


def order_by_rank(table: Table) -> list[TableRow]:
    """Return the rows, the best first: those with ranks, then those without."""
    better = table.field.better if table.field else None
    return sorted(
        table.lines,
        key=lambda line: (
            line.cells["rank"].value is None,
            _order(line.cells[table.headline].value, better),
        ),
    )


def _scores_by_model(
    record: Record, task: str, metric: str, headline: Sequence[Score]
) -> dict[str, dict[str, Score]]:
    """Return model -> its scores on the task and its costs, by record.key_of."""
    by_model: dict[str, dict[str, Score]] = {score.model: {} for score in headline}
    if (
        metric == SPEED or headline[0].is_of_generated_text
    ):  # one without a rate has times, and a reason; one that says too little says something
        by_model |= {score.model: {} for score in record.scores if score.task == task}
    for score in record.scores:
        if score.task == task and score.model in by_model:
            by_model[score.model][key_of(score)] = score
    for score in record.scores:  # what a model costs stands beside what it can do, in every table
        if key_of(score) in COSTS and score.model in by_model:
            by_model[score.model].setdefault(key_of(score), score)
    return by_model


def _shown_columns(
    columns: Sequence[Column], lines: Sequence[TableRow], metric: str
) -> list[Column]:
    """Return the columns that are not empty, without those of other tables."""
    used = [
        column
        for column in columns
        if column.key == "model"
        or any(line.cells[column.key].text not in ("", "-") for line in lines)
    ]
    used = [column for column in used if column.key == metric or column.key not in BITS]
    if metric != SPEED:
        used = [column for column in used if column.key not in DETAILS]
    return used


def _contender(
    record: Record,
    model: ModelRow,
    line: TableRow,
    scores: Mapping[str, Score],
    asked: tuple[str, str, str],
) -> Contender:
    """Return a model's part in the summary. `asked`: task, metric and the metric's unit."""
    task, metric, unit = asked
    score, cell = scores.get(metric), line.cells[metric]
    text = insert_unit(cell.text, unit) if unit and cell.value is not None else cell.text
    found = record.notes.tasks.get(notes_key(task, metric), TaskNotes())
    beats = found.better_than.get(model.name)
    refused = [model.name] if model.certificate and model.certificate.is_refused else []
    return Contender(
        line.model,
        cell.value,
        text,
        score.rank if score else None,
        None if beats is None else {cut(name, NAME_CHARACTERS) for name in beats},
        describe_cost(model, scores, metric),
        score is not None and is_ranked(score, refused),
        cell.low,
        cell.high,
    )


def _line(
    model: ModelRow, scores: Mapping[str, Score], metric: str, machine: str, state: str
) -> TableRow:
    score = scores.get(metric)
    n, unit = (score.n, cut(score.unit, NAME_CHARACTERS)) if score else (None, "")
    return TableRow(
        cut(model.name, NAME_CHARACTERS),
        model.stage,
        cells(model, scores, metric),
        n,
        unit,
        machine,
        state=state,
    )


def _order(value: float | None, better: str | None) -> float:
    return math.inf if value is None else -value if better == "higher" else value
