"""What passes between a run and its workers, as lines of JSON: jobs and commands, and events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from llmbench.adapter import KeptSeal
from llmbench.data.documents import Documents
from llmbench.data.strings import Frame
from llmbench.data.text import Text
from llmbench.errors import Reason
from llmbench.results.cell import CellHead
from llmbench.results.record import Failure, ModelRow
from llmbench.runner.folder.answers import AnswersEvent
from llmbench.runner.folder.notes import NoteEvent
from llmbench.runner.folder.shards import ClaimEvent, ShardEvent

if TYPE_CHECKING:
    from llmbench.config.model_card import Card
    from llmbench.plan.plan import Plan
    from llmbench.tasks.performance.speed_blocks import Facts, NumberedBlock, TimelineRow
    from llmbench.tasks.task import Task


class TextRow(TypedDict):
    """A text. `frames`: of `Documents.frames`; they follow the line of the job as they are."""

    name: str
    sampled: str
    frames: Sequence[Frame]


class JobOptions(TypedDict):
    """How to load the model; see plan.Options. `cache`: a folder, None for the usual one;
    `cache_url`: of what machines share.
    """

    device: str
    dtype: str | None
    limit: int | None
    seed: int
    offline: bool
    cache: str | None
    cache_url: str | None
    retrain_since: float | None


class Job(TypedDict):
    """What a worker needs to fill cells of one model.

    model, tasks: as `ResolvedModel.to_json` and the tasks' settings give them.
    known: task -> the fingerprint that its finished cell was made with.
    missing: role of a text that is not on this machine -> the reason and a hint.
    keys: task -> the key of its cell, in the order of the tasks.
    certificates, shards, answers: digests, and the seal of answers, to be believed.
    log: the file that the model prints into, for a worker that was started before it was known.
    """

    model: Mapping[str, object]
    tasks: Sequence[Mapping[str, object]]
    known: Mapping[str, str]
    texts: Mapping[str, TextRow]
    missing: Mapping[str, Sequence[str]]
    options: JobOptions
    question: str
    machine: str
    keys: Mapping[str, str]
    out: str
    certificates: Sequence[str]
    answers: NotRequired[KeptSeal]
    shards: NotRequired[Sequence[str]]
    log: NotRequired[str]
    helps: NotRequired[bool]  # fills no cell, but computes shards for the worker that does


class SpeedJob(Job):
    """`ceilings`: the file of the machine's peaks; `facts`: what an earlier worker of this model
    found out in its warm-up, None for the first.
    """

    ceilings: str
    facts: Facts | None


class BatchJob(Job):
    """One attempt: so many answers side by side, in so many bytes."""

    batch: int
    budget: int


class PeaksJob(TypedDict):
    """`path`: where the peaks are written."""

    device: str
    path: str
    threads: int


class CheckJob(TypedDict):
    """Models whose code is imported and looked at."""

    models: Sequence[Mapping[str, object]]


class Command(TypedDict):
    """What a worker of speed is told after its job. `blocks`: to finish with."""

    do: Literal["prepare", "block", "finish"]
    blocks: NotRequired[Sequence[NumberedBlock]]


# Events
# ----------------------------------------------------------------------------------------------


class ProgressEvent(TypedDict):
    """`share`: of what is being done, in [0, 1]."""

    event: Literal["progress"]
    what: str
    share: float
    remark: str


class TaskEvent(TypedDict):
    """A task begins."""

    event: Literal["task"]
    task: str


class CellEvent(TypedDict):
    """A cell is there. `digest`: sha256 of the file that was written now, "" if none was."""

    event: Literal["cell"]
    task: str
    outcome: Literal["done", "done before"]
    digest: str


class CertificateEvent(TypedDict):
    """Certificates were written. `digest`: sha256 of the one in the run's folder; `cached`: of the
    one in the cache, "" if none was written there.
    """

    event: Literal["certificate"]
    digest: str
    cached: str


class FailedEvent(TypedDict):
    """A cell could not be filled."""

    event: Literal["failed"]
    task: str
    reason: Reason
    message: str
    hint: str


class LoadedEvent(TypedDict):
    """A model is loaded. `held`: bytes of memory, by kind."""

    event: Literal["loaded"]
    held: dict[str, int]


class ReadyEvent(TypedDict):
    """A model is warm. `facts`: what the task found out in the warm-up."""

    event: Literal["ready"]
    facts: Facts
    held: dict[str, int]


class BlockEvent(TypedDict):
    """A block was measured: what the task gave, and how the machine was meanwhile. Seconds: of the
    timed work, of all of it, of processor time, and of processor time in the sleep before.
    """

    event: Literal["block"]
    values: dict[str, float]
    events: list[TimelineRow]
    sentinel: list[float]
    drifted: bool
    tries: int
    timed_seconds: float
    seconds: float
    cpu_seconds: float
    parked_cpu_seconds: float


class ProbeEvent(TypedDict):
    """What became of one batch; see max_batch_search.Attempt. `model`: the record's row."""

    event: Literal["probe"]
    batch: int
    peak: int | None
    rate: float | None
    refused: str
    model: Mapping[str, object]


