"""CSV: one line a model and task, raw numbers, for a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io

from llmbench.leaderboard.board import Board
from llmbench.leaderboard.columns import WRITING_COLUMNS
from llmbench.leaderboard.renderers.renderer import Renderer
from llmbench.leaderboard.renderers.sanitise import escape_csv
from llmbench.results.record import BITS, SPEED

METRICS = (
    "bits_per_byte",
    "byte_perplexity",
    "word_perplexity",
    "token_perplexity",
    "spelling_share",
    "unknown_share",
    *BITS[1:],
)
PLAIN = (
    *("accuracy", "accuracy:byte", "exact_match", "f1", "bleu", "chrf", "ter"),
    *(
        "parameters",
        "training_seconds",
        SPEED,
        "time_to_first_token",
        "limit_share:decode",
        "max_batch",
    ),
    *("peak_ram", "peak_ram_over_idle", "peak_gpu_reserved", "overlap"),
)
ADDED = (
    "metric",
    "value",
    "unit",
    "n",
    "machine",
    "run",
    "published",
)  # `metric`: what the table goes by; `low`, `high` and `n` are its
ADDED_METRICS = (
    "excess_bits_per_byte",
    "rouge1",
    "rouge2",
    "rougeL",
    *(column.key for column in WRITING_COLUMNS),
)


def render(board: Board) -> str:
    """Header and lines. A text that a spreadsheet would take for a formula is given a leading
    apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "task",
            "model",
            "stage",
            "rank_best",
            "rank_worst",
            "bits_per_byte",
            "low",
            "high",
            *METRICS[1:],
            "tokenizer",
            *PLAIN,
            "proven",
            "signature",
            *ADDED,
            *ADDED_METRICS,
        ]
    )
    for table in board.tables:
        for line in table.lines:
            cells = line.cells
            rank, headline = (
                cells["rank"],
                cells[table.headline],
            )  # a rank "1-3" in one field would be a day in March
            row: list[object] = [
                table.task,
                line.model,
                line.stage,
                rank.low,
                rank.high,
                cells["bits_per_byte"].value,
            ]
            row += [
                headline.low,
                headline.high,
            ]  # of the metric that the table goes by: only one of them has a table's line
            row += (
                [cells[key].value for key in METRICS[1:]]
                + [cells["tokenizer"].text]
                + [cells[key].value for key in PLAIN]
            )
            row += [cells["proven"].text.strip("-"), table.signature]
            row += [
                table.headline,
                headline.value,
                line.unit,
                line.n,
                line.machine,
                line.run,
                cells["published"].text.strip("-"),
            ]
            row += [cells[key].value for key in ADDED_METRICS]
            writer.writerow([escape_csv(value) for value in row])
    return out.getvalue()


class CsvRenderer(Renderer):
    """This format, for the registry."""

    ending = "csv"

    def render(self, board: Board) -> str:
        """Return `render(board)`."""
        return render(board)
