"""What two models have in common: which of their scores are of the same question, and which items
these were made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from llmbench.errors import UsageError, did_you_mean
from llmbench.metrics.facts import JUDGED
from llmbench.results import signature
from llmbench.results.paired_tests import Difference, Rows, difference, is_consistent
from llmbench.results.record import Score, is_memory, key_of, metric_of
from llmbench.results.samples import Opened, statistic_of
from llmbench.results.tables.deviations import find_difference
from llmbench.results.tables.items import ItemTable
from llmbench.stats import Verdict

NAMED = 5  # items that a reason names
MEAN_STATISTICS = 5  # of an item of a mean over tasks: see tables/means.py
Wanted = Callable[[Score], bool]
Stop = tuple[Verdict, str]  # what is to be said where no test can be made, and why


@dataclass(frozen=True)
class Side:
    """A model of a run."""

    opened: Opened
    model: str

    def scores(self) -> dict[tuple[str, str], Score]:
        """By task and record.key_of."""
        return {
            (score.task, key_of(score)): score
            for score in self.opened.record.scores
            if score.model == self.model
        }

    def why_absent(self, task: str) -> str:
        """Why a score of a task is not there, as far as the run says."""
        failures = [
            row
            for row in self.opened.record.failures
            if row.model == self.model and row.task == task
        ]
        return f"{failures[0].reason}: {failures[0].message}" if failures else "it was not measured"


Pair = tuple[Side, Side]


@dataclass(frozen=True)
class Items:
    """The items that two sides have in common: their numbers in either side's table."""

    tables: tuple[ItemTable, ItemTable]
    numbers: tuple[NDArray[np.int64], NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.numbers[0])

    def key(self, at: int) -> str:
        """What pair number `at` is called."""
        return self.tables[0].keys[int(self.numbers[0][at])]

    def read_said(self, at: int) -> tuple[dict[str, str], dict[str, str]]:
        """What was said of it on either side."""
        one, other = (
            table.read_said(int(numbers[at]))
            for table, numbers in zip(self.tables, self.numbers, strict=True)
        )
        return one, other

    @property
    def are_in_turns(self) -> bool:
        """Whether all were measured in the same session on both sides."""
        one, other = (table.sessions for table in self.tables)
        if not one.size and not other.size:
            return True
        return all(one[i] == other[j] for i, j in zip(*self.numbers, strict=True))


NONE = np.empty(0, dtype=np.int64)
NO_ITEMS = Items((ItemTable(), ItemTable()), (NONE, NONE))


@dataclass(frozen=True)
class Met:
    """Two models' scores of the same name. `items`: pairs of items, and `rows` their statistics,
    where a test can be made; `stop`: why not, else.
    `missing`: the ids of the items that either side lacks; `left_out`: how many have no statistics
    of the metric on one side.
    """

    sides: Pair
    task: str
    key: str
    scores: tuple[Score | None, Score | None]
    items: Items = NO_ITEMS
    rows: tuple[Rows, Rows] = ((), ())
    stop: Stop = ("unclear", "")
    missing: tuple[Sequence[str], Sequence[str]] = ((), ())
    left_out: int = 0

    @property
    def score(self) -> Score:
        """Either side's, for what both have in common."""
        found = self.scores[0] or self.scores[1]
        assert found is not None
        return found

    @property
    def kind(self) -> str:
        """The kind of its test; "" where it has none."""
        return metric_of(self.score).test

    def test(self, tests: int) -> Difference:
        """Return the difference of two scores that have items. tests: see `difference`."""
        a, b = (None if one is None else float(one.value) for one in self.scores)
        moves = [
            side.opened.deviations.get((side.model, self.task, self.key)) for side in self.sides
        ]
        if a is not None and b is not None and moves[0] and moves[1]:
            interval, p, over = find_difference(a - b, moves[0], moves[1])
            return Difference(interval, p, f"t over {over}")
        in_turns = self.items.are_in_turns
        return difference(metric_of(self.score), *self.rows, tests=tests, in_turns=in_turns)


