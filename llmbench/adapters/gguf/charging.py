"""Bits of many texts by one engine: many in one call, and what several begin with read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from llmbench.adapters.gguf.engine import BATCH, SEQUENCES
from llmbench.inference.token_bits import token_bits

FEW = 8  # ids before a text: fewer are read again with each, which spares a call


class Place(NamedTuple):
    """An id at its place in a sequence; `target`: the one after it, if `job` is charged for it."""

    row: int
    id: int
    at: int
    target: int | None
    job: int = -1


@dataclass
class Job:
    """Ids of which those from `first` on are charged."""

    number: int
    ids: list[int]
    first: int

    @property
    def before(self) -> tuple[int, ...]:
        """What is read once for all texts after it, and not charged; a start symbol is not."""
        return tuple(self.ids[: self.first]) if self.first >= FEW else ()


def charge(
    engine: Any, begin: Callable[[], None], jobs: Sequence[tuple[NDArray[np.int64], int]]
) -> list[NDArray[np.float64]]:
    """Return the bits of ids[first:] of each job, in order.

    begin: empties the engine's memory.
    """
    ordered = sorted(
        (Job(number, ids.tolist(), first) for number, (ids, first) in enumerate(jobs)),
        key=lambda job: (job.before, job.number),
    )
    found: dict[int, NDArray[np.float64]] = {}
    for group in _group(ordered, engine.room):
        begin()
        found |= _charge_group(engine, group)
    return [found[number] for number in range(len(jobs))]


def _group(jobs: Sequence[Job], room: int) -> Iterator[list[Job]]:
    """Jobs that fit in memory together."""
    group, taken, heads = list[Job](), 0, 0
    for job in jobs:
        is_shared = bool(group) and group[-1].before == job.before
        new = len(job.ids) - 1 - is_shared * len(job.before)
        rows = heads + len(group) + 2 - is_shared  # a sequence a head, and one a job
        if group and (taken + new > room or rows > SEQUENCES):
            yield group
            group, taken, heads = [], 0, 0
            is_shared, new = False, len(job.ids) - 1
        group.append(job)
        taken, heads = taken + new, heads + (not is_shared)
    if group:
        yield group


def _charge_group(engine: Any, jobs: Sequence[Job]) -> dict[int, NDArray[np.float64]]:
    heads = {before: row for row, before in enumerate(dict.fromkeys(job.before for job in jobs))}
    asked: dict[tuple[int, ...], list[Job]] = {before: [] for before in heads}
    for job in jobs:
        asked[job.before].append(job)
    rows = _read(engine, [place for b, row in heads.items() for place in _head(b, row)])
    bits: dict[int, list[NDArray[np.float64]]] = {job.number: [] for job in jobs}
    shared = {before: some for before, some in asked.items() if before}
    for (before, some), row_after in zip(shared.items(), rows, strict=True):
        first = torch.from_numpy(row_after)[None].expand(len(some), -1)
        charged = token_bits(first, np.array([job.ids[len(before)] for job in some]))
        for job, value in zip(some, charged, strict=True):
            bits[job.number].append(np.array([value]))
    places = list[Place]()
    for row, job in enumerate(jobs, start=len(heads)):
        if job.before:
            engine.share(heads[job.before], row)
        for at in range(len(job.before), len(job.ids) - 1):
            target = job.ids[at + 1] if at + 1 >= job.first else None
            places.append(Place(row, job.ids[at], at, target, job.number))
    for begun in range(0, len(places), BATCH):
        part = places[begun : begun + BATCH]
        found = list(_read(engine, part))
        if not found:
            continue
        asked_now = [place for place in part if place.target is not None]
        targets = np.array([place.target for place in asked_now])
        charged = token_bits(torch.from_numpy(np.stack(found)), targets)
        whose = np.array([place.job for place in asked_now])
        for number in dict.fromkeys(whose.tolist()):
            bits[number].append(charged[whose == number])
    return {number: np.concatenate(parts) for number, parts in bits.items()}


def _head(before: tuple[int, ...], row: int) -> list[Place]:
    """The ids before a text, of which the last one predicts."""
    last = len(before) - 1
    return [Place(row, id, at, -1 if at == last else None) for at, id in enumerate(before)]


def _read(engine: Any, places: Sequence[Place]) -> Iterator[NDArray[np.float32]]:
    """Yield the (V,) logits after each place that has a target."""
    for begun in range(0, len(places), BATCH):
        part = places[begun : begun + BATCH]
        yield from engine.read(
            [place.row for place in part],
            [place.id for place in part],
            [place.at for place in part],
            [place.target is not None for place in part],
            steady=True,
        )
