"""A renderer: a board as JSON, a line for each model of each table."""

from __future__ import annotations

import json

from llmbench import Board


class JsonLines:
    """`llmbench leaderboard RUN --format jsonl`. A renderer has an `ending` and `render`."""

    ending = "jsonl"

    def render(self, board: Board) -> str:
        """The board's tables: a line for each model, with the texts of its cells by column."""
        rows = [
            {
                "suite": board.title,
                "task": table.task,
                "model": line.model,
                **{name: cell.text for name, cell in line.cells.items()},
            }
            for table in board.tables
            for line in table.lines
        ]
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
