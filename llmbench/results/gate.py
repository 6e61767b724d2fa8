"""Whether a run is worse than a reviewed record: by more than allowed, and by more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from llmbench.errors import UsageError, did_you_mean
from llmbench.metrics.facts import METRICS
from llmbench.results.compare import Row, rows_of
from llmbench.results.matching import Side, refuse_judges, same_machine
from llmbench.results.record import Score, key_of, metric_of
from llmbench.results.samples import Opened

ROUNDING = 1e-12
State = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Allowance:
    """`size` in the metric's unit; if `relative`, a share of the old value."""

    size: float
    relative: bool = False

    def of(self, value: float) -> float:
        """In the metric's unit."""
        return self.size * abs(value) if self.relative else self.size

    def __str__(self) -> str:
        return f"{100 * self.size:g} %" if self.relative else f"{self.size:g}"


def parse_allowance(text: float | str, where: str = "") -> Allowance:
    """Return the allowance that 0.01, "0.01" or "10%" says. Raises UsageError for anything else."""
    word = str(text).strip()
    try:
        size = float(word.removesuffix("%"))
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise UsageError(
            f"{word!r} is not a tolerance",
            where=where,
            hint="give a number >= 0 in the metric's unit, such as 0.01, or a share, such as 10%",
        )
    return Allowance(size / 100, True) if word.endswith("%") else Allowance(size)


DEFAULTS = {  # as much as makes a tie
    metric.name: Allowance(metric.tie)
    for metric in METRICS
    if metric.tie and not metric.depends_on_machine and not metric.repeats
}


@dataclass(frozen=True)
class Gated:
    """A score of the record and what became of it. `loss`: how much worse it is, in its unit, below
    0 where it is better; None where there is no such number. `why`: of what failed or was skipped,
    and of what is worse than is allowed and passed.
    """

    row: Row
    loss: float | None
    allowed: str
    state: State
    why: str = ""


@dataclass(frozen=True)
class Gate:
    """All scores that were looked at, the failed ones first. `facts`: what is to be known about the
    two.
    """

    rows: list[Gated]
    facts: list[tuple[str, str]]

    @property
    def ok(self) -> bool:
        """Whether no score failed."""
        return not any(row.state == "failed" for row in self.rows)


def gate(run: Opened, record: Opened, allow: Mapping[str, Allowance]) -> Gate:
    """Hold every score of `record` that has an allowance against the one in `run`. Allowances are
    looked for in `allow`, then in what the record's suite says, then in DEFAULTS. UsageError where
    the two are of different suites, and for an unknown metric in `allow`.
    """
    if run.record.suite.name != record.record.suite.name:
        suites = (
            f"the run is of the suite {run.record.suite.name!r}, the record of"
            f" {record.record.suite.name!r}"
        )
        raise UsageError(
            suites, where=str(record.path), hint="a record is for runs of its own suite"
        )
    refuse_judges(allow)
    _check_names(allow, record)
    of_suite = {
        name: parse_allowance(loss, f"gate of the suite in {record.path}")
        for name, loss in record.record.suite.gate.items()
    }
    rules = {**DEFAULTS, **of_suite, **allow}
    same = same_machine(run, record)
    pairs = [(Side(run, row.name), Side(record, row.name)) for row in record.record.models]

    def find_allowance(score: Score) -> Allowance | None:
        if score.better is None:
            return None
        named = rules.get(key_of(score))  # the parts of a group only by their names
        return named if score.member else named or rules.get(score.metric)

    def is_wanted(score: Score) -> bool:
        return find_allowance(score) is not None and (
            same or not metric_of(score).depends_on_machine
        )

    asked = {
        (score.model, score.task, key_of(score)): (score, loss)
        for score in record.record.scores
        if (loss := find_allowance(score)) is not None
    }
    rows = [
        row for row in rows_of(pairs, is_wanted) if (row.model_b, row.task, row.metric) in asked
    ]
    found = [_apply_allowance(row, asked[row.model_b, row.task, row.metric][1]) for row in rows]
    found += [_skip(score, loss) for score, loss in asked.values() if not is_wanted(score)]
    order = ("failed", "passed", "skipped")
    return Gate(sorted(found, key=lambda one: order.index(one.state)), _facts(run, record, same))


def _check_names(allow: Mapping[str, Allowance], record: Opened) -> None:
    known = {
        name: score for score in record.record.scores for name in (score.metric, key_of(score))
    }
    for name in allow:
        if name not in known:
            raise UsageError(
                f"--allow {name}: the record has no such score",
                where=str(record.path),
                hint=did_you_mean(name, known),
            )
        if known[name].better is None:
            raise UsageError(
                f"--allow {name}: neither less nor more of it is better, so nothing can be lost"
            )


def _apply_allowance(row: Row, allowed: Allowance) -> Gated:
    """What becomes of a score, `row` being the run's against the record's."""
    limit = f"{allowed}"
    if row.a is None or row.b is None or row.verdict == "not comparable":
        return Gated(row, None, limit, "failed", row.reason)
    if (math.isinf(row.b) and row.better == "lower") or (
        math.isinf(row.a) and row.better == "higher"
    ):
        return Gated(row, None, limit, "passed")
    loss = row.a - row.b if row.better == "lower" else row.b - row.a
    if loss <= allowed.of(row.b) + ROUNDING:
        return Gated(row, loss, limit, "passed")
    if row.p is not None and not row.proven:
        return Gated(row, loss, limit, "passed", f"worse, but not significantly: p is {row.p:.2g}")
    if row.p is not None and row.left_out and not _is_loss(row):
        return Gated(
            row, loss, limit, "passed", "worse, but not on the items that count on both sides"
        )
    return Gated(row, loss, limit, "failed", row.reason)


def _is_loss(row: Row) -> bool:
    """Whether the items that were tested are worse."""
    return row.difference is not None and (row.difference > 0) == (row.better == "lower")


def _skip(score: Score, allowed: Allowance) -> Gated:
    row = Row(
        score.model,
        score.model,
        score.task,
        key_of(score),
        score.unit,
        score.better,
        None,
        float(score.value),
        "not comparable",
    )
    return Gated(row, None, f"{allowed}", "skipped", "the record is of another machine")


def _facts(run: Opened, record: Opened, same: bool) -> list[tuple[str, str]]:
    review, names = record.record.review, {row.name for row in record.record.models}
    promoted = (
        f"promoted {review.promoted}"
        + (f" at commit {review.commit[:12]}" if review.commit else "")
        if review
        else "not reviewed"
    )
    new = [row.name for row in run.record.models if row.name not in names]
    facts = [
        ("run", f"{run.path}, {run.record.finished}"),
        ("record", f"{record.path}, {promoted}"),
        ("machine", "the same" if same else "another"),
    ]
    return [*facts, ("not in the record", ", ".join(new))] if new else facts
