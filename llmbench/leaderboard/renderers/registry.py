"""The renderers by name: the built-in ones, those of other packages, and those of files.

A renderer from outside draws only if it is asked for with `--format`. Its board is printed;
`llmbench leaderboard --out` also writes it as leaderboard.<ending>.
"""

from __future__ import annotations

import inspect
import re
from importlib import metadata

from llmbench.config.plugins import load_object
from llmbench.errors import LlmbenchError, UsageError, did_you_mean
from llmbench.leaderboard.board import Board
from llmbench.leaderboard.renderers.renderer import Renderer

ENTRY_POINTS = "llmbench.renderers"
WRITTEN = ("md", "csv", "html")  # by every run
_HERE = "llmbench.leaderboard.renderers"
BUILT_IN = {
    "table": f"{_HERE}.table:TableRenderer",
    "md": f"{_HERE}.markdown:MarkdownRenderer",
    "csv": f"{_HERE}.csv:CsvRenderer",
    "html": f"{_HERE}.html:HtmlRenderer",
}
RESERVED = (*WRITTEN, "svg")  # endings of files that llmbench writes


def list_formats() -> dict[str, str]:
    """Return format -> module:Class, of built-in and registered renderers."""
    outside = {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINTS)}
    return {**outside, **BUILT_IN}


def load_renderer(name: str) -> Renderer:
    """Return the renderer of a format's name, `module:Class` or `file.py:Class`.

    UsageError if there is none, or if it is not one.
    """
    known = BUILT_IN if name in BUILT_IN else list_formats()  # which reads all packages
    spec = known.get(name, name)
    where, colon, what = spec.rpartition(":")
    if name not in known and spec.endswith(".py"):
        raise UsageError("a renderer's file needs its class", where=spec, hint=f"{spec}:ClassName")
    if not colon or not where or not what:
        raise UsageError(f"unknown format {name!r}", hint=did_you_mean(name, known))
    found = load_object(spec)
    if inspect.isclass(found):
        try:
            found = found()
        except Exception as error:
            raise UsageError(
                f"the renderer {what} cannot be made without arguments: {error}", where=where
            ) from None
    if not isinstance(found, Renderer) or not callable(found.render):
        raise UsageError(
            f"{what!r} is not a renderer",
            where=where,
            hint="define `ending` and `render(self, board)`, see llmbench.leaderboard.renderers",
        )
    if not isinstance(found.ending, str) or not re.fullmatch(r"[A-Za-z0-9]{1,16}", found.ending):
        raise UsageError(
            f"the renderer's ending is {found.ending!r}",
            where=spec,
            hint="use up to 16 letters and digits, without a dot",
        )
    return found


def draw(name: str, board: Board) -> str:
    """Return the board in this format. UsageError if the renderer fails."""
    renderer = load_renderer(name)
    if name in BUILT_IN:
        return renderer.render(board)
    try:
        drawn: object = renderer.render(board)
    except LlmbenchError:
        raise
    except Exception as error:
        raise UsageError(
            f"the renderer raised {type(error).__name__}: {error}", where=name
        ) from None
    if not isinstance(drawn, str):
        raise UsageError(
            f"the renderer returned a value of type {type(drawn).__name__}, not str", where=name
        )
    return drawn


def file_ending(name: str) -> str:
    """Return the ending for a file of a renderer from outside.

    UsageError if the file would overwrite one of llmbench's own.
    """
    ending = load_renderer(name).ending
    if ending.lower() in RESERVED:
        raise UsageError(
            f"leaderboard.{ending} is written by llmbench itself",
            where=name,
            hint="give the renderer another ending, or leave out --out",
        )
    return ending
