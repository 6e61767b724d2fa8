"""A gate as sections: what failed, what passed, and what was skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.renderers.comparison import (
    SHARES,
    describe_vote_tests,
    difference,
    explain,
    value,
)
from llmbench.leaderboard.renderers.sections import Section
from llmbench.leaderboard.renderers.terminal.grid import STAYS
from llmbench.leaderboard.words import cut

if TYPE_CHECKING:
    from llmbench.results.gate import Gate, Gated

TITLES = (
    "model",
    "task",
    "metric",
    "run",
    "record",
    "run against record",
    "p",
    "allowed loss",
    "why",
)
WEIGHTS = (STAYS, STAYS, STAYS, 80, 80, 90, 70, 75, STAYS)  # of the columns, in a narrow terminal
HEADINGS = {"failed": "Failed", "passed": "Passed", "skipped": "Skipped"}


def sections(gate: Gate) -> list[Section]:
    """Return the sections in order."""
    counts = [f"{sum(row.state == state for row in gate.rows)} {state}" for state in HEADINGS]
    word = "passed" if gate.ok else "FAILED"
    found = [
        Section(
            f"Gate {word}: {', '.join(counts)}",
            notes=[f"{key}: {text}" for key, text in gate.facts],
        )
    ]
    for state, heading in HEADINGS.items():
        rows = [
            [cut(cell, NAME_CHARACTERS) for cell in _cells(one)]
            for one in gate.rows
            if one.state == state
        ]
        if rows:
            found.append(Section(heading, TITLES, rows, weights=WEIGHTS, prose="why", names=3))
    said = [
        "A row fails if it is worse by more than is allowed and the difference is significant (p"
        " corrected by Holm), or if it is missing or not comparable."
    ]
    said += describe_vote_tests([one.row for one in gate.rows])
    return [*found, Section("How to read this", notes=said)]


def _cells(one: Gated) -> list[str]:
    row = one.row
    p = "" if row.p is None else "<0.0001" if row.p < 0.0001 else f"{row.p:.4f}"
    unit = " points" if row.unit in SHARES and not one.allowed.endswith("%") else ""
    allowed = f"{100 * float(one.allowed):g}{unit}" if unit else one.allowed
    return [
        row.model_b,
        row.task,
        row.metric,
        value(row, row.a),
        value(row, row.b),
        difference(row),
        p,
        allowed,
        explain(row, one.why),
    ]
