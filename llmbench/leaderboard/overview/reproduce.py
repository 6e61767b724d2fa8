"""The commands that make a board again, from what its record says was asked."""

from __future__ import annotations

import shlex

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.words import cut
from llmbench.results.record import Record

# option of the record -> of the command line, where it is not what a run does by itself
OPTIONS = {
    "device": ("--device", "auto"),
    "dtype": ("--dtype", None),
    "limit": ("--limit", None),
    "memory_budget": ("--memory-budget", None),
    "price_per_hour": ("--price-per-hour", None),
}


def list_commands(record: Record) -> list[str]:
    """Return which version it was, as a comment, and the run with the same options."""
    words = ["llmbench", "run", record.suite.name]
    for key, (option, usual) in OPTIONS.items():
        value = record.options.get(key)
        if isinstance(value, str | int | float) and value != usual:
            words += [option, str(value)]
    words += ["--seed", str(record.seed)] if record.seed else []
    for key, option, ending in (
        ("only", "--only", ""),
        ("models", "--model", ""),
        ("data", "--data", "=PATH"),
    ):
        values = record.options.get(key)
        for value in values if isinstance(values, list) else ():
            words += [option, f"{value}{ending}"]
    return [
        f"# llmbench {shlex.quote(cut(record.llmbench, NAME_CHARACTERS))}",
        cut(shlex.join(words), 16 * NAME_CHARACTERS),
    ]
