"""The run's record: what is stored, how it is written whole, and how it is read back."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import Field, ValidationError

from llmbench.errors import Reason, UsageError, drop_folders
from llmbench.metrics.facts import BITS_PER_BYTE, FACTS, HEADLINES, RANKED, SPEED
from llmbench.metrics.metric import Metric, Variant
from llmbench.results import schema
from llmbench.results.rows import (
    Against,
    Certificate,
    Definition,
    Items,
    LeftOut,
    LoadFacts,
    Majority,
    Near,
    Number,
    Review,
    Row,
    RunState,
    SparseRow,
    SpeedFacts,
    SuiteRow,
    Training,
)
from llmbench.storage import DIGEST, Damaged, check_seal, digest_file, write_sealed

# whose tables have the metric in their name: the others are a task's only table
NAMED_TABLES = tuple(name for name in HEADLINES if name not in (BITS_PER_BYTE, SPEED))


def notes_key(task: str, metric: str) -> str:
    """The name of a table in the record's notes: the task's, with the metric where it is not the
    usual one.
    """
    return f"{task}:{metric}" if metric in NAMED_TABLES else task


class Score(SparseRow):
    """A metric's value for a model on a task. `low`, `high`: 95 % interval over `n` items, None
    if none is honest. The fields after `rank` are those of some tasks only.
    """

    ALWAYS = frozenset({"low", "high", "rank"})

    model: str
    task: str
    metric: str
    value: Number
    low: Number | None = None
    high: Number | None = None
    unit: str
    better: Literal["lower", "higher"] | None
    n: int
    signature: str
    rank: tuple[int, int] | None = None
    definition: Definition | None = None  # of a metric that llmbench does not know
    # likelihood
    charged: str = "token"  # or "code", of a compressor, which is not ranked
    lossy: str = ""  # what the tokenizer loses of the text
    noise: Number | None = None  # bits a byte of the engine's own, which the interval holds
    left_out: int = 0  # documents that some model of the run cannot hold
    straddled: int | None = None  # texts whose first token covers the end of their context, too
    # generated text
    empty: int | None = None  # outputs without a word
    broken: int | None = None  # outputs with invalid UTF-8
    blind: int | None = None  # samples with letters that the metric's tokenizer does not see
    prompts: int | None = None  # different ones
    cut: int | None = None  # prompts of which only the end was read
    cut_sources: int | None = None  # sources of which only the beginning was read
    misread: int | None = None  # prompts that the tokenizer does not hold as they stand
    uncounted: int | None = None  # answers that the metric leaves out
    answers: int | None = None  # of so many
    decoding: str = ""  # greedy or sampled
    variant: str = ""  # sets greedy outputs apart from sampled ones
    member: str = ""  # the task of a group that it is of; its variant ends with that
    human: Number | None = None  # the same metric of human text
    # multiple choice
    norm: str = "none"  # or "byte": candidates are compared by bits per byte
    tied: int | None = None  # questions of which several candidates cost the least
    near: Near | None = None  # questions of which another program may choose otherwise
    repeated: int | None = None  # questions in which a candidate stands twice
    chance: Number | None = None
    majority: Majority | None = None  # always giving the most common right answer
    # speed, energy and memory
    batch: int = 1
    phase: str = ""
    percentiles: dict[str, Number | None] | None = None
    facts: SpeedFacts | None = None
    drifted: int = 0  # blocks during which the machine was not as before
    depths: list[tuple[int, Number]] = Field(default_factory=list)  # prompt bytes, seconds a token
    absent: dict[str, str] = Field(default_factory=dict)  # metric -> why it was not measured
    source: str = ""  # what measured memory or energy
    joules: Number | None = None
    # max-batch
    budget: int | None = None  # bytes
    at_least: bool = False  # the search ended before the limit was found
    spare: int | None = None  # batch that leaves a tenth of the budget free
    useful: int | None = None  # smallest batch with 95 % of the best rate
    curve: list[tuple[int, Number | None, Number | None]] = Field(  # batch, bytes, bytes/s
        default_factory=list
    )
    load: LoadFacts | None = None

    @property
    def is_of_generated_text(self) -> bool:
        """Whether it is about what a model wrote."""
        return self.empty is not None


def is_memory(name: str) -> bool:
    """Whether a metric is of memory."""
    return name in FACTS and FACTS[name].group == "memory"


def metric_of(score: Score) -> Metric:
    """The facts of a score's metric: llmbench's own, or else what the score says of it."""
    known = FACTS.get(score.metric)
    if known is not None:
        return known
    facts = score.definition or Definition(label=score.metric)
    low, high = facts.bounds
    return Metric(
        score.metric,
        score.unit,
        score.better,
        facts.help or f"{score.metric}: a metric that llmbench does not define",
        bounds=(-math.inf if low is None else low, math.inf if high is None else high),
        variants=(Variant("", facts.label),),
        format=facts.format,
        test=facts.test,
        tie=float(facts.tie),
        is_ranked=facts.ranked,
        is_custom=True,
    )


def key_of(score: Score) -> str:
    """What a score is of: its metric, at the best batch, in a phase, at a load, by another norm."""
    return (
        f"{score.metric}{'@best' if score.batch > 1 else ''}"
        + (f":{score.phase.partition(',')[0]}" if score.phase else "")
        + (f":{score.norm}" if score.norm != "none" else "")
        + score.variant
    )


def is_ranked_by(score: Score) -> bool:
    """Whether models are ranked by a score's metric: llmbench's own, or one that says so."""
    if score.metric in FACTS:
        return key_of(score) in RANKED
    return key_of(score) == score.metric and metric_of(score).is_ranked


def is_ranked(score: Score, refused: Collection[str]) -> bool:
    """A compressor is not: it is no model of the next byte. Neither is a model with infinite bits,
    or one that was `refused` a certificate, whose bits prove nothing about the others.
    """
    return (
        math.isfinite(score.value)
        and score.charged != "code"
        and (score.metric == SPEED or score.model not in refused)
    )


class Failure(Row):
    """A cell that could not be filled, and what to do about it."""

    model: str
    task: str
    reason: Reason
    message: str
    hint: str = ""

    def drop_folders(self) -> Failure:
        """Return the same failure, told without the folders of this machine."""
        told = {"message": drop_folders(self.message), "hint": drop_folders(self.hint)}
        return self.model_copy(update=told)


class ModelRow(Row):
    """A model of the run, as its adapter and its card describe it."""

    name: str
    stage: int | None = None
    family: str = ""
    tokenizer: str = ""
    parameters: int | None = None
    context: int | None = None
    weights_bytes: int | None = None
    quantization: str | None = None
    compiled: str | None = None
    dtype: str | None = None
    device: str = ""
    fingerprint: str = ""
    certificate: Certificate | None = None
    training: Training | None = None
    origin: dict[str, object] | None = None  # see adapter.ModelInfo
    overlap: float | None = None
    process: Literal["worker", "caller"] = "worker"  # caller: an object given from Python
    published: list[dict[str, object]] = Field(default_factory=list)
    parent: str | None = None  # the model that it was made from, as its card says


class Machine(SparseRow):
    """What hardware/machine.py found; a fact that is unavailable is absent."""

    ALWAYS = frozenset({"cpu", "cores", "gpus"})
    cpu: str = "?"
    cores: int | None = None
    gpus: list[dict[str, object]] = Field(default_factory=list)
    memory_bytes: int | None = None
    os: str | None = None
    python: str | None = None
    packages: Any = None  # name -> version
    threads: int | None = None  # in use
    ceilings: Any = None  # what hardware/peaks.py measured

    def kind(self, gpus: bool = True) -> tuple[str, int | None, int | None, tuple[str, ...], str]:
        """What tells one kind of machine from another where times and memory are concerned:
        processor, cores, threads in use, GPUs (where they were to be used), and the system, of
        which another version is no other kind.
        """
        names = tuple(str(gpu.get("name", "GPU")) for gpu in self.gpus) if gpus else ()
        return (
            self.cpu,
            self.cores,
            self.threads,
            names,
            (self.os or "").partition(" ")[0],
        )


class TaskNotes(Row):
    """What the items of a task prove: the smallest visible difference in the metric's unit (of a
    rate, as a share), who is better than whom, and how many items it takes for anything to be
    proven. Of speed also how a model that was entered twice came out against itself (`again`), and
    what measuring took (`cost`, in seconds), and what else the machine did before and after
    (`state`). `against_parent`: models that were made from others, beside these.
    """

    smallest_visible: Number | None = None
    items_needed: int | None = None
    better_than: dict[str, list[str]] = Field(default_factory=dict)
    left_out: list[str] = Field(default_factory=list)
    again: dict[str, object] | None = None
    cost: dict[str, Number] | None = None
    state: dict[str, object] | None = None
    against_parent: dict[str, Against] = Field(default_factory=dict)


class Notes(Row):
    tasks: dict[str, TaskNotes] = Field(default_factory=dict)
    cells: dict[str, list[str]] = Field(
        default_factory=dict, description="model -> its finished tasks"
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="samples, charges and events in the run's folder -> sha256",
    )
    left_out: dict[str, LeftOut] = Field(
        default_factory=dict, description="task -> documents that some models cannot hold"
    )
    absent: dict[str, str] = Field(
        default_factory=dict,
        description="optional models that are not on this machine -> how to get each",
    )


class Record(Row):
    """Everything the boards are made from. Reviewed records alone have `items` and `review`."""

    schema_: int = Field(schema.SCHEMA, alias="schema")
    llmbench: str
    suite: SuiteRow
    started: str
    finished: str
    seed: int
    options: dict[str, object]
    machine: Machine
    models: list[ModelRow]
    scores: list[Score]
    failures: list[Failure]
    notes: Notes = Field(default_factory=Notes)
    state: RunState = Field(default_factory=RunState)
    items: dict[str, list[Items]] | None = None
    review: Review | None = None

    def write(self, folder: Path) -> Path:
        """run.json in `folder`, written at once or not at all."""
        path = folder / "run.json"
        write_sealed(path, self.model_dump(by_alias=True, exclude={"items", "review"}))
        return path

    def check_files(self, folder: Path) -> None:
        """Raise UsageError if samples, charges or events in the run's folder are not what the run
        wrote. Files that were not copied along with the record are none.
        """
        for name, digest in self.notes.files.items():
            file = folder / name
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise UsageError("the record names a file outside its folder", where=name)
            with suppress(OSError):
                if digest_file(file) != digest:
                    hint = "run again with the same --out: what was changed is computed again"
                    raise UsageError("changed since the run wrote it", where=str(file), hint=hint)


def _check_seal(raw: bytes, file: Path) -> None:
    try:
        check_seal(raw, "the record")
    except Damaged as error:
        hint = "run again with the same --out, or copy it again"
        raise UsageError(str(error), where=str(file), hint=hint) from None


def load(path: Path) -> Record:
    """The record at run.json, or in a run's folder, of this or an older schema. Raises UsageError,
    with path and reason, if it is missing, torn or invalid.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        if file.exists() and not file.is_file():
            raise UsageError("the record is not a regular file", where=str(file))
        raw = file.read_bytes()
        data = json.loads(raw, parse_constant=_no_number)
    except OSError as error:
        raise UsageError(f"cannot read the record: {error.strerror}", where=str(file)) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"the record is torn: {error}", where=str(file), hint="run again with the same --out"
        ) from None
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise UsageError("not a record: no schema number", where=str(file))
    if data["schema"] > schema.SCHEMA:
        raise UsageError(
            f"schema {data['schema']} is newer than this llmbench knows ({schema.SCHEMA})",
            where=str(file),
            hint="update llmbench",
        )
    if not {"review", "items"} & data.keys() and (
        data["schema"] >= schema.SEALED or DIGEST in data
    ):
        _check_seal(raw, file)
        del data[DIGEST]
    sealed = schema.digest(data) if isinstance(data.get("review"), dict) else None
    try:
        schema.upgrade(data)
    except KeyError:
        raise UsageError(f"there is no schema {data['schema']}", where=str(file)) from None
    try:
        record = Record.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        spot = ".".join(str(step) for step in first["loc"])
        raise UsageError(
            f"the record is wrong at {spot}: {first['msg']}", where=str(file)
        ) from None
    if (record.items is None) != (record.review is None) or (
        record.review is not None and record.review.sha256 != sealed
    ):
        raise UsageError(
            "the reviewed record was edited: its digest is not that of its content",
            where=str(file),
            hint="promote a run instead",
        )
    _check_names(record, file)
    return record


def _check_names(record: Record, file: Path) -> None:
    """UsageError where two models have one name, or a score is of a model that there is not."""
    names: set[str] = set()
    for number, model in enumerate(record.models):
        if model.name in names:
            raise UsageError(
                f"the record is wrong at models.{number}.name: two models have this name",
                where=str(file),
            )
        names.add(model.name)
    for number, score in enumerate(record.scores):
        if score.model not in names:
            raise UsageError(
                f"the record is wrong at scores.{number}.model: there is no such model",
                where=str(file),
            )


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of a record")
