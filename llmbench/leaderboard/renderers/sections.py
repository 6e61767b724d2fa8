"""Sections of a comparison or a gate, drawn in the terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmbench.leaderboard.renderers.markdown import pipe_table
from llmbench.leaderboard.renderers.sanitise import clean_terminal, escape_markdown


@dataclass(frozen=True)
class Section:
    """A heading, a table of `rows` under `titles` (none is drawn without rows), and notes."""

    heading: str
    titles: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: list[str] = field(default_factory=list)


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
            table = Table(show_edge=False)
            for title in section.titles:
                table.add_column(Text(clean_terminal(title)), overflow="fold")
            for row in section.rows:
                table.add_row(*(Text(clean_terminal(cell)) for cell in row))
            console.print(table)
        for note in section.notes:
            console.print(Text(f"  {clean_terminal(note)}"), style="dim")
