"""CSV: one line a model and task, raw numbers, for a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from llmbench.leaderboard.board import Board
from llmbench.leaderboard.cells import SHIPPED_MARK, Cell
from llmbench.leaderboard.columns import COLUMNS
from llmbench.leaderboard.renderers.renderer import Renderer
from llmbench.leaderboard.renderers.sanitise import escape_csv
from llmbench.leaderboard.serving.section import LoadTable
from llmbench.leaderboard.tables import Table, TableRow
from llmbench.leaderboard.votes.parts import VoteTable

FIRST = ("task", "model", "stage", "rank_best", "rank_worst")
# `metric`: what the table goes by; the next five are its
HEADLINE = ("metric", "value", "low", "high", "unit", "n")
# `training`: "shipped" where training_seconds are those of weights that came with llmbench
LAST = ("published", "certificate", "training", "signature", "machine", "run", "state")
NOT_REACHED = "not reached"
TEXTS = ("tokenizer", "cache")
# a rank "1-3" in one field would be a day in March, and the model's name is in FIRST
APART = ("rank", "model", "published", "certificate")


def render(board: Board) -> str:
    """Return a header and a line for each model of each table, and for each cell that an
    interrupted run did not reach. See `escape_csv` for formulas.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    custom = [column.key for table in board.tables for column in table.columns]
    keys = list(dict.fromkeys([*(column.key for column in COLUMNS), *custom]))
    keys = [key for key in keys if key not in APART]
    writer.writerow([escape_csv(name) for name in (*FIRST, *HEADLINE, *keys, *LAST)])
    for table in board.tables:
        for line in table.lines:
            writer.writerow([escape_csv(value) for value in _row(table, line, keys)])
    for load in board.loads:
        writer.writerows(
            [escape_csv(value) for value in line] for line in _list_loads(load, len(keys))
        )
    for votes in board.votes:
        writer.writerows(
            [escape_csv(value) for value in line] for line in _list_votes(votes, len(keys))
        )
    for cell in board.open_cells:
        head = [cell.task, cell.model, *[None] * (len(FIRST) - 2 + len(HEADLINE) + len(keys))]
        row = [*head, *[""] * (len(LAST) - 2), cell.run, NOT_REACHED]
        writer.writerow([escape_csv(value) for value in row])
    return out.getvalue()


def _row(table: Table, line: TableRow, keys: Sequence[str]) -> list[object]:
    cells, none = line.cells, Cell("-")
    rank, headline = cells["rank"], cells[table.headline]
    row: list[object] = [table.task, line.model, line.stage, rank.low, rank.high]
    row += [table.headline, headline.value, headline.low, headline.high, line.unit, line.n]
    for key in keys:
        cell = cells.get(key, none)
        value = cell.text if key in TEXTS else cell.value
        row.append(None if cell.text == "-" else value)
    texts = [cells[key].text.strip("-") for key in ("published", "certificate")]
    training = "shipped" if cells["training_seconds"].text.endswith(SHIPPED_MARK) else ""
    return [*row, *texts, training, table.signature, line.machine, line.run, line.state]


def _list_loads(table: LoadTable, columns: int) -> Iterator[list[object]]:
    """A line for each metric of each level, and for each percentile."""
    for row in table.rows:
        for score in row.scores.values():
            shown = score.percentiles or {"": score.value}
            ends = score.load.ends if score.load else {}
            for place, value in shown.items():
                own = (score.low, score.high) if not place else ends.get(place, (None, None))
                name = ":".join(part for part in (score.metric, row.key, place) if part)
                head: list[object] = [table.task, row.model, row.stage, None, None]
                head += [name, value, *own, score.unit, score.n]
                yield [*head, *[None] * columns, "", "", "", score.signature, "", "", ""]


def _list_votes(table: VoteTable, columns: int) -> Iterator[list[object]]:
    """A line for each contestant's share of wins, and for each of its ratings."""
    for row in table.rows:
        head: list[object] = [table.task, row.name, row.stage]
        rest = [*[None] * columns, "", "", "", table.signature, "", "", ""]
        if row.rank is not None:
            share = row.share
            ends = (share.value, share.low, share.high) if share else (None, None, None)
            yield [*head, *row.rank, table.metric, *ends, "share", row.votes, *rest]
        for kind, one in row.ratings.items():
            mean = one.mean
            ends = (mean.value, mean.low, mean.high)
            yield [*head, *one.rank, f"rating:{kind}", *ends, "1 to 5", mean.n, *rest]


class CsvRenderer(Renderer):
    """This format, for the registry."""

    ending = "csv"

    def render(self, board: Board) -> str:
        """Return `render(board)`."""
        return render(board)
