"""A comparison as sections: scores, the largest differences, flipped answers, missing items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.numbers import (
    format_fixed,
    format_plain,
    format_signed,
    mebibytes,
    milliseconds,
    percent,
    scale_number,
)
from llmbench.leaderboard.renderers.sections import Section
from llmbench.leaderboard.renderers.terminal.grid import STAYS
from llmbench.leaderboard.sentences.baselines import describe_below
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import VOTES

if TYPE_CHECKING:
    from llmbench.results.compare import Comparison, Row

EXCERPT = 80  # characters of what was asked or said
SHARES = ("share", "F1")
# of task, metric, A, B, their difference, p, the verdict and its reason
WEIGHTS = (STAYS, STAYS, 80, 80, 90, 70, STAYS, STAYS)


def sections(comparison: Comparison) -> list[Section]:
    """Return the sections in order."""
    several = len({row.model_a for row in comparison.rows}) > 1
    found = [
        Section(
            f"A: {comparison.name_a}, B: {comparison.name_b}",
            notes=[f"{key}: {value}" for key, value in comparison.facts],
        )
    ]
    titles = [
        *(["model"] if several else []),
        "task",
        "metric",
        "A",
        "B",
        "A against B",
        "p",
        "A is",
        "why",
    ]
    rows = [[*([row.model_a] if several else []), *_cells(row)] for row in comparison.rows]
    found.append(
        Section(
            "Scores",
            titles,
            [[cut(cell, NAME_CHARACTERS) for cell in cells] for cells in rows],
            _notes(comparison),
            [*([STAYS] if several else []), *WEIGHTS],
            "why",
            3 if several else 2,
        )
    )
    return [
        *found,
        *_difference_sections(comparison),
        *_flip_sections(comparison),
        *_gap_sections(comparison),
    ]


def _cells(row: Row) -> list[str]:
    p = "" if row.p is None else "<0.0001" if row.p < 0.0001 else f"{row.p:.4f}"
    return [
        row.task,
        row.metric,
        value(row, row.a),
        value(row, row.b),
        difference(row),
        p,
        row.verdict,
        explain(row, row.reason),
    ]


def explain(row: Row, reason: str) -> str:
    """Return a reason, and how many items were left out of the test."""
    left_out = (
        f"{row.left_out} of {row.n + row.left_out} items left out: the metric applies to them on"
        " one side only"
        if row.left_out
        else ""
    )
    return "; ".join(filter(None, (reason, left_out)))


def value(row: Row, number: float | None) -> str:
    """Return a score of a row in its unit; "-" if there is none."""
    if number is None:
        return "-"
    if row.unit in SHARES:
        return percent(number)
    if row.unit == "bytes":
        return f"{mebibytes(number)} MiB" if row.is_memory else f"{format_fixed(number, 1)} bytes"
    if row.unit in ("bytes/s", "tokens/s"):
        return f"{scale_number(number)} /s"
    if row.unit == "seconds":
        return f"{milliseconds(number)} ms"
    return format_plain(number, 4) if row.unit == "bits/byte" else f"{number:.4g}"


def difference(row: Row) -> str:
    """Return A - B with its interval: rates, times and memory in percent of B, shares in points."""
    if row.difference is None:
        return "-"
    scale, digits, unit = (
        (100, 1, " %")
        if row.relative
        else (100, 1, " points")
        if row.unit in SHARES
        else (1, 4 if "bits" in row.unit else 2, "")
    )
    text = f"{format_signed(scale * row.difference, digits)}{unit}"
    return (
        text
        if row.low is None or row.high is None
        else f"{text} [{format_signed(scale * row.low, digits)},"
        f" {format_signed(scale * row.high, digits)}]"
    )


def _notes(comparison: Comparison) -> list[str]:
    if not comparison.rows:
        return ["Nothing to compare: the two sides share no scores."]
    how = f"corrected for {comparison.tests} tests (Holm)"
    said = [
        f"p is {how if comparison.tests > 1 else 'of a single test'}. Intervals: 95 % over the"
        " items of the text, not over training seeds."
    ]
    said += [*describe_vote_tests(comparison.rows), *describe_below(comparison.below)]
    return [*said, "unclear: neither a difference nor equality is statistically significant."]


def describe_vote_tests(rows: Sequence[Row]) -> list[str]:
    """Return what the tests of votes hold, and why a board may say less."""
    tests = {row.test for row in rows if row.metric == VOTES and row.test}
    said = []
    for test in sorted(tests):
        over = test.removeprefix("t over ")
        why = "" if over != test else "a reviewed record keeps no raters, so "
        said.append(f"{VOTES}: {why}intervals and p are over {over if not why else 'prompts'}.")
    if tests:
        said.append(
            f"{VOTES}: a board corrects for all pairs of its models at once, so two that are told"
            " apart here may share ranks there."
        )
    return said


def _difference_sections(comparison: Comparison) -> list[Section]:
    """Return a section for each task and metric."""
    found = []
    for task, metric in dict.fromkeys((one.task, one.metric) for one in comparison.moved):
        some = [one for one in comparison.moved if (one.task, one.metric) == (task, metric)]
        rows = [
            [
                one.model_a,
                _short(one.id),
                format_plain(one.a, 4),
                format_plain(one.b, 4),
                format_signed(one.difference, 4),
            ]
            for one in some
        ]
        found.append(
            _section(
                f"{task}, {metric}: largest differences", ["model", "item", "A", "B", "A - B"], rows
            )
        )
    return found


def _flip_sections(comparison: Comparison) -> list[Section]:
    found = []
    for total in comparison.flipped:
        names = (total.model_a, total.task, total.metric)
        some = [one for one in comparison.flips if (one.model_a, one.task, one.metric) == names]
        rows = [
            [
                one.right.upper(),
                *map(_short, (one.id, one.input, one.reference, one.said_a, one.said_b)),
            ]
            for one in some
        ]
        heading = (
            f"{total.task}, {total.metric}: {total.only_a} right only by A, {total.only_b} only by"
            " B"
        )
        heading += f" ({total.model_a})" if total.model_a == total.model_b else ""
        found.append(Section(heading, ["right", "item", "input", "reference", "A", "B"], rows))
    return found


def _gap_sections(comparison: Comparison) -> list[Section]:
    rows = [
        [one.side.upper(), one.model, one.task, one.metric, _short(", ".join(one.ids))]
        for one in comparison.missing
    ]
    return (
        [Section("Items missing on one side", ["side", "model", "task", "metric", "items"], rows)]
        if rows
        else []
    )


def _section(heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Section:
    """Return a section, without the column of models if all rows have the same."""
    if len({row[0] for row in rows}) == 1:
        return Section(heading, titles[1:], [row[1:] for row in rows])
    return Section(heading, titles, rows)


def _short(text: str) -> str:
    return cut(text, EXCERPT)
