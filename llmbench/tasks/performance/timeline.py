"""The clock: what happened when is stored, every number is derived from that. No model holds timing
code: a chunk that is yielded is on the host, so the moment at which it arrives here is the moment
at which a user has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from llmbench.adapter import Adapter, Request
from llmbench.data.text import Text
from llmbench.errors import REMOTE, Unsupported, UsageError
from llmbench.inference.text.answer import stream_answers

Clock = Callable[[], int]  # nanoseconds, from any beginning
SAMPLES_NEEDED = {
    90: 29,
    95: 59,
    99: 299,
}  # fewer say nothing about a tail: below n, P(the largest of n lies under it) is above 5 %


def require_local(adapter: Adapter) -> None:
    """Raise Unsupported for a model of which this process holds nothing."""
    if adapter.is_remote:
        raise Unsupported(REMOTE)


@dataclass(frozen=True)
class Event:
    """A piece of an answer arrived `at` (ns); until then it had so many tokens and bytes of text in
    all.
    """

    at: int
    tokens: int
    bytes: int


@dataclass(frozen=True)
class Timeline:
    """One answer: when it was asked for (ns), and its events in order. Times in seconds; None where
    there is nothing to derive it from.
    """

    asked: int
    events: tuple[Event, ...]

    @property
    def first(self) -> Event | None:
        """The first event that brought text."""
        return next((event for event in self.events if event.bytes), None)

    @property
    def last(self) -> Event | None:
        """The last event that brought text or tokens."""
        found = None
        for event in self.events:
            if found is None or (event.tokens, event.bytes) != (found.tokens, found.bytes):
                found = event
        return found if found is not None and found.bytes else None

    @property
    def time_to_first_token(self) -> float | None:
        """From asking to the first text."""
        return None if self.first is None else (self.first.at - self.asked) / 1e9

    @property
    def time_per_output_token(self) -> float | None:
        """(last - first) / (tokens after the first), where there are any."""
        if self.first is None or self.last is None or self.last.tokens <= self.first.tokens:
            return None
        return (self.last.at - self.first.at) / 1e9 / (self.last.tokens - self.first.tokens)

    @property
    def decode_bytes_per_second(self) -> float | None:
        """Bytes of text after the first text / the time they took."""
        if (
            self.first is None
            or self.last is None
            or self.last.at <= self.first.at
            or self.last.bytes <= self.first.bytes
        ):
            return None
        return (self.last.bytes - self.first.bytes) / ((self.last.at - self.first.at) / 1e9)

    @property
    def end_to_end_latency(self) -> float | None:
        """From asking to the last event, an empty answer's end included."""
        return (self.events[-1].at - self.asked) / 1e9 if self.events else None

    @property
    def times(self) -> dict[str, float | None]:
        """The numbers above, by the names of their metrics."""
        return {
            "time_to_first_token": self.time_to_first_token,
            "time_per_output_token": self.time_per_output_token,
            "end_to_end_latency": self.end_to_end_latency,
            "decode_bytes_per_second": self.decode_bytes_per_second,
        }

    @property
    def gaps(self) -> list[float]:
        """Seconds between one event and the next, for each token of it."""
        return [
            (b.at - a.at) / 1e9 / (b.tokens - a.tokens)
            for a, b in pairwise(self.events)
            if b.tokens > a.tokens
        ]


@dataclass(frozen=True)
class Throughput:
    """Of several answers side by side, once all of them have begun: tokens and bytes of all, and
    the seconds that they took.
    """

    tokens: int
    bytes: int
    seconds: float
    begun: float  # seconds from asking until all of them had begun


def throughput(timelines: Sequence[Timeline]) -> Throughput | None:
    """What a batch brings, from the moment when its last answer has begun to the end; None where
    there is nothing after that moment.
    """
    firsts = [line.first for line in timelines]
    if not timelines or any(first is None for first in firsts):
        return None
    begin = max(first.at for first in firsts if first is not None)
    end = max(line.events[-1].at for line in timelines)
    before = [[event for event in line.events if event.at <= begin][-1] for line in timelines]
    tokens = sum(
        line.events[-1].tokens - event.tokens for line, event in zip(timelines, before, strict=True)
    )
    size = sum(
        line.events[-1].bytes - event.bytes for line, event in zip(timelines, before, strict=True)
    )
    if end <= begin or tokens <= 0:
        return None
    return Throughput(tokens, size, (end - begin) / 1e9, (begin - timelines[0].asked) / 1e9)


def listen(
    adapter: Adapter, requests: Sequence[Request], clock: Clock = time.perf_counter_ns
) -> list[Timeline]:
    """Ask, and note when each piece of each answer arrives."""
    found: list[list[Event]] = [[] for _ in requests]
    sizes = [0] * len(requests)
    asked = clock()
    for chunk in stream_answers(adapter, requests):
        at = clock()
        sizes[chunk.row] += len(chunk.text.encode())
        found[chunk.row].append(Event(at, chunk.tokens, sizes[chunk.row]))
    return [Timeline(asked, tuple(events)) for events in found]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, and of p90, p95 and p99 those for which there are enough samples."""
    if not values:
        return {}
    wanted = [50, *(q for q, needed in SAMPLES_NEEDED.items() if len(values) >= needed)]
    return {f"p{q}": float(np.percentile(np.asarray(values, dtype=np.float64), q)) for q in wanted}


def long_enough(text: Text, *sizes: int) -> None:
    """UsageError where a text is shorter than the longest of these bytes; borders of characters may
    cost a few.
    """
    have = text.bytes + 2 * (len(text.documents) - 1)
    if have < max(sizes):
        raise UsageError(
            f"the text {text.name!r} has {have} bytes, and {max(sizes)} are asked for",
            hint="a longer text, or shorter prompts",
        )
