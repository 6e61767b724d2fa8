"""From records to a board: tables, notes, failures, samples, as plain data that any renderer can draw. Sees no model and no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmbench.notes import cut, notes
from llmbench.record import HEADLINES, Certificate, Failure, ModelRow, Record, Score

STAGES = {
    0: "Floors",
    1: "Stage 1: characters, feed-forward",
    2: "Stage 2: words, feed-forward",
    3: "Stage 3: recurrent",
    4: "Stage 4: transformer",
    5: "Stage 5: pretrained",
    6: "Stage 6: fine-tuned",
    None: "Models of one's own",
}
COSTS = ("peak_ram", "peak_ram_over_idle", "peak_gpu_reserved")
SAMPLE_CHARACTERS = 2000  # of one prompt, continuation or message, on a board
NAME_CHARACTERS = 255  # a model's name is a folder's name: none that is real is cut


@dataclass(frozen=True)
class Column:
    """`numeric`: sorted and set as numbers. `help`: what it is, in a line."""

    key: str
    title: str
    help: str
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number behind it (None sorts last). `low`, `high`: the interval, where there is one."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A model's row of a table."""

    model: str
    stage: int | None
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """One task's comparison by one metric, the `headline`. `lines` go by stage, then by it; `scale` is the range that its bars are drawn in."""

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
class Board:
    title: str
    facts: list[tuple[str, str]]
    tables: list[Table]
    failures: list[Failure]
    sayings: list[Saying] = field(default_factory=list)
    models: list[ModelRow] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)


COLUMNS = [
    Column("rank", "rank", "best and worst rank that the data allow, all pairs tested, Holm-corrected; compressors are not ranked"),
    Column("model", "model", "name of the model", numeric=False),
    Column("bits_per_byte", "bits/byte", "bits the model needs for the text / bytes of the text, with its 95 % interval; less is better"),
    Column(
        "conditional_bits_per_byte",
        "bits/byte given source",
        "bits of the target and its end, given the source / bytes of the target; less is better",
    ),
    Column(
        "pseudo_bits_per_byte",
        "pseudo-bits/byte",
        "bits for gaps whose surroundings are shown / their bytes: for models that see both sides, and no others",
    ),
    Column("byte_perplexity", "byte ppl", "2^(bits/byte)"),
    Column("word_perplexity", "word ppl", "2^(bits/words)"),
    Column("token_perplexity", "token ppl", "perplexity of the model's own symbols: not comparable between rows"),
    Column("spelling_share", "spelling", "share of the bits that spell what the vocabulary does not hold"),
    Column("unknown_share", "unknown", "share of the model's symbols outside its vocabulary"),
    Column("tokenizer", "symbols", "what the model reads", numeric=False),
    Column("context", "context", "most symbols a prediction can look back on; unlimited where a state is carried"),
    Column("parameters", "parameters", "numbers that were learnt; of the n-gram, counts"),
    Column("training_seconds", "training", "seconds of training on the machine of this run"),
    Column("peak_ram", "peak RAM", "most memory that the model's process held, from loading it on, while it read, spoke and scored"),
    Column("peak_ram_over_idle", "over idle", "the same, less what the process held before the model was loaded"),
    Column("peak_gpu_reserved", "peak GPU", "most memory of the GPU that was reserved for the model"),
    Column(
        "proven",
        "proven",
        "certificates: A1 the ledger is consistent, A2 probabilities are normalised and do not look ahead, A3 decoded from its own bits",
        numeric=False,
    ),
    Column("overlap", "overlap", "share of the test's 50-byte substrings that occur in the training text"),
]


def stage_title(stage: int | None) -> str:
    """The heading of a stage, of a later llmbench's too."""
    return STAGES.get(stage, f"Stage {stage}")


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
    tables = [_table(record, *found) for found in dict.fromkeys((s.task, s.metric) for s in record.scores if s.metric in HEADLINES)]
    failures = [failure.model_copy(update=_short_texts(failure)) for failure in _joined(record.failures)]
    facts = [(key, cut(value, NAME_CHARACTERS)) for key, value in facts]
    title = cut(f"llmbench: {record.suite.name}", NAME_CHARACTERS)
    return Board(title, facts, tables, failures, _sayings(record, folder), record.models, _proofs(record))


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


