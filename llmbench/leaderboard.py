"""From records to a board: tables, notes, failures, samples, as plain data that any renderer can draw. Sees no model and no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmbench.columns import COLUMNS, NAME_CHARACTERS, Cell, Column, cells
from llmbench.notes import cut, notes
from llmbench.published import Figure, apart, sentences
from llmbench.record import BITS, HEADLINES, QUALITY, SPEED, Failure, Machine, ModelRow, Record, Score, key_of

COSTS = (SPEED, f"{SPEED}@best", "time_to_first_token", "limit_share:decode", "max_batch", "peak_ram", "peak_ram_over_idle", "peak_gpu_reserved")
DETAILS = ("decode_tokens_per_second", "prefill_bytes_per_second", "end_to_end_latency", "limit_share:prefill", "cache")  # of the table of speed
MACHINE_CHARACTERS = 80  # of a part of a machine's name
SAMPLE_CHARACTERS = 2000  # of one prompt, continuation or message, on a board


@dataclass(frozen=True)
class Line:
    """A model's row of a table. `n` items and `unit` are those of the headline; `machine` and `run` are where it was measured."""

    model: str
    stage: int | None
    cells: dict[str, Cell]
    n: int | None = None
    unit: str = ""
    machine: str = ""
    run: str = ""


@dataclass(frozen=True)
class Table:
    """One task's comparison by one metric, the `headline`. `lines` go by stage, then by it, the best first; `scale`: the range of its bars."""

    task: str
    headline: str
    columns: list[Column]
    lines: list[Line]
    notes: list[str]
    signature: str
    scale: tuple[float, float]


@dataclass(frozen=True)
class Saying:
    """A prompt, and what each model said after it."""

    prompt: str
    answers: list[tuple[str, str]]


@dataclass(frozen=True)
class Proof:
    """What a model was proven to be: the state of each level, what was tried or why it is not earned, and the seconds that took."""

    model: str
    levels: Sequence[tuple[str, str]]
    said: list[str]
    seconds: float


@dataclass(frozen=True)
class Point:
    """A model in the picture: bits per byte, bytes of text a second, bytes of memory where they are known; whether no other is better in both."""

    model: str
    stage: int | None
    bits: float
    rate: float
    memory: float | None
    front: bool


@dataclass(frozen=True)
class Board:
    title: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    failures: list[Failure]
    sayings: list[Saying] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    published: list[Figure] = field(default_factory=list)


def build(record: Record, folder: Path | None = None) -> Board:
    """The board of one run. `folder` is the run's folder, for what the models said."""
    machine = record.machine
    gpus = ", ".join(str(gpu.get("name", "GPU")) for gpu in machine.gpus) or "no GPU"
    facts = [
        ("suite", f"{record.suite.name} version {record.suite.version}"),
        ("finished", record.finished),
        ("machine", f"{machine.cpu}, {'?' if machine.cores is None else machine.cores} cores, {gpus}"),
        ("seed", str(record.seed)),
        ("llmbench", record.llmbench),
    ]
    tables = [table(record, *found) for found in dict.fromkeys((s.task, s.metric) for s in record.scores if key_of(s) in HEADLINES)]
    tables.sort(key=lambda table: table.headline == SPEED)  # quality first
    board = compose(f"llmbench: {record.suite.name}", facts, tables, record, folder)
    scores: dict[str, list[Score]] = {}
    for score in record.scores:
        scores.setdefault(score.model, []).append(score)
    return replace(board, published=elsewhere(record.models, scores))


def elsewhere(models: Sequence[ModelRow], scores: Mapping[str, Sequence[Score]]) -> list[Figure]:
    """What others published of these models by protocols that no score has: to be listed apart from the tables."""
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


def compose(title: str, facts: Sequence[tuple[str, str]], tables: list[Table], record: Record, folder: Path | None = None) -> Board:
    """The board with these tables, and with what else the record knows: failures, models, proofs, the picture."""
    failures = [failure.model_copy(update=_short_texts(failure)) for failure in _joined(record.failures)]
    facts = [(key, cut(value, NAME_CHARACTERS)) for key, value in facts]
    return Board(cut(title, NAME_CHARACTERS), facts, tables, failures, _sayings(record, folder), record.models, _proofs(record), _points(record))


def machine_words(machine: Machine, gpus: bool = True) -> str:
    """What tells one machine from another where times and memory are concerned. `gpus`: whether they were to be used."""
    found = [cut(str(gpu.get("name", "GPU")), MACHINE_CHARACTERS) for gpu in machine.gpus[:16]] if gpus else []
    counted = [f"{found.count(name)} × {name}" if found.count(name) > 1 else name for name in dict.fromkeys(found)]
    cores, threads = ("?" if count is None else count for count in (machine.cores, getattr(machine, "threads", None)))
    parts = [machine.cpu, f"{cores} cores", f"{threads} threads", *(counted or ["no GPU"]), str(getattr(machine, "os", None) or "")]
    return ", ".join(cut(part, MACHINE_CHARACTERS) for part in parts if part)


