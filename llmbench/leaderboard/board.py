"""From records to a board: tables, notes, failures, samples, as plain data that any renderer can
draw. Sees no model and no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmbench.errors import is_inapplicable
from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.heatmap import Heatmap, build_heatmaps
from llmbench.leaderboard.overview.items import TaskItems, find_items
from llmbench.leaderboard.overview.reproduce import list_commands
from llmbench.leaderboard.plots import Curve, Point, Size, find_curves, find_points, find_sizes
from llmbench.leaderboard.provenance import Provenance, format_time, provenance
from llmbench.leaderboard.reference_scores import ReferenceScore, list_incomparable
from llmbench.leaderboard.sentences.counts import describe_misread
from llmbench.leaderboard.sentences.state import (
    OpenCell,
    describe_state,
    list_open_cells,
    name_end,
)
from llmbench.leaderboard.sentences.summary import summarise_nothing
from llmbench.leaderboard.sentences.verdict import describe_verdict
from llmbench.leaderboard.serving.section import LoadTable, build_load_tables
from llmbench.leaderboard.tables import SAMPLE_CHARACTERS, Table, table
from llmbench.leaderboard.training_runs import TrainingRun, find_training_runs
from llmbench.leaderboard.votes.judges import build_judge_tables
from llmbench.leaderboard.votes.parts import VoteTable
from llmbench.leaderboard.votes.section import build_vote_tables
from llmbench.leaderboard.words import cut, cut_start, join_words
from llmbench.metrics.facts import FACTS, HEADLINES, MEAN_OF, SPEED
from llmbench.results.record import (
    Failure,
    ModelRow,
    Record,
    Score,
    key_of,
)
from llmbench.results.samples import Opened, samples
from llmbench.votes.scores import add_votes

MOST_SENTENCES = 4  # at the beginning of a board
MOST_SAYINGS = 20  # prompts of a task


@dataclass(frozen=True)
class PromptSamples:
    """A prompt, and what each model said after it. `how`: greedy or sampled, where both were asked.
    `reference`: what the text itself says there. `task`: which one asked it, of several.
    """

    prompt: str
    answers: list[tuple[str, str]]
    how: str = ""
    reference: str = ""
    task: str = ""


@dataclass(frozen=True)
class CertificateRow:
    """What a model was proven to be: the state of each level, what was tried or why it is not
    earned, and the seconds that took.
    """

    model: str
    levels: Sequence[tuple[str, str]]
    said: list[str]
    seconds: float


@dataclass(frozen=True)
class Board:
    """What a renderer draws. `state`: sentences on runs that are not whole, `verdict`: the line on
    which model is best, `summary`: sentences on each table, to be shown first and in this order.
    `open_cells`: what nobody has tried yet. `reproduce`: commands that make this board again.
    `has_record`: whether a run.json lies beside it.
    """

    title: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    failures: list[Failure]
    sayings: list[PromptSamples] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    proofs: list[CertificateRow] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    passages: list[Heatmap] = field(default_factory=list)
    provenance: Provenance | None = None
    published: list[ReferenceScore] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    loads: list[LoadTable] = field(default_factory=list)
    votes: list[VoteTable] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    verdict: str = ""
    open_cells: list[OpenCell] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    items: list[TaskItems] = field(default_factory=list)
    reproduce: list[str] = field(default_factory=list)
    has_record: bool = False
    training_runs: list[TrainingRun] = field(default_factory=list)


def build(record: Record, folder: Path | None = None) -> Board:
    """The board of one run. `folder` is the run's folder, for what the models and people said."""
    if folder is not None:
        record = add_votes(Opened(record, folder)).record
    machine = record.machine
    gpus = ", ".join(str(gpu.get("name", "GPU")) for gpu in machine.gpus) or "no GPU"
    facts = [
        ("suite", f"{record.suite.name} version {record.suite.version}"),
        (name_end(record), format_time(record.finished)),
        (
            "machine",
            f"{machine.cpu}, {'?' if machine.cores is None else machine.cores} cores, {gpus}",
        ),
        ("seed", str(record.seed)),
        ("llmbench", record.llmbench),
        *(("left out", f"{name}: {why}") for name, why in record.notes.absent.items()),
    ]
    tables = [table(record, *found) for found in _headlines(record)]
    tables.sort(key=lambda table: table.headline == SPEED)  # quality first
    tables, record = set_aside(tables, record)
    board = compose(f"llmbench: {record.suite.name}", facts, tables, record, folder)
    scores: dict[str, list[Score]] = {}
    for score in record.scores:
        scores.setdefault(score.model, []).append(score)
    board = replace(
        board,
        published=list_published(record.models, scores, {record.suite.name}),
        state=[said] if (said := describe_state(record)) else [],
        open_cells=list_open_cells(record),
        reproduce=list_commands(record),
        has_record=folder is not None and (folder / "run.json").is_file(),
    )
    board = add_loads(board, build_load_tables(record))
    judged = build_judge_tables(record, folder)
    return add_vote_tables(board, [*build_vote_tables(record, folder), *judged])


