"""Two models held against each other, item by item: what differs, whether that is proven, and which
items are behind it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llmbench.errors import UsageError, did_you_mean
from llmbench.metrics.facts import VOTES
from llmbench.results.matching import (
    Met,
    Pair,
    Wanted,
    list_aside,
    meet,
    refuse_judges,
    same_machine,
)
from llmbench.results.paired_tests import (
    Difference,
    add_noise,
    alpha_of,
    items_needed,
    judge,
)
from llmbench.results.parents.differences import list_relations
from llmbench.results.ranking import Below, find_below
from llmbench.results.record import Score, is_memory, key_of, metric_of
from llmbench.stats import Verdict, holm

RELATIVE = (
    "bytes/s",
    "tokens/s",
    "seconds",
)  # units in which a difference is a share, as it is of memory


@dataclass(frozen=True)
class Row:
    """A against B by one metric of one task. `difference`: A - B with its 95 % interval over `n`
    items (where `relative`, A/B - 1); `p`: Holm's, over all rows; None where there is no such
    number. `proven`: whether p is low enough. `reason`: why a verdict is unclear or not comparable.
    `left_out`: items that the metric counts on one side alone, which are in that side's value and
    in no test.
    """

    model_a: str
    model_b: str
    task: str
    metric: str
    unit: str
    better: str | None
    a: float | None
    b: float | None
    verdict: Verdict
    reason: str = ""
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    relative: bool = False
    n: int = 0
    p: float | None = None
    proven: bool = False
    test: str = ""
    left_out: int = 0

    @property
    def is_memory(self) -> bool:
        """Whether its bytes are of memory, and not of text."""
        return self.unit == "bytes" and is_memory(self.metric.partition(":")[0])


@dataclass(frozen=True)
class Moved:
    """An item, and what it is by either model, in the metric's unit."""

    model_a: str
    model_b: str
    task: str
    metric: str
    id: str
    a: float
    b: float
    difference: float


@dataclass(frozen=True)
class Flip:
    """A question that one model alone answered rightly, and what both said."""

    model_a: str
    model_b: str
    task: str
    metric: str
    id: str
    right: str  # a or b
    input: str = ""
    reference: str = ""
    said_a: str = ""
    said_b: str = ""


@dataclass(frozen=True)
class Flipped:
    """How many questions one model alone answered rightly."""

    model_a: str
    model_b: str
    task: str
    metric: str
    only_a: int
    only_b: int


@dataclass(frozen=True)
class Missing:
    """Items that only the other side has."""

    model: str
    side: str  # a or b: the one that lacks them
    task: str
    metric: str
    ids: list[str]


@dataclass(frozen=True)
class Comparison:
    """All of it. `moved`, `flips`: the foremost items of each row. `flipped`: how many flips there
    are, for each row that has answers. `tests`: how many rows could be tested. `below`: who is
    worse than chance, or than the most common right answer.
    """

    name_a: str
    name_b: str
    facts: list[tuple[str, str]]
    rows: list[Row]
    tests: int
    moved: list[Moved] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)
    flipped: list[Flipped] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    below: list[Below] = field(default_factory=list)


