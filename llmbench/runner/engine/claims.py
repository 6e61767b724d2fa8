"""Which worker computes which shard of a cell."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from llmbench import limits
from llmbench.runner.folder.shards import Claimed

Cell = tuple[str, str]  # model and task
Span = tuple[int, int]  # the first item of a shard, and the one after its last


@dataclass
class _Work:
    """A divided cell. `held`: shard -> the number of the worker that computes it."""

    waiting: deque[Span]
    held: dict[Span, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    deaths: Counter[Span] = field(default_factory=Counter)
    refused: str = ""


class Claims:
    """The shards of a run, for its threads. Workers are told apart by numbers."""

    def __init__(self) -> None:
        self._work: dict[Cell, _Work] = {}
        self._over: set[Cell] = set()
        self._changed = threading.Condition()
        self._is_over = False

    def claim(self, cell: Cell, edges: Sequence[int], worker: int, *, waits: bool) -> Claimed:
        """Return the next shard that nobody has. If there is none, and the worker `waits`, return
        when all are there, or when one comes back from a worker that ended.
        """
        with self._changed:
            if cell in self._over and not waits:
                return {"span": None, "shards": {}}
            if cell not in self._work:
                self._work[cell] = _Work(deque(pairwise(edges)))
                self._changed.notify_all()
            work = self._work[cell]
            self._let_go(work, worker)
            while waits and work.held and not (work.waiting or work.refused or self._is_over):
                self._changed.wait(limits.WAIT_SECONDS)
            if work.refused or self._is_over:
                return {"span": None, "shards": {}, "refused": work.refused or "the run ends"}
            if not work.waiting:
                return {"span": None, "shards": dict(work.files)}
            span = work.waiting.popleft()
            work.held[span] = worker
            return {"span": list(span), "shards": {}}

    def _let_go(self, work: _Work, worker: int) -> None:
        """What a worker had is done when it asks for more."""
        for span in [span for span, owner in work.held.items() if owner == worker]:
            del work.held[span]
            self._changed.notify_all()

    def add_file(self, cell: Cell, name: str, digest: str) -> None:
        """Note the file of a shard."""
        with self._changed:
            if cell in self._work:
                self._work[cell].files[name] = digest

    def take_back(self, worker: int, *, is_gone: bool = False) -> bool:
        """Give the shards of a worker that died to others. Returns whether it had any, and none of
        them has ended too many workers; a cell with such a shard is given up. is_gone: its place
        went away, which is no fault of a shard.
        """
        with self._changed:
            had, is_fine = False, True
            for (_, task), work in self._work.items():
                for span in [span for span, owner in work.held.items() if owner == worker]:
                    had = True
                    del work.held[span]
                    work.deaths[span] += not is_gone
                    work.waiting.appendleft(span)
                    if work.deaths[span] >= limits.DEATHS:
                        is_fine = False
                        work.refused = (
                            f"the items {span[0]} to {span[1] - 1} of {task} ended"
                            f" {work.deaths[span]} workers"
                        )
            self._changed.notify_all()
            return had and is_fine

    def drop(self, cell: Cell) -> None:
        """Forget a cell: it is written, or has failed."""
        with self._changed:
            self._work.pop(cell, None)
            self._over.add(cell)
            self._changed.notify_all()

    def find_needy(self) -> str | None:
        """Return the model with the most shards that nobody has, if there are several."""
        with self._changed:
            waiting = Counter[str]()
            for (model, _), work in self._work.items():
                waiting[model] += 0 if work.refused else len(work.waiting)
        model, count = max(waiting.items(), key=lambda item: item[1], default=("", 0))
        return model if count > 1 else None

    @property
    def is_over(self) -> bool:
        """Whether the run ends before its work."""
        return self._is_over

    def end(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