def _table(record: Record, task: str, metric: str) -> Table:
    headline = [score for score in record.scores if score.task == task and score.metric == metric]
    by_model: dict[str, dict[str, Score]] = {score.model: {} for score in headline}
    for score in record.scores:
        if score.task == task and score.model in by_model:
            by_model[score.model][score.metric] = score
    for score in record.scores:  # what a model costs stands beside what it can do, in every table
        if score.metric in COSTS and score.model in by_model:
            by_model[score.model][score.metric] = score
    lines = [_line(model, by_model[model.name], metric) for model in record.models if model.name in by_model]
    lines.sort(key=lambda line: (99 if line.stage is None else line.stage, _order(line.cells[metric].value)))
    used = [column for column in COLUMNS if column.key == "model" or any(line.cells[column.key].text not in ("", "-") for line in lines)]
    used = [column for column in used if column.key == metric or column.key not in HEADLINES]
    top = max((cell.high or cell.value or 0.0 for line in lines if math.isfinite((cell := line.cells[metric]).value or 0.0)), default=1.0)
    title, signature = cut(task, NAME_CHARACTERS), cut(headline[0].signature, SAMPLE_CHARACTERS)
    return Table(title, metric, used, lines, notes(record, task, headline), signature, (0.0, top))


def _order(value: float | None) -> float:
    return math.inf if value is None else value


def _line(model: ModelRow, scores: dict[str, Score], metric: str) -> Line:
    cells = {
        "rank": _rank(scores.get(metric)),
        "model": Cell(cut(model.name, NAME_CHARACTERS)),
        **{name: _with_interval(scores.get(name)) for name in HEADLINES},
        "tokenizer": Cell(cut(model.tokenizer, NAME_CHARACTERS)),
        "context": _context(model),
        "parameters": Cell(_count(model.parameters), model.parameters),
        "training_seconds": _seconds(model.training.seconds if model.training else None),
        **{name: _bytes(scores.get(name)) for name in COSTS},
        "proven": Cell(_proven(model.certificate)),
        "overlap": Cell("unknown" if model.overlap is None else f"{model.overlap:.1%}", model.overlap),
    }
    for metric in ("byte_perplexity", "word_perplexity", "token_perplexity"):
        cells[metric] = _plain(scores.get(metric))
    for metric in ("spelling_share", "unknown_share"):
        score = scores.get(metric)
        cells[metric] = Cell("-") if score is None else Cell(f"{score.value:.1%}", float(score.value))
    return Line(cut(model.name, NAME_CHARACTERS), model.stage, cells)


def _rank(score: Score | None) -> Cell:
    if score is None or score.rank is None:
        return Cell("-")
    best, worst = score.rank
    return Cell(str(best) if best == worst else f"{best}-{worst}", best + worst / 1000, best, worst)


def _with_interval(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    if score.low is None or score.high is None:
        return Cell(_number(score.value, 4), float(score.value))
    half = (score.high - score.low) / 2
    return Cell(f"{_number(score.value, 4)} ± {half:.4f}", float(score.value), float(score.low), float(score.high))


def _bytes(score: Score | None) -> Cell:
    if score is None:
        return Cell("-")
    value = float(score.value)
    return Cell(f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB", value)


def _plain(score: Score | None) -> Cell:
    return Cell("-") if score is None else Cell(_number(score.value, 3), float(score.value))


def _number(value: float, digits: int) -> str:
    """Fixed digits for everyday sizes, four significant ones beyond."""
    if math.isinf(value):
        return "inf"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.4g}"


def _context(model: ModelRow) -> Cell:
    if model.context is None:
        return Cell("unlimited" if model.fingerprint and model.parameters else "-", math.inf)
    return Cell(str(model.context), model.context)


def _count(value: int | None) -> str:
    if value is None:
        return "-"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size * 0.9995:  # so that 999,999 is 1 M, not 1e+03 k
            return f"{value / size:.3g} {unit}"
    return str(value)


def _seconds(value: float | None) -> Cell:
    return Cell("-") if value is None else Cell(f"{value:.0f} s", value)


def _proven(certificate: Certificate | None) -> str:
    """The levels that were earned, or the first that was refused."""
    if certificate is None:
        return "-"
    refused = [level for level, proof in certificate.levels.items() if proof.state == "refused"]
    if refused:
        return f"refused {refused[0]}"
    return " ".join(level for level, proof in certificate.levels.items() if proof.state == "earned") or "-"


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