class WrongEvent(TypedDict):
    """A model's code is wrong."""

    event: Literal["wrong"]
    model: str
    what: str
    where: str
    hint: str


class FactsEvent(TypedDict):
    """A model's code is right, and declares these facts."""

    event: Literal["facts"]
    model: str
    facts: Mapping[str, object]


class EndEvent(TypedDict):
    """Nothing more will come."""

    event: Literal["end"]


Event = (
    ProgressEvent
    | TaskEvent
    | ShardEvent
    | ClaimEvent
    | CellEvent
    | CertificateEvent
    | AnswersEvent
    | NoteEvent
    | FailedEvent
    | LoadedEvent
    | ReadyEvent
    | BlockEvent
    | ProbeEvent
    | WrongEvent
    | FactsEvent
    | EndEvent
)
Emit = Callable[[Event], None]

# The parent's side
# ----------------------------------------------------------------------------------------------


def job_of(
    made: Plan,
    card: Card,
    tasks: Sequence[Task.Settings],
    known: Mapping[str, str],
    certificates: Sequence[str] = (),
) -> Job:
    """The job of a worker; `known` and `certificates` are those of a Job."""
    options = made.options
    return {
        "model": made.models[card.name].to_json(),
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "known": dict(known),
        "texts": {role: text_row(text) for role, text in made.suite.texts.items()},
        "missing": {role: [error.what, error.hint] for role, error in made.suite.missing.items()},
        "options": {
            "device": options.device,
            "dtype": options.dtype,
            "limit": options.limit,
            "seed": options.seed,
            "offline": options.offline,
            "cache": str(options.cache or "") or None,
            "cache_url": options.cache_url,
            "retrain_since": options.retrain_since,
        },
        "question": made.question,
        "machine": options.machine,
        "keys": {task.name: made.keys[card.name, task.name] for task in tasks},
        "out": str(made.out),
        "certificates": certificates,
    }


def log_of(made: Plan, card: Card) -> Path:
    """Where what a model prints is kept."""
    return made.out / "cells" / card.name / "worker.log"


def text_row(text: Text) -> TextRow:
    """A text as part of a job."""
    return {"name": text.name, "sampled": text.sampled, "frames": text.columns.frames()}


def encode(message: Mapping[str, Any]) -> Iterator[Frame]:
    """A job or a command as bytes: a line of JSON, in which each text has the lengths of its frames
    in place of these, and then the frames.
    """
    texts: Mapping[str, TextRow] = message.get("texts", {})
    rows = {role: {**row, "frames": [len(f) for f in row["frames"]]} for role, row in texts.items()}
    line = {**message, "texts": rows} if texts else message
    yield json.dumps(line).encode() + b"\n"
    for row in texts.values():
        yield from row["frames"]


def failure_of(card: Card, event: FailedEvent) -> Failure:
    """The record's row for a cell that a worker could not fill."""
    task, reason = event["task"], event["reason"]
    return Failure(
        model=card.name, task=task, reason=reason, message=event["message"], hint=event["hint"]
    )


# The worker's side
# ----------------------------------------------------------------------------------------------


def head_of(job: Job, task: str, model: ModelRow) -> CellHead:
    """The head of a cell that this job asks for."""
    return CellHead(job["keys"][task], job["question"], job["machine"], task, model)


def read_text(row: TextRow) -> Text:
    """The text of a `text_row`."""
    return Text(row["name"], Documents.from_frames(row["frames"]), row["sampled"])
