"""Parts of the task `speed`: when the warm-up ends, medians, and the rows it stores."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from llmbench.tasks.performance.timeline import Event, Timeline

# warm up until two medians of three runs differ by less than SETTLED, or for WARM_SECONDS
WARM_SECONDS, WARM_RUNS, SETTLED = 2.0, 3, 0.05
TIMED = (
    "time_to_first_token",
    "time_per_output_token",
    "end_to_end_latency",
    "decode_bytes_per_second",
)


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


def pack_timeline(what: str, number: int, line: Timeline) -> dict[str, Any]:
    """Return an answer as the record's events hold it: times in ns since it was asked for."""
    return {
        "what": what,
        "answer": number,
        "asked": line.asked,
        "events": [[event.at - line.asked, event.tokens, event.bytes] for event in line.events],
    }


def unpack_timeline(stored: Mapping[str, Any]) -> Timeline:
    """Return the timeline that `pack_timeline` stored."""
    asked = int(stored["asked"])
    return Timeline(
        asked, tuple(Event(asked + at, tokens, size) for at, tokens, size in stored["events"])
    )


def sample_of_block(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the samples' row of a block."""
    noted = {key: block[key] for key in ("sentinel", "drifted", "session") if key in block}
    numbers = {name: [value, 1] for name, value in block["values"].items()}
    return {
        "id": f"block {block['block']}",
        "bytes": 0,
        "input": None,
        "output": None,
        "reference": None,
        "statistics": numbers,
        **noted,
    }