def set_aside(tables: Sequence[Table], record: Record) -> tuple[list[Table], Record]:
    """Return the tables with a note on the models that their tasks do not apply to, and the record
    without these failures. Those of a task that no model did stay: nothing else tells of it.
    """
    shown = {table.task for table in tables}
    shown |= {task for tasks in record.notes.cells.values() for task in tasks}
    aside: dict[str, list[str]] = {}
    left = []
    for failure in record.failures:
        if failure.task in shown and is_inapplicable(failure.reason, failure.message):
            aside.setdefault(failure.task, []).append(cut(failure.model, NAME_CHARACTERS))
        else:
            left.append(failure)
    noted = [
        replace(table, notes=[*table.notes, f"Does not apply to {join_words(aside[table.task])}."])
        if table.task in aside
        else table
        for table in tables
    ]
    return noted, record.model_copy(update={"failures": left})


def add_loads(board: Board, loads: list[LoadTable]) -> Board:
    """Return the board with tables of loads on servers, and what they say in its summary."""
    said = [load.summary for load in loads if load.summary][:MOST_SENTENCES]
    summary = [*board.summary, *said] if board.tables else said or board.summary
    return replace(board, loads=loads, summary=summary)


def add_vote_tables(board: Board, votes: list[VoteTable]) -> Board:
    """Return the board with what people said, and whom they like best in its summary."""
    said = [one.summary for one in votes if one.summary][:MOST_SENTENCES]
    return replace(board, votes=votes, summary=[*board.summary, *said])


def list_published(
    models: Sequence[ModelRow], scores: Mapping[str, Sequence[Score]], suites: Collection[str]
) -> list[ReferenceScore]:
    """What others published of these models about what these suites ask, by protocols that no score
    has: to be listed apart from the tables.
    """
    return [
        replace(
            figure,
            model=cut(figure.model, NAME_CHARACTERS),
            metric=cut(figure.metric, NAME_CHARACTERS),
            protocol=cut(figure.protocol, SAMPLE_CHARACTERS),
            source=cut(figure.source, SAMPLE_CHARACTERS),
        )
        for figure in list_incomparable(models, scores, suites)
    ]


def compose(
    title: str,
    facts: Sequence[tuple[str, str]],
    tables: list[Table],
    record: Record,
    folder: Path | None = None,
) -> Board:
    """The board with these tables, and with what else the record knows: failures, models, proofs,
    the picture.
    """
    failures = [
        failure.model_copy(update=_cut_texts(failure))
        for failure in _join_failures(record.failures)
    ]
    facts = [(key, cut(value, NAME_CHARACTERS)) for key, value in facts]
    (said, lost), proofs = _find_samples(record, folder), _list_certificates(record)
    pictures, made = (
        (find_points(record), find_curves(record), build_heatmaps(record, folder)),
        provenance(record),
    )
    return Board(
        cut(title, NAME_CHARACTERS),
        facts,
        tables,
        failures,
        said,
        record.models,
        proofs,
        *pictures,
        made,
        summary=[*_summary(tables, len(record.failures)), *_describe_lost(lost)],
        verdict=_find_verdict(tables),
        sizes=find_sizes(record),
        items=find_items(record, folder),
        training_runs=find_training_runs(record),
    )


def _find_verdict(tables: Sequence[Table]) -> str:
    """The line on the mean over all tasks that a suite asks for; or else on the first table of
    quality whose models have ranks, or a direction; if there is none, on the speeds. Speeds of
    several machines, or sessions, say nothing about all of them.
    """
    fields = [table.field for table in tables if table.headline != SPEED and table.field]
    speeds = [table.field for table in tables if table.headline == SPEED and table.field]
    with_ranks = [one for one in fields if any(model.rank for model in one.models)]
    with_direction = [one for one in fields if one.better]
    means = [t.field for t in tables if t.headline in MEAN_OF and t.field]
    quality = next(iter([*means, *with_ranks, *with_direction]), None)
    speed = speeds[0] if len(speeds) == 1 else None
    return describe_verdict(quality, speed, several=len(with_direction) > 1)


def _summary(tables: Sequence[Table], failures: int) -> list[str]:
    """Return the sentences of the tables of quality with ranks, means over tasks first; if there
    are none, of those without ranks; if there are none, of speed.
    """
    quality = [table for table in tables if table.headline != SPEED]
    ranked = [table for table in quality if any(line.cells["rank"].value for line in table.lines)]
    ranked = [*(t for t in quality if t.headline in MEAN_OF), *ranked] if ranked else []
    said = [table.summary for table in ranked or quality or tables if table.summary]
    if tables and not said:
        return ["No metric here says which model is best."]
    return said[:MOST_SENTENCES] or [summarise_nothing(failures)]


