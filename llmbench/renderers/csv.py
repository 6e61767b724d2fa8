"""CSV: one line a model and task, raw numbers, for a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io

from llmbench.leaderboard import Board

METRICS = ("bits_per_byte", "byte_perplexity", "word_perplexity", "token_perplexity", "spelling_share", "unknown_share")
PLAIN = ("parameters", "training_seconds", "overlap")


def render(board: Board) -> str:
    """Header and lines. A text that a spreadsheet would take for a formula is given a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["task", "model", "stage", "rank", "bits_per_byte", "low", "high", *METRICS[1:], "tokenizer", *PLAIN, "signature"])
    for table in board.tables:
        for line in table.lines:
            cells = line.cells
            headline = cells["bits_per_byte"]
            row: list[object] = [table.task, line.model, line.stage, cells["rank"].text, headline.value, headline.low, headline.high]
            row += [cells[key].value for key in METRICS[1:]] + [cells["tokenizer"].text] + [cells[key].value for key in PLAIN]
            writer.writerow([_safe(value) for value in [*row, table.signature]])
    return out.getvalue()


def _safe(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str):
        text = "".join(c if c.isprintable() else " " for c in value)
        return f"'{text}" if text[:1] in ("=", "+", "-", "@") and text != "-" else text
    return value
