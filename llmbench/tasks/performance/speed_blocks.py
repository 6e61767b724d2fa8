"""Parts of the task `speed`: when the warm-up ends, medians, and the rows it stores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from llmbench.results.outcome import SampleRow
from llmbench.tasks.performance.timeline import Event, Timeline

# warm up until two medians of three runs differ by less than SETTLED, or for WARM_SECONDS
WARM_SECONDS, WARM_RUNS, SETTLED = 2.0, 3, 0.05
TIMED = (
    "time_to_first_token",
    "time_per_output_token",
    "end_to_end_latency",
    "decode_bytes_per_second",
)


class Cold(TypedDict):
    """Seconds of the first answer, before any warm-up."""

    time_to_first_token: float | None
    end_to_end_latency: float | None


class Facts(TypedDict):
    """What is decided before the blocks of a model, and what is learnt after them.

    read: the (bytes, tokens) of the prompt that the model reads; tokens None if unknown.
    repeats: how often a block repeats its work.
    batch: answers side by side, measured beside 1. scan: (batch, bytes/s) of those that were tried.
    refused: why the others could not run.
    compile_seconds: what it took to compile the model's step, before and apart from the warm-up.
    sentinel: seconds of the sentinel's first looks, for the next worker of this model.
    cache, parts: see profile.Dissection.
    """

    read: tuple[int, int | None]
    cold: Cold
    repeats: int
    batch: int
    scan: list[tuple[int, float]]
    refused: dict[str, str]
    warm_up_seconds: float
    compile_seconds: NotRequired[float]
    sentinel: NotRequired[list[float]]
    cache: NotRequired[str | None]
    parts: NotRequired[dict[str, float]]


class TimelineRow(TypedDict):
    """An answer as the record's events hold it; `events`: (ns since `asked`, tokens, bytes)."""

    what: str
    answer: int
    asked: int
    events: list[tuple[int, int, int]]
    block: NotRequired[int]


class Block(TypedDict):
    """A block's `values` by metric, and the `events` that they were derived from."""

    values: dict[str, float]
    events: list[TimelineRow]


class NumberedBlock(Block):
    """A block in its place, with the parent's notes on it."""

    block: int
    sentinel: NotRequired[list[float]]
    drifted: NotRequired[bool]
    session: NotRequired[str]


def is_warm(took: Sequence[float], seconds: float) -> bool:
    """Return whether runs have stopped getting faster.

    took: seconds of each run so far. seconds: all the time since the warm-up began.
    """
    if seconds >= WARM_SECONDS and took:
        return True
    if len(took) < 2 * WARM_RUNS:
        return False
    new, old = (
        statistics.median(took[-WARM_RUNS:]),
        statistics.median(took[-2 * WARM_RUNS : -WARM_RUNS]),
    )
    return abs(new - old) <= SETTLED * old


def median_of_all(values: Sequence[float | None]) -> float | None:
    """Return the median; None if a value is missing, since a median over some repeats misleads."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present and len(present) == len(values) else None


def pack_timeline(what: str, number: int, line: Timeline) -> TimelineRow:
    """Return an answer as the record's events hold it."""
    return {
        "what": what,
        "answer": number,
        "asked": line.asked,
        "events": [(event.at - line.asked, event.tokens, event.bytes) for event in line.events],
    }


def unpack_timeline(stored: TimelineRow) -> Timeline:
    """Return the timeline that `pack_timeline` stored."""
    asked = int(stored["asked"])
    return Timeline(
        asked, tuple(Event(asked + at, tokens, size) for at, tokens, size in stored["events"])
    )


def sample_of_block(block: NumberedBlock) -> SampleRow:
    """Return the samples' row of a block."""
    row: SampleRow = {
        "id": f"block {block['block']}",
        "bytes": 0,
        "input": None,
        "output": None,
        "reference": None,
        "statistics": {name: [value, 1.0] for name, value in block["values"].items()},
    }
    if "sentinel" in block:
        row["sentinel"] = block["sentinel"]
    if "drifted" in block:
        row["drifted"] = block["drifted"]
    if "session" in block:
        row["session"] = block["session"]
    return row