def compare(
    names: tuple[str, str], pairs: Sequence[Pair], metrics: Collection[str] = (), top: int = 5
) -> Comparison:
    """Every metric with a direction, or those that `metrics` name, of each pair of models; `top`
    items of each. UsageError for an unknown metric.
    """
    refuse_judges(metrics)
    known = {
        name
        for pair in pairs
        for side in pair
        for score in side.scores().values()
        for name in (score.metric, key_of(score))
    }
    for name in metrics:
        if name not in known:
            raise UsageError(f"no score is called {name!r} here", hint=did_you_mean(name, known))

    def is_wanted(score: Score) -> bool:
        if score.member:  # the whole group says as much, and each one costs all tests power
            return key_of(score) in metrics
        return (
            bool({score.metric, key_of(score)} & set(metrics))
            if metrics
            else score.better is not None and not metric_of(score).repeats
        )

    met = [one for pair in pairs for one in meet(pair, is_wanted, in_turns=True)]
    met = [one for one in met if metrics or one.items or not metric_of(one.score).is_derived]
    rows, tests = _rows(met)
    flips = [
        (one, _find_flips(one, "a"), _find_flips(one, "b"))
        for one in met
        if one.items and one.kind == "share" and one.score.better == "higher"
    ]
    return Comparison(
        *names,
        facts=[*_facts(pairs), *_describe_left_out(met), *list_aside(pairs, metrics)],
        rows=rows,
        tests=tests,
        moved=[found for one in met for found in _rank_moved(one, top)],
        flips=[
            _flip(one, right, at)
            for one, *both in flips
            for right, places in zip("ab", both, strict=True)
            for at in places[:top]
        ],
        flipped=[Flipped(*_names(one), len(a), len(b)) for one, a, b in flips],
        missing=[found for one in met for found in _list_missing(one)],
        below=find_below([named for one in met for named in _name_scores(one, len(pairs) > 1)]),
    )


def rows_of(pairs: Sequence[Pair], wanted: Wanted) -> list[Row]:
    """The rows of every wanted score that either side has; rates that were measured in different
    sessions are compared all the same.
    """
    return _rows([one for pair in pairs for one in meet(pair, wanted, in_turns=False)])[0]


def _rows(met: Sequence[Met]) -> tuple[list[Row], int]:
    """A row each, p corrected over all that could be tested; and how many these are."""
    tests = sum(bool(one.items) for one in met)
    found = {i: one.test(tests) for i, one in enumerate(met) if one.items}
    corrected = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
    return [
        _build_tested_row(one, found[i], corrected[i], tests)
        if i in found
        else _build_untested_row(one)
        for i, one in enumerate(met)
    ], tests


def _names(met: Met) -> tuple[str, str, str, str]:
    return met.sides[0].model, met.sides[1].model, met.task, met.key


def _name_scores(met: Met, several: bool) -> list[tuple[str, Score]]:
    """The scores of both sides, each with what its model is called. `several`: models in a run."""
    return [
        (f"{name} ({side.model})" if several else name, score)
        for name, side, score in zip("AB", met.sides, met.scores, strict=True)
        if score is not None
    ]


def _describe_left_out(met: Sequence[Met]) -> list[tuple[str, str]]:
    """What is left out of the tasks that are compared: a fact for each that differs."""
    found = {
        (one.task, notes.describe()): None
        for one in met
        for side, score in zip(one.sides, one.scores, strict=True)
        if score is not None
        and score.left_out
        and (notes := side.opened.record.notes.left_out.get(one.task)) is not None
    }
    return list(found)


def _values(met: Met) -> tuple[float | None, float | None]:
    one, other = (None if score is None else float(score.value) for score in met.scores)
    return one, other


def _is_relative(score: Score) -> bool:
    return score.unit in RELATIVE or (score.unit == "bytes" and is_memory(score.metric))


def _build_untested_row(met: Met) -> Row:
    score, (a, b) = met.score, _values(met)
    relative, bare = _is_relative(score), None
    if (
        a is not None
        and b is not None
        and math.isfinite(a)
        and math.isfinite(b)
        and met.stop[0] != "not comparable"
    ):
        bare = a - b if not relative else a / b - 1 if b else None
    return Row(
        *_names(met),
        score.unit,
        score.better,
        a,
        b,
        *met.stop,
        difference=bare,
        relative=relative,
        n=score.n,
    )