def _describe_lost(lost: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a sentence on the prompts that are not held. lost: task -> `MODEL N of M` each."""
    return [
        f"{cut(task, NAME_CHARACTERS)}: {describe_misread(counts)}" for task, counts in lost.items()
    ]


def _headlines(record: Record) -> list[tuple[str, str]]:
    """(task, what its table goes by): of a task that lets models write, or that comes from outside,
    the first of its metrics if it has none of the usual ones. All metrics of what was written stand
    in one table.
    """
    found: dict[tuple[str, str], None] = {}
    written: set[str] = set()
    for score in record.scores:
        if key_of(score) not in HEADLINES:
            continue
        key = (score.task, score.metric)
        if score.is_of_generated_text and score.task in written and key not in found:
            continue
        found[key] = None
        written |= {score.task} if score.is_of_generated_text else set()
    tasks = {task for task, _ in found}
    others = {
        s.task: key_of(s)
        for s in reversed(record.scores)
        if s.task not in tasks and (s.is_of_generated_text or s.metric not in FACTS)
    }
    return [*found, *reversed(others.items())]


def _list_certificates(record: Record) -> list[CertificateRow]:
    found = []
    for model in record.models:
        if model.certificate is None:
            continue
        levels = model.certificate.levels
        whys = [f"not earned: {proof.why}" for proof in levels.values() if proof.why]
        said = list(
            dict.fromkeys([text for proof in levels.values() for text in proof.tried] + whys)
        )
        seconds = sum(float(proof.seconds) for proof in levels.values())
        states = [(cut(name, NAME_CHARACTERS), proof.state) for name, proof in levels.items()]
        found.append(
            CertificateRow(
                cut(model.name, NAME_CHARACTERS),
                states,
                [cut(text, SAMPLE_CHARACTERS) for text in said],
                seconds,
            )
        )
    return found


def _join_failures(failures: Sequence[Failure]) -> list[Failure]:
    """One row for what a model could not do for one and the same reason in several tasks."""
    tasks: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        tasks.setdefault((failure.model, failure.reason, failure.message, failure.hint), []).append(
            failure
        )
    return [
        same[0].model_copy(update={"task": ", ".join(failure.task for failure in same)})
        for same in tasks.values()
    ]


def _cut_texts(failure: Failure) -> dict[str, str]:
    return {
        "model": cut(failure.model, NAME_CHARACTERS),
        "task": cut(failure.task, NAME_CHARACTERS),
        "message": cut(failure.message, SAMPLE_CHARACTERS),
        "hint": cut(failure.hint, SAMPLE_CHARACTERS),
    }


def _find_samples(
    record: Record, folder: Path | None
) -> tuple[list[PromptSamples], dict[str, list[str]]]:
    """The first prompts of each task, and the continuations from the run's samples, in the order of
    the models; and of tasks without scores, whose table would say it, how many prompts are not
    held.
    """
    if folder is None:
        return [], {}
    scored, lost = {score.task for score in record.scores}, dict[str, list[str]]()
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    more: dict[tuple[str, str, str], tuple[str, str]] = {}
    counts: Counter[str] = Counter()
    for model, task, rows in samples(record, folder, only_said=True):
        held: dict[str, bool] = {}  # prompt -> whether it is
        for row in rows:
            if isinstance(row.get("output"), str) and isinstance(row.get("input"), str):
                if task not in scored:
                    held[row["input"]] = not row.get("lost")
                key = (task, str(row.get("id")), row["input"])
                if key not in found:
                    counts[task] += 1
                    if counts[task] > MOST_SAYINGS:
                        continue
                answer = (cut(model.name, NAME_CHARACTERS), cut(row["output"], SAMPLE_CHARACTERS))
                found.setdefault(key, []).append(answer)
                more[key] = str(row.get("decoding") or ""), str(row.get("reference") or "")
        if few := sum(not is_held for is_held in held.values()):
            name = cut(model.name, NAME_CHARACTERS)
            lost.setdefault(task, []).append(f"{name} {few} of {len(held)}")
    shown = [
        key for task in dict.fromkeys(key[0] for key in found) for key in found if key[0] == task
    ]
    several = len({key[0] for key in shown}) > 1
    said = [
        PromptSamples(
            cut_start(key[2], SAMPLE_CHARACTERS),
            found[key],
            how=cut(more[key][0], SAMPLE_CHARACTERS),
            reference=cut(more[key][1], SAMPLE_CHARACTERS),
            task=cut(key[0], NAME_CHARACTERS) if several else "",
        )
        for key in shown
    ]
    return said, lost