def meet(pair: Pair, wanted: Wanted, in_turns: bool) -> Iterator[Met]:
    """Every wanted score that either side has. `in_turns`: whether rates must have been measured in
    one session.
    """
    left, right = pair[0].scores(), pair[1].scores()
    items = cache(lambda i, task: pair[i].opened.table(pair[i].model, task))
    for task, key in dict.fromkeys((*left, *right)):
        one, other = left.get((task, key)), right.get((task, key))
        if not any(wanted(score) for score in (one, other) if score is not None):
            continue
        met = Met(pair, task, key, (one, other))
        if one is None or other is None:
            lacking = pair[0] if one is None else pair[1]
            yield _stop(
                met,
                (
                    "not comparable",
                    f"{lacking.model} has no such score: {lacking.why_absent(task)}",
                ),
            )
        elif stop := _scores_differ(one, other):
            yield _stop(met, stop)
        else:
            yield _with_items(met, (one, other), (items(0, task), items(1, task)), in_turns)


def _stop(met: Met, stop: Stop, missing: tuple[Sequence[str], Sequence[str]] = ((), ())) -> Met:
    return Met(met.sides, met.task, met.key, met.scores, stop=stop, missing=missing)


def _scores_differ(one: Score, other: Score) -> Stop | None:
    """Why two scores cannot be compared, before their items are looked at."""
    if one.signature != other.signature:
        return (
            "not comparable",
            f"signatures differ in {signature.difference(one.signature, other.signature)}",
        )
    if not all(math.isfinite(score.value) for score in (one, other)):
        return "unclear", "infinite: no test can be run"
    if not (metric := metric_of(one)).test:
        why = "no paired test: it is not a mean over the items" if metric.is_custom else ""
        why = why or "there is no paired test for it"
        return "unclear", "measured once, so without a test" if is_memory(one.metric) else why
    return None


def _with_items(
    met: Met,
    scores: tuple[Score, Score],
    tables: tuple[ItemTable, ItemTable],
    in_turns: bool,
) -> Met:
    """The items of both sides, in pairs, or why that cannot be."""
    a, b = (
        table.find_rows(statistic_of(score)) for table, score in zip(tables, scores, strict=True)
    )
    for side, (numbers, _) in zip(met.sides, (a, b), strict=True):
        if not len(numbers):
            return _stop(
                met,
                (
                    "unclear",
                    f"the samples of {side.model} are missing, so no test is possible",
                ),
            )
    places, missing = _pair_items(tables, (a[0], b[0]))
    if any(missing):
        said = [
            f"{len(ids)} of {side.model} ({_name_some(ids)})"
            for side, ids in zip(met.sides, missing, strict=True)
            if ids
        ]
        return _stop(met, ("not comparable", f"items are missing: {' and '.join(said)}"), missing)
    if not len(places[0]):
        return _stop(
            met,
            (
                "unclear",
                "there is no item that the metric counts on both sides: no test can be run",
            ),
        )
    items = Items(tables, (a[0][places[0]], b[0][places[1]]))
    rows = _take(a[1], places[0]), _take(b[1], places[1])
    stop = _rows_differ(metric_of(scores[0]).test, rows)
    if stop is None and in_turns and met.kind == "rate" and not items.are_in_turns:
        stop = "not comparable", "measured in different sessions"
    stop = stop or _items_contradict(met, scores, (a[1], b[1]))
    if stop is not None:
        return _stop(met, stop)
    left_out = len(a[0]) + len(b[0]) - 2 * len(items)
    return Met(met.sides, met.task, met.key, met.scores, items, rows, left_out=left_out)


Places = tuple[NDArray[np.int64], NDArray[np.int64]]


def _pair_items(
    tables: tuple[ItemTable, ItemTable], numbers: Places
) -> tuple[Places, tuple[list[str], list[str]]]:
    """The places in `numbers` of the items that both have, in the order of the first; and the keys
    that stand in the numbers of one side alone and nowhere on the other.
    """
    one, other = (table.keys for table in tables)
    if all(x == y for x, y in zip(one.frames(), other.frames(), strict=True)):
        _, first, second = np.intersect1d(*numbers, assume_unique=True, return_indices=True)
        return (first, second), ([], [])
    asked = set(one), set(other)
    lacking = (
        [key for i in numbers[1] if (key := other[i]) not in asked[0]],
        [key for i in numbers[0] if (key := one[i]) not in asked[1]],
    )
    place = {other[i]: at for at, i in enumerate(numbers[1])}
    pairs = [(at, place[key]) for at, i in enumerate(numbers[0]) if (key := one[i]) in place]
    found = np.asarray(pairs, dtype=np.int64).reshape(len(pairs), 2)
    return (found[:, 0], found[:, 1]), lacking


def _take(rows: Rows, places: NDArray[np.int64]) -> Rows:
    """These rows; a matrix, unless their lengths differ."""
    if isinstance(rows, np.ndarray):
        return rows[places]
    chosen = [rows[i] for i in places]
    return chosen if len({len(row) for row in chosen}) > 1 else np.asarray(chosen)


