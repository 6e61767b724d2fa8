"""From records to a board: tables, notes, failures, samples, as plain data that any renderer can
draw. Sees no model and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmbench.leaderboard.cells import Cell, cells, metric_cell
from llmbench.leaderboard.columns import COLUMNS, NAME_CHARACTERS, Column, all_columns
from llmbench.leaderboard.findings import cut, notes
from llmbench.leaderboard.heatmap import Passage, passages
from llmbench.leaderboard.provenance import Provenance, provenance
from llmbench.leaderboard.reference_scores import Figure, apart, sentences
from llmbench.leaderboard.summary import Contender, describe_cost, summarise, summarise_nothing
from llmbench.leaderboard.times import format_time
from llmbench.metrics.facts import BITS, BITS_PER_BYTE, HEADLINES, METRICS, SPEED
from llmbench.results.record import (
    Failure,
    Machine,
    ModelRow,
    Record,
    Score,
    TaskNotes,
    key_of,
    notes_key,
)
from llmbench.results.run_dir import samples

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
MACHINE_CHARACTERS = 80  # of a part of a machine's name
LONGEST_CURVE = 1000  # points
MOST_SENTENCES = 4  # at the beginning of a board
MOST_SAYINGS = 20  # prompts of a task
SAMPLE_CHARACTERS = 2000  # of one prompt, continuation or message, on a board


@dataclass(frozen=True)
class Line:
    """A model's row of a table. `n` items and `unit` are those of the headline; `machine` and `run`
    are where it was measured.
    """

    model: str
    stage: int | None
    cells: dict[str, Cell]
    n: int | None = None
    unit: str = ""
    machine: str = ""
    run: str = ""


@dataclass(frozen=True)
class Table:
    """One task's comparison by one metric, the `headline`. `lines` go by stage, then by it, the
    best first; `scale`: the range of its bars.
    """

    task: str
    headline: str
    columns: list[Column]
    lines: list[Line]
    notes: list[str]
    signature: str
    scale: tuple[float, float]
    summary: str = ""


@dataclass(frozen=True)
class Saying:
    """A prompt, and what each model said after it. `how`: greedy or sampled, where both were asked.
    `reference`: what the text itself says there.
    """

    prompt: str
    answers: list[tuple[str, str]]
    how: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Proof:
    """What a model was proven to be: the state of each level, what was tried or why it is not
    earned, and the seconds that took.
    """

    model: str
    levels: Sequence[tuple[str, str]]
    said: list[str]
    seconds: float


@dataclass(frozen=True)
class Point:
    """A model in the picture: bits per byte, bytes of text a second, bytes of memory where they are
    known. `front`: no other is better in both bits and speed; `lean`: none is in both bits and
    memory.
    """

    model: str
    stage: int | None
    bits: float
    rate: float
    memory: float | None
    front: bool
    lean: bool = False


@dataclass(frozen=True)
class Curve:
    """How a model's training went: (step, bits per byte of the validation text), by step."""

    model: str
    stage: int | None
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Board:
    """What a renderer draws. `summary`: sentences on which models are best, to be shown first."""

    title: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    failures: list[Failure]
    sayings: list[Saying] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    provenance: Provenance | None = None
    published: list[Figure] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)


def build(record: Record, folder: Path | None = None) -> Board:
    """The board of one run. `folder` is the run's folder, for what the models said."""
    machine = record.machine
    gpus = ", ".join(str(gpu.get("name", "GPU")) for gpu in machine.gpus) or "no GPU"
    facts = [
        ("suite", f"{record.suite.name} version {record.suite.version}"),
        ("finished", format_time(record.finished)),
        (
            "machine",
            f"{machine.cpu}, {'?' if machine.cores is None else machine.cores} cores, {gpus}",
        ),
        ("seed", str(record.seed)),
        ("llmbench", record.llmbench),
    ]
    tables = [table(record, *found) for found in _headlines(record)]
    tables.sort(key=lambda table: table.headline == SPEED)  # quality first
    board = compose(f"llmbench: {record.suite.name}", facts, tables, record, folder)
    scores: dict[str, list[Score]] = {}
    for score in record.scores:
        scores.setdefault(score.model, []).append(score)
    return replace(board, published=elsewhere(record.models, scores))


def elsewhere(models: Sequence[ModelRow], scores: Mapping[str, Sequence[Score]]) -> list[Figure]:
    """What others published of these models by protocols that no score has: to be listed apart from
    the tables.
    """
    return [
        replace(
            figure,
            model=cut(figure.model, NAME_CHARACTERS),
            metric=cut(figure.metric, NAME_CHARACTERS),
            protocol=cut(figure.protocol, SAMPLE_CHARACTERS),
            source=cut(figure.source, SAMPLE_CHARACTERS),
        )
        for figure in apart(models, scores)
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
        failure.model_copy(update=_short_texts(failure)) for failure in _joined(record.failures)
    ]
    facts = [(key, cut(value, NAME_CHARACTERS)) for key, value in facts]
    said, proofs = _sayings(record, folder), _proofs(record)
    pictures, made = (
        (_points(record), _curves(record), passages(record, folder)),
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
        summary=_summary(tables, len(record.failures)),
    )


