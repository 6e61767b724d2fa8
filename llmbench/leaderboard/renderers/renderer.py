"""What draws a board."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from llmbench.leaderboard.board import Board


@runtime_checkable
class Renderer(Protocol):
    """Draws a board as text, for `--format`.

    A class that has `ending` and `render` is a renderer; it need not subclass this one. It is made
    without arguments. Packages register theirs with the entry-point group `llmbench.renderers`;
    `--format` also takes `module:Class` and `file.py:Class`.

    ending: the ending of a file of this format, without the dot, such as "html".
    """

    ending: str

    def render(self, board: Board) -> str:
        """Return the board as text. Texts of models in it are not escaped: see `sanitise`."""
        ...
