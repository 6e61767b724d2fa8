"""Sections of a comparison or a gate, drawn in the terminal, as wide as it is, or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from llmbench.leaderboard.renderers.markdown import pipe_table
from llmbench.leaderboard.renderers.sanitise import clean_terminal, escape_markdown
from llmbench.leaderboard.renderers.terminal.grid import (
    STAYS,
    GridColumn,
    print_grid,
    print_prose,
)

LEAST = 10  # cells of a text, where there is no room for all of it
NUMBER = re.compile(r"[-+<]?\d|-$|inf$")


@dataclass(frozen=True)
class Section:
    """A heading, a table of `rows` under `titles` (none is drawn without rows), and notes.

    weights: importance of the columns in a terminal that has no room for all; by default all stay.
    prose: title of a column of sentences, which a terminal prints below the table, each after the
        first `names` cells of its row.
    """

    heading: str
    titles: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: list[str] = field(default_factory=list)
    weights: Sequence[int] = ()
    prose: str | None = None
    names: int = 1


def markdown(sections: Sequence[Section]) -> str:
    """Return the sections as Markdown, for a file or a pull request. All texts are escaped."""
    parts = []
    for number, section in enumerate(sections):
        parts.append(f"{'##' if number == 0 else '###'} {escape_markdown(section.heading)}")
        if section.rows:
            parts.append(pipe_table(section.titles, section.rows))
        if section.notes:
            parts.append("\n".join(f"- {escape_markdown(note)}" for note in section.notes))
    return "\n\n".join(parts) + "\n"


def print_to(console: Console, sections: Sequence[Section]) -> None:
    """Print the sections to the terminal, without markup or control characters from texts."""
    for section in sections:
        console.print(Text(clean_terminal(section.heading), style="italic"))
        if section.rows:
            print_grid(console, _list_columns(section))
        for note in [*_list_prose(section), *section.notes]:
            print_prose(console, note)


def _list_columns(section: Section) -> list[GridColumn]:
    columns = []
    weights = section.weights or [STAYS] * len(section.titles)
    for title, weight, cells in zip(
        section.titles, weights, zip(*section.rows, strict=True), strict=True
    ):
        texts = [clean_terminal(cell) for cell in cells]
        if title == section.prose or not any(texts):
            continue
        is_numeric = all(NUMBER.match(text) for text in texts if text)
        least = None if is_numeric else LEAST
        columns.append(GridColumn(clean_terminal(title), texts, weight, is_numeric, least))
    return columns


def _list_prose(section: Section) -> list[str]:
    """The sentences of the prose column, each once, with the rows that it is about."""
    if section.prose not in section.titles:
        return []
    at = section.titles.index(section.prose)
    rows = [row for row in section.rows if row[at]]
    about: dict[str, list[str]] = {}
    for row in rows:
        about.setdefault(row[at], []).append(" ".join(row[: section.names]))
    return [f"{', '.join(names)}: {sentence}" for sentence, names in about.items()]
