"""A board drawn for a reader: one file a format, each with `render(board) -> str`. They see plain data only."""

from __future__ import annotations

from llmbench.leaderboard import Board


def write_order(board: Board) -> list[str]:
    """The formats a run writes, as file endings."""
    return ["md", "csv", "html"]
