"""Which workers take much longer over something than others did, or than was expected."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

SHARD_SECONDS = 30.0  # of a shard, which is cut for about as long, and of what is not divided
LOADING_SECONDS = 60.0  # of a model that need not be trained
OF_OTHERS = 4.0  # times as long as the other shards of its cell takes a straggler
OF_EXPECTED = 10.0  # times as long as expected, where there are no others
LEAST_SECONDS = 10.0  # below which nobody needs to know
OTHERS = 3  # that must be there to compare with
KEPT = 100  # of those that were there last

LOADING = "loading"  # the task of a worker that does not have its model yet


@dataclass(frozen=True)
class Part:
    """What a worker is doing. span: of the items of a shard, the first and the one after the last;
    None for all that is not divided. expected: seconds.
    """

    model: str
    task: str
    where: str
    span: tuple[int, int] | None = None
    expected: float = SHARD_SECONDS

    def __str__(self) -> str:
        items = ""
        if self.span is not None:
            first, last = self.span[0], self.span[1] - 1
            items = f", item {first}" if first == last else f", items {first} to {last}"
        return f"{self.model} {self.task}{items}, on {self.where}"


@dataclass
class _Begun:
    part: Part
    since: float
    usual: float = 0.0  # seconds, once it is known to be a straggler


class Stragglers:
    """What all workers of a run are doing, for its threads. Workers are told apart by numbers.

    clock: seconds since any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._begun: dict[int, _Begun] = {}
        self._took: dict[tuple[str, str], deque[float]] = {}  # shards, by model and task

    def begin(self, worker: int, part: Part) -> None:
        """Note what a worker does from now on."""
        with self._lock:
            self._begun[worker] = _Begun(part, self._clock())

    def end(self, worker: int, *, is_done: bool = True) -> float:
        """Note that a worker does nothing now. Returns the seconds that others took over what it
        did, or that were expected, if it was a straggler; else 0.
        """
        with self._lock:
            begun = self._begun.pop(worker, None)
            if begun is None:
                return 0.0
            part = begun.part
            if is_done and part.span is not None:
                took = self._took.setdefault((part.model, part.task), deque(maxlen=KEPT))
                took.append(self._clock() - begun.since)
            return begun.usual

    def find(self) -> list[str]:
        """Return a line for each straggler, once: who, where, and how long."""
        with self._lock:
            now, found = self._clock(), []
            for begun in self._begun.values():
                seconds = now - begun.since
                if begun.usual or seconds < LEAST_SECONDS:
                    continue
                usual, allowed, said = self._find_usual(begun.part)
                if seconds > allowed:
                    begun.usual = usual
                    found.append(f"{begun.part}: {seconds:.0f} s so far, {said}")
            return found

    def _find_usual(self, part: Part) -> tuple[float, float, str]:
        """What is usual, how long is not yet too long, both in seconds, and the former in words."""
        took = self._took.get((part.model, part.task), ()) if part.span is not None else ()
        if len(took) >= OTHERS:
            usual = statistics.median(took)
            return usual, OF_OTHERS * usual, f"others took {usual:.1f} s"
        return part.expected, OF_EXPECTED * part.expected, f"expected was {part.expected:.0f} s"
