"""The width that is drawn for."""

from __future__ import annotations

import os
import shutil
import sys

from rich.console import Console

PLAIN = 120  # columns of a file, a pipe, or a terminal that does not say
LINES = 24


class Screen(Console):
    """A console that leaves it to the command line what to do if its reader has gone."""

    def on_broken_pipe(self) -> None:
        """Raise the error that rich is handling; rich itself would end the program."""
        raise


def open_screen() -> Console:
    """Return the console on stdout: as wide as the terminal, or as COLUMNS says, or else PLAIN."""
    size = shutil.get_terminal_size((PLAIN, LINES))
    # without a height rich takes a dumb terminal for one of 80 columns, whatever its width
    return Screen(width=size.columns, height=size.lines, file=sys.stdout)


def open_stderr() -> Console:
    """Return the console on stderr: as wide as COLUMNS says, or its terminal, or else PLAIN."""
    try:
        own = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        own = 0
    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() and int(asked) else own or PLAIN
    return Screen(width=width, height=LINES, file=sys.stderr)


def find_width() -> int:
    """Return the columns of the terminal; COLUMNS, if it is set, overrules it."""
    return shutil.get_terminal_size((PLAIN, LINES)).columns
