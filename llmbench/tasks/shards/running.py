"""A task, shard by shard: each is asked and kept by itself, and then the task puts the whole
together from what was kept.

Its numbers do not depend on which worker computed a shard, nor on when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from llmbench import limits, storage
from llmbench.adapter import Adapter, Progress
from llmbench.errors import close_early
from llmbench.results.outcome import Outcome
from llmbench.tasks.shards.cutting import cut, size_shards
from llmbench.tasks.shards.files import Shelf
from llmbench.tasks.shards.recording import Answer, Ask, Kept, Kind, Recorder, digest, listen
from llmbench.tasks.task import Task

Claim = Callable[[Sequence[int]], Iterable[tuple[int, int]]]


def find_edges(task: Task, adapter: Adapter) -> list[int]:
    """Return the edges of a task's shards; at most two if it is not divided."""
    sizes = task.size_items(adapter)
    if len(sizes) < 2 or max(sizes) > limits.WHOLE_ITEM_BYTES:
        return [0, len(sizes)]
    info = adapter.info
    return cut(sizes, size_shards(info.parameters, info.device))


def run_shards(
    task: Task,
    adapter: Adapter,
    progress: Progress,
    shelf: Shelf,
    claim: Claim = pairwise,
    helps: bool = False,
) -> Outcome:
    """Run a task that may be divided. What the shelf holds of it is not asked again.

    claim: edges -> the shards that are computed here; when it ends, the shelf holds the others.
    helps: nothing but shards is computed, and the outcome is empty.
    """
    edges = find_edges(task, adapter)
    if len(edges) <= 2:
        return Outcome([], []) if helps else task.run(adapter, progress)
    fill_shelf(task, adapter, progress, shelf, claim(edges), edges[-1])
    if helps:
        return Outcome([], [])
    # another worker may have had other weights: a model file can draw them when it is loaded
    fill_shelf(task, adapter, progress, shelf, pairwise(edges), edges[-1])
    with listen(Replayer(shelf, edges)):
        return task.run(adapter, progress)


def fill_shelf(
    task: Task,
    adapter: Adapter,
    progress: Progress,
    shelf: Shelf,
    spans: Iterable[tuple[int, int]],
    whole: int,
) -> None:
    """Ask those of these shards that the shelf does not hold. whole: the number of all items."""
    for first, last in spans:
        if shelf.read(first, last) is not None:
            continue

        def report(
            what: str, share: float, remark: str, at: int = first, n: int = last - first
        ) -> None:
            progress(what, (at + share * n) / whole, remark)

        recorder = Recorder()
        with listen(recorder):
            task.take(first, last).ask(adapter, report)
        shelf.write(first, last, recorder.kept)


class Replayer:
    """Gives the answers of shards instead of asking; what they lack is asked."""

    def __init__(self, shelf: Shelf, edges: Sequence[int]):
        self._shelf, self._edges = shelf, list(edges)
        self._held: tuple[int, dict[Kind, Kept]] = (-1, {})
        self._next: dict[Kind, tuple[int, int]] = {}  # (shard, answer in it) that comes next
        self._found: dict[Kind, dict[bytes, tuple[int, int]]] = {}

    def answer(
        self, kind: Kind, asked: Sequence[Any], how: str, ask: Ask[Answer]
    ) -> Iterator[Answer]:
        for number, one in enumerate(asked):
            place = self._find(kind, digest(how, one))
            if place is None:
                yield from self._answer_rest(kind, asked[number:], how, ask)
                return
            yield self._load(place[0])[kind].answers[place[1]]

    def _answer_rest(
        self, kind: Kind, asked: Sequence[Any], how: str, ask: Ask[Answer]
    ) -> Iterator[Answer]:
        """Answer when something was not kept: all of that is asked at once."""
        places = [self._find(kind, digest(how, one)) for one in asked]
        lacking = [one for one, place in zip(asked, places, strict=True) if place is None]
        with close_early(iter(ask(lacking))) as fresh:
            for place in places:
                if place is not None:
                    yield self._load(place[0])[kind].answers[place[1]]
                elif (answer := next(fresh, None)) is not None:
                    yield answer
            yield from fresh  # too many are an error, which the task will find

    def _find(self, kind: Kind, wanted: bytes) -> tuple[int, int] | None:
        """Where the answer to a question is: as a rule, after the one that was asked for last."""
        shard, at = self._next.get(kind, (0, 0))
        while shard < len(self._edges) - 1:
            kept = self._load(shard).get(kind)
            if kept is not None and at < len(kept.digests):
                break
            shard, at = shard + 1, 0
        else:
            return self._search(kind, wanted)
        if kept.digests[at] != wanted:
            return self._search(kind, wanted)
        self._next[kind] = (shard, at + 1)
        return shard, at

    def _search(self, kind: Kind, wanted: bytes) -> tuple[int, int] | None:
        """Look in all shards for an answer that is asked for out of turn."""
        if kind not in self._found:
            self._found[kind] = {
                found: (shard, at)
                for shard in range(len(self._edges) - 1)
                if kind in self._load(shard)
                for at, found in enumerate(self._load(shard)[kind].digests)
            }
        return self._found[kind].get(wanted)

    def _load(self, shard: int) -> dict[Kind, Kept]:
        """The answers of a shard, held until another one is asked for."""
        if self._held[0] != shard:
            found = self._shelf.read(self._edges[shard], self._edges[shard + 1])
            if found is None:
                name = self._shelf.name(self._edges[shard], self._edges[shard + 1])
                raise storage.Damaged(f"{self._shelf.folder / name} was changed while it was used")
            self._held = shard, found
        return self._held[1]