def _summary(tables: Sequence[Table], failures: int) -> list[str]:
    """Return the sentences of the tables of quality with ranks; if there are none, of those without
    ranks; if there are none, of speed.
    """
    quality = [table for table in tables if table.headline != SPEED]
    ranked = [table for table in quality if any(line.cells["rank"].value for line in table.lines)]
    said = [table.summary for table in ranked or quality or tables if table.summary]
    if tables and not said:
        return ["No metric here has a direction, so no model is best."]
    return said[:MOST_SENTENCES] or [summarise_nothing(failures)]


def machine_words(machine: Machine, gpus: bool = True) -> str:
    """Its kind. `gpus`: whether they were to be used."""
    cpu, cores, threads, names, system = machine.kind(gpus)
    found = [cut(name, MACHINE_CHARACTERS) for name in names[:16]]
    counted = [
        f"{found.count(name)} × {name}" if found.count(name) > 1 else name
        for name in dict.fromkeys(found)
    ]
    counts = ["?" if count is None else count for count in (cores, threads)]
    parts = [cpu, f"{counts[0]} cores", f"{counts[1]} threads", *(counted or ["no GPU"]), system]
    return ", ".join(cut(part, MACHINE_CHARACTERS) for part in parts if part)


def _headlines(record: Record) -> list[tuple[str, str]]:
    """(task, what its table goes by): where a task that lets models write has none of the usual
    metrics, the first that it has.
    """
    found = dict.fromkeys((s.task, s.metric) for s in record.scores if key_of(s) in HEADLINES)
    tasks = {task for task, _ in found}
    others = {
        s.task: key_of(s)
        for s in reversed(record.scores)
        if s.task not in tasks and hasattr(s, "empty")
    }
    return [*found, *reversed(others.items())]


def _proofs(record: Record) -> list[Proof]:
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
            Proof(
                cut(model.name, NAME_CHARACTERS),
                states,
                [cut(text, SAMPLE_CHARACTERS) for text in said],
                seconds,
            )
        )
    return found


def _joined(failures: Sequence[Failure]) -> list[Failure]:
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


def _short_texts(failure: Failure) -> dict[str, str]:
    return {
        "model": cut(failure.model, NAME_CHARACTERS),
        "task": cut(failure.task, NAME_CHARACTERS),
        "message": cut(failure.message, SAMPLE_CHARACTERS),
        "hint": cut(failure.hint, SAMPLE_CHARACTERS),
    }


def table(record: Record, task: str, metric: str) -> Table:
    """The table of a task that goes by this metric. ValueError where no score of the record is of
    both.
    """
    headline = [score for score in record.scores if score.task == task and key_of(score) == metric]
    by_model: dict[str, dict[str, Score]] = {score.model: {} for score in headline}
    if metric == SPEED or hasattr(
        headline[0], "empty"
    ):  # one without a rate has times, and a reason; one that says too little says something
        by_model |= {score.model: {} for score in record.scores if score.task == task}
    for score in record.scores:
        if score.task == task and score.model in by_model:
            by_model[score.model][key_of(score)] = score
    for score in record.scores:  # what a model costs stands beside what it can do, in every table
        if key_of(score) in COSTS and score.model in by_model:
            by_model[score.model].setdefault(key_of(score), score)
    models = [model for model in record.models if model.name in by_model]
    machine = machine_words(record.machine)
    lines = [_line(model, by_model[model.name], metric, machine) for model in models]
    better = headline[0].better
    columns = all_columns(
        score
        for score in record.scores
        if score.task == task and (hasattr(score, "empty") or key_of(score) == metric)
    )
    for line, model in zip(lines, models, strict=True):
        line.cells.update(
            (column.key, metric_cell(by_model[model.name].get(column.key)))
            for column in columns[len(COLUMNS) :]
        )
    lines.sort(
        key=lambda line: (
            99 if line.stage is None else line.stage,
            _order(line.cells[metric].value, better),
        )
    )
    used = [
        column
        for column in columns
        if column.key == "model"
        or any(line.cells[column.key].text not in ("", "-") for line in lines)
    ]
    used = [column for column in used if column.key == metric or column.key not in BITS]
    if metric != SPEED:
        used = [column for column in used if column.key not in DETAILS]
    top = max(
        (
            cell.high or cell.value or 0.0
            for line in lines
            if math.isfinite((cell := line.cells[metric]).value or 0.0)
        ),
        default=1.0,
    )
    title, signature = cut(task, NAME_CHARACTERS), cut(headline[0].signature, SAMPLE_CHARACTERS)
    said = [*notes(record, task, headline), *sentences(models, by_model)]
    contenders = [
        _contender(record, model, line, by_model[model.name], task, metric)
        for line in lines
        for model in models
        if cut(model.name, NAME_CHARACTERS) == line.model
    ]
    label = next(column.title for column in columns if column.key == metric)
    summary = summarise(title, label, better, contenders)
    return Table(title, metric, used, lines, said, signature, (0.0, top), summary)