def _items_contradict(
    met: Met, scores: tuple[Score, Score], rows: tuple[Rows, Rows]
) -> Stop | None:
    """Why a score is not that of all its items, paired or not; None if both are."""
    for side, score, found in zip(met.sides, scores, rows, strict=True):
        if not is_consistent(metric_of(score), found, score.value):
            return (
                "unclear",
                f"the items of {side.model} do not give its score: they are of another run",
            )
    return None


def _rows_differ(kind: str, rows: tuple[Rows, Rows]) -> Stop | None:
    """Why statistics of the same items cannot be compared."""
    if not all(_are_finite(side) for side in rows):
        return "unclear", "infinite: no test can be run"
    x, y = rows
    if (
        not isinstance(x, np.ndarray)
        or not isinstance(y, np.ndarray)
        or x.shape != y.shape
        or x.shape[1] < 2
    ):
        return (
            "unclear",
            "the statistics of the items are not what this metric has: no test can be run",
        )
    if kind == "tasks" and (x.shape[1] != MEAN_STATISTICS or (x[:, 1:] != y[:, 1:]).any()):
        return "not comparable", "the items are not of the same size"
    if kind in ("bits", "mean", "share") and ((x[:, 1] != y[:, 1]) | (x[:, 1] <= 0)).any():
        return "not comparable", "the items are not of the same size"
    if kind == "rate" and min(x[:, 0].min(), y[:, 0].min()) <= 0:
        return "unclear", "a rate that is none: no test can be run"
    return None


def _are_finite(rows: Rows) -> bool:
    if isinstance(rows, np.ndarray):
        return bool(np.isfinite(rows).all())
    return all(math.isfinite(value) for row in rows for value in row)


def _name_some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (", …" if len(ids) > NAMED else "")


def same_machine(one: Opened, other: Opened) -> bool:
    """Whether times and memory of two runs are of one kind of machine."""
    kinds = [
        record.machine.kind(gpus=record.options.get("device") != "cpu")
        for record in (one.record, other.record)
    ]
    return kinds[0] == kinds[1]


def within(run: Opened, model_a: str, model_b: str) -> list[Pair]:
    """Two models of a run. UsageError where there is no such model."""
    names = [row.name for row in run.record.models]
    for name in (model_a, model_b):
        if name not in names:
            raise UsageError(
                f"this run has no model {name!r}",
                where=str(run.path),
                hint=did_you_mean(name, names),
            )
    return [(Side(run, model_a), Side(run, model_b))]


def pair_runs(one: Opened, other: Opened, only: Collection[str] = ()) -> list[Pair]:
    """The models that two runs have in common. UsageError where there are none."""
    names = [
        row.name
        for row in one.record.models
        if row.name in {row.name for row in other.record.models}
    ]
    for name in only:
        if name not in names:
            raise UsageError(
                f"the two runs do not both have a model {name!r}", hint=did_you_mean(name, names)
            )
    names = [name for name in names if not only or name in only]
    if not names:
        raise UsageError(
            "the two runs have no model in common",
            where=f"{one.path}, {other.path}",
            hint="within one run: compare RUN MODEL_A MODEL_B",
        )
    return [(Side(one, name), Side(other, name)) for name in names]


def refuse_judges(names: Collection[str]) -> None:
    """Raise UsageError for the shares of a judge, which are no scores."""
    for name in names:
        if name.partition(":")[0] == JUDGED:
            raise UsageError(
                f"{name} is no score: what a judge prefers says how good a model is only as far as"
                " people agree",
                hint="its table in `llmbench report RUN` tests every pair; compare votes instead",
            )


def list_aside(pairs: Sequence[Pair], metrics: Collection[str]) -> list[tuple[str, str]]:
    """Return facts on what is not compared: metrics from outside, which have no direction, and
    the parts of groups.
    """
    scores = [score for pair in pairs for side in pair for score in side.scores().values()]
    names = {
        key_of(score) for score in scores if score.definition is not None and score.better is None
    }
    parts = {(score.task, score.member): key_of(score) for score in scores if score.member}
    if metrics:
        return []
    why = "neither less nor more of it is better; --metric NAME compares it"
    said = [("not compared", f"{', '.join(sorted(names))} ({why})")] if names else []
    if parts:
        some = f"{len(parts)} parts of groups; --metric {next(iter(parts.values()))} compares one"
        said.append(("not compared", some))
    return said