def _build_tested_row(met: Met, found: Difference, p: float, tests: int) -> Row:
    score, seen = met.score, found.interval
    relative = _is_relative(score)
    noise = math.fsum(float(one.noise or 0) for one in met.scores if one is not None)
    if noise:
        found, p = add_noise(found, p, noise)
        seen = found.interval
    said = judge(metric_of(score), score.better, found, p)
    needed = 2 if met.kind == "rate" else items_needed(tests)
    reason = (
        f"{seen.n} {'item is' if seen.n == 1 else 'items are'} too few to prove anything: {needed}"
        " would be needed"
        if said == "unclear" and seen.n < needed
        else ""
    )
    if said == "unclear" and noise and not reason:
        reason = f"the engine's noise is up to {noise:.4f} {score.unit}"
    reason = reason if score.better is not None else "neither less nor more of it is better"
    value, low, high = (
        None if end is None else math.expm1(end) if relative else end
        for end in (seen.value, seen.low, seen.high)
    )
    unit = metric_of(score).difference_unit
    row = Row(
        *_names(met),
        unit,
        score.better,
        *_values(met),
        said,
        reason,
        value,
        low,
        high,
        relative,
        seen.n,
        p,
        p <= alpha_of(metric_of(score)),
    )
    return replace(row, test=found.test, left_out=met.left_out)


def _rank_moved(met: Met, top: int) -> list[Moved]:
    """The `top` items of bits and of means that are furthest apart, these first."""
    if met.kind not in ("bits", "mean", "ratio", "items") or not met.items:
        return []
    if met.score.metric == VOTES:  # pseudo-values, which say nothing one by one
        return []
    x, y = (np.asarray(rows, dtype=np.float64) for rows in met.rows)
    counted = np.flatnonzero((x[:, 1] != 0) & (y[:, 1] != 0))
    a, b = x[counted, 0] / x[counted, 1], y[counted, 0] / y[counted, 1]
    order = np.argsort(-np.abs(a - b), kind="stable")[:top]
    found = [(met.items.key(int(counted[i])), float(a[i]), float(b[i])) for i in order]
    return [
        Moved(*_names(met), key, one, other, one - other)
        for key, one, other in found
        if one != other
    ]


def _find_flips(met: Met, right: str) -> list[int]:
    """The places of the questions that A alone ("a") or B alone ("b") answered rightly."""
    x, y = (np.asarray(rows, dtype=np.float64)[:, 0] for rows in met.rows)
    places: list[int] = np.flatnonzero(x > y if right == "a" else x < y).tolist()
    return places


def _flip(met: Met, right: str, at: int) -> Flip:
    score = met.score
    part = score.variant.removesuffix(score.member).strip(":") if score.member else ""
    norm = part or score.norm
    output = "output" if norm == "none" else f"output:{norm}"
    one, other = met.items.read_said(at)
    return Flip(
        *_names(met),
        met.items.key(at),
        right,
        one.get("input", ""),
        one.get("reference", ""),
        one.get(output, ""),
        other.get(output, ""),
    )


def _list_missing(met: Met) -> list[Missing]:
    sides = zip(met.sides, "ab", met.missing, strict=True)
    return [
        Missing(side.model, name, met.task, met.key, list(ids)) for side, name, ids in sides if ids
    ]


def _facts(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """What is to be known about the two runs, where they are two."""
    one, other = pairs[0][0].opened, pairs[0][1].opened
    suites = [f"{run.record.suite.name} version {run.record.suite.version}" for run in (one, other)]
    if one.path == other.path:
        run = [("run", str(one.path)), ("suite", suites[0]), ("finished", one.record.finished)]
        return [*run, *list_relations(pairs)]
    facts = [
        (f"run {name}", f"{run.path}, {suite}, {run.record.finished}")
        for name, run, suite in zip("AB", (one, other), suites, strict=True)
    ]
    prints = [
        [
            {row.name: row.fingerprint for row in side.opened.record.models}.get(side.model)
            for side in pair
        ]
        for pair in pairs
    ]
    changed = [pair[0].model for pair, (a, b) in zip(pairs, prints, strict=True) if a != b]
    facts.append(("other weights", ", ".join(changed) or "none"))
    return [*facts, ("machine", "the same" if same_machine(one, other) else "another")]