def _proofs(record: Record) -> list[Proof]:
    found = []
    for model in record.models:
        if model.certificate is None:
            continue
        levels = model.certificate.levels
        whys = [f"not earned: {proof.why}" for proof in levels.values() if proof.why]
        said = list(dict.fromkeys([text for proof in levels.values() for text in proof.tried] + whys))
        seconds = sum(float(proof.seconds) for proof in levels.values())
        states = [(cut(name, NAME_CHARACTERS), proof.state) for name, proof in levels.items()]
        found.append(Proof(cut(model.name, NAME_CHARACTERS), states, [cut(text, SAMPLE_CHARACTERS) for text in said], seconds))
    return found


def _joined(failures: Sequence[Failure]) -> list[Failure]:
    """One row for what a model could not do for one and the same reason in several tasks."""
    tasks: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        tasks.setdefault((failure.model, failure.reason, failure.message, failure.hint), []).append(failure)
    return [same[0].model_copy(update={"task": ", ".join(failure.task for failure in same)}) for same in tasks.values()]


def _short_texts(failure: Failure) -> dict[str, str]:
    return {
        "model": cut(failure.model, NAME_CHARACTERS),
        "task": cut(failure.task, NAME_CHARACTERS),
        "message": cut(failure.message, SAMPLE_CHARACTERS),
        "hint": cut(failure.hint, SAMPLE_CHARACTERS),
    }


def table(record: Record, task: str, metric: str) -> Table:
    """The table of a task that goes by this metric. ValueError where no score of the record is of both."""
    headline = [score for score in record.scores if score.task == task and key_of(score) == metric]
    by_model: dict[str, dict[str, Score]] = {score.model: {} for score in headline}
    if metric == SPEED:  # a model without a rate has times, and a reason
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
    lines.sort(key=lambda line: (99 if line.stage is None else line.stage, _order(line.cells[metric].value, metric)))
    used = [column for column in COLUMNS if column.key == "model" or any(line.cells[column.key].text not in ("", "-") for line in lines)]
    used = [column for column in used if column.key == metric or column.key not in BITS]
    if metric != SPEED:
        used = [column for column in used if column.key not in DETAILS]
    top = max((cell.high or cell.value or 0.0 for line in lines if math.isfinite((cell := line.cells[metric]).value or 0.0)), default=1.0)
    title, signature = cut(task, NAME_CHARACTERS), cut(headline[0].signature, SAMPLE_CHARACTERS)
    said = [*notes(record, task, headline), *sentences(models, by_model)]
    return Table(title, metric, used, lines, said, signature, (0.0, top))


def _line(model: ModelRow, scores: Mapping[str, Score], metric: str, machine: str) -> Line:
    score = scores.get(metric)
    n, unit = (score.n, cut(score.unit, NAME_CHARACTERS)) if score else (None, "")
    return Line(cut(model.name, NAME_CHARACTERS), model.stage, cells(model, scores, metric), n, unit, machine)


def _order(value: float | None, metric: str) -> float:
    return math.inf if value is None else -value if metric in (*QUALITY, SPEED) else value


def _points(record: Record) -> list[Point]:
    """The picture: the first table of bits per byte against speed. On the front is a model than which none is both better and faster."""
    found: dict[str, dict[str, float]] = {}
    for score in record.scores:
        if key_of(score) in (BITS[0], SPEED, "peak_ram", "peak_gpu_reserved") and 0 < score.value < math.inf:
            found.setdefault(score.model, {}).setdefault(key_of(score), float(score.value))
    models = [model for model in record.models if {BITS[0], SPEED} <= found.get(model.name, {}).keys()]
    places = {model.name: (found[model.name][BITS[0]], found[model.name][SPEED]) for model in models}
    front, fastest = set(), 0.0
    for bits, rate in sorted(places.values(), key=lambda place: (place[0], -place[1])):
        if rate > fastest:
            front.add((bits, rate))
            fastest = rate
    return [
        Point(cut(m.name, NAME_CHARACTERS), m.stage, *places[m.name], memory, places[m.name] in front)
        for m in models
        for memory in (found[m.name].get("peak_gpu_reserved") or found[m.name].get("peak_ram"),)
    ]


def _sayings(record: Record, folder: Path | None) -> list[Saying]:
    """Prompts and continuations from the run's samples, in the order of the models."""
    if folder is None:
        return []
    found: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for model in record.models:
        for file in _sample_files(folder, model.name):
            if record.notes.cells and file.stem not in record.notes.cells.get(model.name, []):
                continue  # left by another run in this folder
            for row in _rows(file):
                if isinstance(row, dict) and isinstance(row.get("output"), str) and isinstance(row.get("input"), str):
                    answer = (cut(model.name, NAME_CHARACTERS), cut(row["output"], SAMPLE_CHARACTERS))
                    found.setdefault((file.stem, str(row.get("id")), row["input"]), []).append(answer)
    return [Saying(cut(prompt, SAMPLE_CHARACTERS), answers) for (_, _, prompt), answers in found.items()]


def _sample_files(folder: Path, model: str) -> list[Path]:
    """Where a model's samples are. A record from elsewhere does not choose which other files are shown."""
    if Path(model).name != model or model == "..":
        return []
    try:
        return sorted((folder / "samples" / model).glob("*.jsonl"))
    except (OSError, ValueError):  # no name that a folder can have
        return []


def _rows(file: Path) -> list[Any]:
    """Lines end at \\n alone: what a model says may hold other signs that part lines."""
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError):
        return []