def _contender(
    record: Record,
    model: ModelRow,
    line: Line,
    scores: Mapping[str, Score],
    task: str,
    metric: str,
) -> Contender:
    score = scores.get(metric)
    found = record.notes.tasks.get(notes_key(task, metric), TaskNotes())
    beats = found.better_than.get(model.name)
    return Contender(
        line.model,
        line.cells[metric].value,
        line.cells[metric].text,
        score.rank if score else None,
        None if beats is None else {cut(name, NAME_CHARACTERS) for name in beats},
        describe_cost(model, scores, metric),
    )


def _line(model: ModelRow, scores: Mapping[str, Score], metric: str, machine: str) -> Line:
    score = scores.get(metric)
    n, unit = (score.n, cut(score.unit, NAME_CHARACTERS)) if score else (None, "")
    return Line(
        cut(model.name, NAME_CHARACTERS),
        model.stage,
        cells(model, scores, metric),
        n,
        unit,
        machine,
    )


def _order(value: float | None, better: str | None) -> float:
    return math.inf if value is None else -value if better == "higher" else value


def _points(record: Record) -> list[Point]:
    """The picture: the first table of bits per byte against speed and memory, and which models none
    beats in both.
    """
    found: dict[str, dict[str, float]] = {}
    for score in record.scores:
        if (
            key_of(score) in (BITS_PER_BYTE, SPEED, "peak_ram", "peak_gpu_reserved")
            and 0 < score.value < math.inf
        ):
            found.setdefault(score.model, {}).setdefault(key_of(score), float(score.value))
    models = [
        model
        for model in record.models
        if {BITS_PER_BYTE, SPEED} <= found.get(model.name, {}).keys()
    ]
    bits = {model.name: found[model.name][BITS_PER_BYTE] for model in models}
    slowness = {model.name: -found[model.name][SPEED] for model in models}
    memory = {
        name: held
        for name in bits
        if (held := found[name].get("peak_gpu_reserved") or found[name].get("peak_ram"))
    }
    front, lean = _unbeaten(bits, slowness), _unbeaten(bits, memory)
    return [
        Point(
            cut(m.name, NAME_CHARACTERS),
            m.stage,
            bits[m.name],
            -slowness[m.name],
            memory.get(m.name),
            m.name in front,
            m.name in lean,
        )
        for m in models
    ]


def _unbeaten(bits: Mapping[str, float], costs: Mapping[str, float]) -> set[str]:
    """Those with a cost than which none has fewer bits at no more cost, or a lower cost at no more
    bits.
    """
    front, least = set(), math.inf
    for place in sorted((bits[name], costs[name]) for name in costs):
        if place[1] < least:
            front.add(place)
            least = place[1]
    return {name for name in costs if (bits[name], costs[name]) in front}


def _curves(record: Record) -> list[Curve]:
    """Curves of at least two points; what is no point of numbers, or is before the first step, is
    left out.
    """
    found = []
    for model in record.models:
        rows = getattr(model.training, "curve", None) if model.training else None
        pairs = (
            [tuple(row) for row in rows if isinstance(row, list | tuple) and len(row) == 2]
            if isinstance(rows, list)
            else []
        )
        points = sorted(
            (float(x), float(y)) for x, y in pairs if _is_finite(x) and _is_finite(y) and x >= 0
        )[:LONGEST_CURVE]
        if len({x for x, _ in points}) > 1:
            found.append(Curve(cut(model.name, NAME_CHARACTERS), model.stage, points))
    return found


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e30


def _sayings(record: Record, folder: Path | None) -> list[Saying]:
    """The first prompts of each task, and the continuations from the run's samples, in the order of
    the models.
    """
    if folder is None:
        return []
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    more: dict[tuple[str, str, str], tuple[str, str]] = {}
    for model, task, rows in samples(record, folder):
        for row in rows:
            if isinstance(row.get("output"), str) and isinstance(row.get("input"), str):
                answer = (cut(model.name, NAME_CHARACTERS), cut(row["output"], SAMPLE_CHARACTERS))
                key = (task, str(row.get("id")), row["input"])
                found.setdefault(key, []).append(answer)
                more[key] = str(row.get("decoding") or ""), str(row.get("reference") or "")
    shown = [
        key
        for task in dict.fromkeys(key[0] for key in found)
        for key in [key for key in found if key[0] == task][:MOST_SAYINGS]
    ]
    told = {key: tuple(cut(text, SAMPLE_CHARACTERS) for text in more[key]) for key in shown}
    return [Saying(cut(key[2], SAMPLE_CHARACTERS), found[key], *told[key]) for key in shown]
