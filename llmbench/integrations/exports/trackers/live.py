"""A run in trackers while it goes: how far each model is, and the scores of each finished cell."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llmbench import storage
from llmbench.errors import LlmbenchError
from llmbench.integrations.exports.registry import Target
from llmbench.integrations.exports.target import Live, LiveSender, Source, Tracked
from llmbench.integrations.exports.trackers.tracked import name_metric, read_values
from llmbench.results.record import Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmbench.runner.progress import Watcher

EVERY = 5.0  # seconds between two reports of one piece of work


@dataclass
class Feed:
    """A tracker that is fed by a thread of its own, so that a slow server holds up no run. What
    goes wrong ends it; `error` says what.
    """

    target: Target
    place: Path
    uri: str | None
    error: str = ""
    _rows: queue.SimpleQueue[tuple[Tracked, Mapping[str, float], int] | None] = field(
        default_factory=queue.SimpleQueue
    )

    def __post_init__(self) -> None:
        self._live: Live | None = None
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def put(self, tracked: Tracked, values: Mapping[str, float], step: int) -> None:
        """Have values logged soon."""
        if not self.error:
            self._rows.put((tracked, dict(values), step))

    def finish(self, source: Source) -> str:
        """Log what is left, and the whole run; return how to look at it. Raises UsageError."""
        self._rows.put(None)
        self._thread.join()
        maker = cast(LiveSender, self.target.load())
        if self.error or self._live is None:  # again from the beginning, which tells what is wrong
            self._live = maker.Live(self.place, self.uri)
        return self._live.finish(maker.make(source))

    def _feed(self) -> None:
        try:
            self._live = cast(LiveSender, self.target.load()).Live(self.place, self.uri)
            while (row := self._rows.get()) is not None:
                self._live.log(*row)
        except (LlmbenchError, OSError) as error:
            self.error = str(error)


class LiveWatcher:
    """A watcher of a run that also tells trackers. While a clock is running it tells them
    nothing: that would take part of a core. `models`: those that have a run there.
    """

    def __init__(
        self,
        watcher: Watcher,
        feeds: Sequence[Feed],
        suite: str,
        out: Path,
        models: Collection[str],
    ):
        self._watcher, self._feeds, self._suite, self._out = watcher, feeds, suite, out
        self._models = models
        self._told: dict[tuple[str, str], float] = {}
        self._steps: dict[str, int] = {}
        self._held: list[Callable[[], None]] | None = None

    def progress(self, name: str, what: str, share: float, remark: str) -> None:
        """Tell the share of a piece of work that is done, at most every EVERY seconds."""
        self._watcher.progress(name, what, share, remark)
        now = time.monotonic()
        if name not in self._models:  # it is of the run itself, such as the comparison of models
            return
        if self._held is None and now - self._told.get((name, what), -EVERY) >= EVERY:
            self._told[name, what] = now
            self._tell(name, {name_metric("progress", what): share}, self._count(name))

    def cell(self, name: str, task: str, outcome: str) -> None:
        """Tell the scores of a cell, if it is done."""
        self._watcher.cell(name, task, outcome)
        if self._held is not None:
            self._held.append(lambda: self._tell_cell(name, task))
        else:
            self._tell_cell(name, task)

    def _tell_cell(self, name: str, task: str) -> None:
        try:
            cell = storage.read_sealed(self._out / "cells" / name / f"{task}.json")
            scores = [
                Score.model_validate({"model": name, "task": task, **row}) for row in cell["scores"]
            ]
        except (OSError, ValueError, KeyError):  # it failed, and its failure is told at the end
            return
        self._tell(name, read_values(scores)[0], 0)

    def _count(self, name: str) -> int:
        self._steps[name] = self._steps.get(name, 0) + 1
        return self._steps[name]

    def _tell(self, name: str, values: Mapping[str, float], step: int) -> None:
        for feed in self._feeds:
            feed.put(Tracked(name, self._suite, {}, {}, {}), values, step)

    @contextmanager
    def pause_drawing(self, task: str) -> Iterator[None]:
        """Hold what there is to tell until this ends."""
        self._held = []
        try:
            with self._pause(task):
                yield
        finally:
            held, self._held = self._held, None
            for tell in held:
                tell()

    def _pause(self, task: str) -> AbstractContextManager[None]:
        return self._watcher.pause_drawing(task)

    def model(self, name: str, number: int, count: int) -> None:
        self._watcher.model(name, number, count)

    def stop(self) -> None:
        self._watcher.stop()

    def over(self, name: str) -> None:
        self._watcher.over(name)

    def warn(self, text: str) -> None:
        self._watcher.warn(text)
