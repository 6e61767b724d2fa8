"""Markdown: tables that paste into a README or a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from llmbench.leaderboard.board import Board
from llmbench.leaderboard.overview.average import find_average
from llmbench.leaderboard.overview.overall import find_overall
from llmbench.leaderboard.plots import describe_front
from llmbench.leaderboard.renderers.renderer import Renderer
from llmbench.leaderboard.renderers.sanitise import escape_markdown, quote_markdown
from llmbench.leaderboard.renderers.serving import PICTURE, draw_loads, list_cells, list_titles
from llmbench.leaderboard.tables import Table, name_headline, order_by_rank
from llmbench.leaderboard.words import cut_start

HEADING = 200  # characters of a prompt, its last
MANY_MEMBERS = 10  # parts of a group, of which more are folded


def render(board: Board) -> str:
    """Return the whole board as Markdown."""
    parts = [
        f"# {escape_markdown(board.title)}",
        *(f"**{escape_markdown(sentence)}**" for sentence in board.state),
        f"**{escape_markdown(board.verdict)}.**" if board.verdict else "",
        *(escape_markdown(sentence) for sentence in board.summary),
        "  \n".join(
            f"**{escape_markdown(key)}:** {escape_markdown(value)}" for key, value in board.facts
        ),
    ]
    parts += _all_tasks(board)
    for table in board.tables:
        parts += [f"## {escape_markdown(table.task)}", _table(table), _members(table)]
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in table.notes))
        if table.signature:
            title = escape_markdown(name_headline(table))
            parts.append(f"Signature of {title}: {quote_markdown(table.signature)}")
    parts += [*_loads(board), *_votes(board)]
    if len(board.points) > 1:
        front = ", ".join(escape_markdown(point.model) for point in board.points if point.front)
        parts += [
            "## Quality and speed",
            "![bits per byte against bytes of text a second](leaderboard.svg)",
            f"Pareto-optimal ({describe_front(board.points)}): {front}.",
        ]
    parts += [*_reference_scores(board), *_failures(board), *_certificates(board), *_samples(board)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _all_tasks(board: Board) -> list[str]:
    """Models by tasks with the average, of a board that has one."""
    average, overall = find_average(board.tables), find_overall(board.tables)
    if average is None or overall is None:
        return []
    titles = ["model", "average accuracy", *(escape_markdown(task) for task, _ in overall.tasks)]
    rows = [
        [row.model, average.cells[row.model].text, *(cell.text for cell in row.cells)]
        for row in overall.rows
    ]
    notes = "\n".join(f"- {escape_markdown(note)}" for note in average.notes)
    return ["## All tasks", pipe_table(titles, rows), notes]


def _loads(board: Board) -> list[str]:
    parts = []
    for table in board.loads:
        parts += [
            f"## Serving: {escape_markdown(table.task)}",
            pipe_table(list_titles(table), [list_cells(table, row) for row in table.rows]),
            "\n".join(f"- {escape_markdown(note)}" for note in table.notes),
            f"Signature: {quote_markdown(table.signature)}",
        ]
    if draw_loads(board.loads):
        parts.append(f"![throughput against latency]({PICTURE})")
    return parts


def _votes(board: Board) -> list[str]:
    found = []
    for table in board.votes:
        for number, part in enumerate(table.parts):
            found.append(f"{'###' if number else '##'} {escape_markdown(part.heading)}")
            found.append(pipe_table([escape_markdown(one) for one in part.titles], part.rows))
        found.append("\n".join(f"- {escape_markdown(note)}" for note in table.notes))
        found.append(f"Signature: {quote_markdown(table.signature)}" if table.signature else "")
    return found


def _reference_scores(board: Board) -> list[str]:
    if not board.published:
        return []
    rows = [
        [figure.model, figure.metric, figure.digits, figure.protocol, figure.source]
        for figure in board.published
    ]
    return [
        "## Published elsewhere",
        "Measured by other protocols or on other tasks: not comparable with the tables above.",
        pipe_table(["model", "metric", "figure", "protocol", "source"], rows),
    ]


def _failures(board: Board) -> list[str]:
    if not board.failures:
        return []
    rows = [[f.model, f.task, f.reason, f.message, f.hint] for f in board.failures]
    return ["## Failures", pipe_table(["model", "task", "reason", "message", "hint"], rows)]


def _certificates(board: Board) -> list[str]:
    if not board.proofs:
        return []
    rows = [
        [
            proof.model,
            ", ".join(f"{level} {state}" for level, state in proof.levels),
            f"{proof.seconds:.1f} s",
            "; ".join(proof.said),
        ]
        for proof in board.proofs
    ]
    return ["## Certificates", pipe_table(["model", "certificate", "time", "checks"], rows)]


def _samples(board: Board) -> list[str]:
    parts = []
    for number, saying in enumerate(board.sayings, 1):
        named = ", ".join(map(escape_markdown, filter(None, (saying.task, saying.how))))
        parts.append(
            f"## Prompt {number}{f', {named}' if named else ''}:"
            f" {escape_markdown(cut_start(saying.prompt, HEADING))}"
        )
        rows = [["(reference)", saying.reference]] if saying.reference else []
        parts.append(
            pipe_table(
                ["model", "continuation"], [*rows, *([name, text] for name, text in saying.answers)]
            )
        )
    return parts


def _table(table: Table) -> str:
    """The rows by rank, with their stages in a column of their own."""
    lines = order_by_rank(table)
    staged = {line.stage for line in lines} != {None}
    columns = [column for column in table.columns if not column.member]
    titles = [column.title for column in columns]
    marks = ["---:" if column.is_numeric else "---" for column in columns]
    rows = [[line.cells[column.key].text for column in columns] for line in lines]
    if staged:
        at = next(n for n, column in enumerate(columns) if column.key == "model") + 1
        titles.insert(at, "stage")
        marks.insert(at, "---:")
        for row, line in zip(rows, lines, strict=True):
            row.insert(at, "-" if line.stage is None else str(line.stage))
    drawn = [_pipe([escape_markdown(cell) for cell in row]) for row in rows]
    return "\n".join([_pipe(titles), _pipe(marks), *drawn])


def _members(table: Table) -> str:
    """The parts of a group, a row each, beneath the group; a column for each model. Many are folded
    where Markdown is shown as a page.
    """
    columns = [column for column in table.columns if column.member]
    if not columns:
        return ""
    lines = order_by_rank(table)
    task = escape_markdown(table.task)
    titles = [f"in {task}", "n", *(escape_markdown(one.model) for one in lines)]
    rows = [
        [one.title, str(one.items or "-"), *(line.cells[one.key].text for line in lines)]
        for one in columns
    ]
    drawn = pipe_table(titles, rows)
    if len(rows) <= MANY_MEMBERS:
        return drawn
    summary = f"<summary>The parts of {task}, {len(rows)} rows</summary>"
    return f"<details>{summary}\n\n{drawn}\n\n</details>"


def pipe_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table. Cells are escaped, titles are not."""
    return "\n".join(
        [
            _pipe(titles),
            _pipe(["---"] * len(titles)),
            *(_pipe([escape_markdown(cell) for cell in row]) for row in rows),
        ]
    )


def _pipe(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class MarkdownRenderer(Renderer):
    """This format, for the registry."""

    ending = "md"

    def render(self, board: Board) -> str:
        """Return `render(board)`."""
        return render(board)
