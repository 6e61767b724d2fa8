"""Tables that fit a width: columns are left out in the order of their importance, intervals first,
and no row is ever broken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from llmbench.leaderboard.renderers.sanitise import clean_terminal

STAYS = 100  # importance of a column that is never left out
GAP = "  "
SMALLEST = 4  # cells of a column, where even those that stay have no room
ELLIPSIS = "…"


@dataclass(frozen=True)
class GridColumn:
    """A column: its title, which may take several lines, and a text for each row.

    importance: what is less important is left out first.
    least: cells to which its texts may be cut; None if they are shown whole or not at all.
    keeps_intervals: whether intervals stay as long as there is room for them.
    """

    title: str
    texts: Sequence[str]
    importance: int = STAYS
    is_numeric: bool = True
    least: int | None = None
    keeps_intervals: bool = False

    @property
    def natural(self) -> int:
        """The cells that the longest text, or the longest word of the title, takes."""
        words = self.title.split() or [""]
        return max(map(cell_len, (*words, *self.texts)))

    @property
    def narrowest(self) -> int:
        """The fewest cells that it can do with, without its intervals if it need not keep them."""
        narrow = (self if self.keeps_intervals else self.without_intervals()).natural
        if self.least is None:
            return narrow
        return min(narrow, max(self.least, *map(cell_len, self.title.split() or [""])))

    def without_intervals(self) -> GridColumn:
        """The column with values alone: 2.71 k instead of 2.71 k ± 1 %."""
        return replace(self, texts=[_cut_interval(text) for text in self.texts])

    def cut(self, width: int) -> GridColumn:
        """The column with its texts cut to so many cells, each in its middle."""
        return replace(self, texts=[cut_middle(text, width) for text in self.texts])


def _cut_interval(text: str) -> str:
    for sign in (" ±", " ["):
        head, found, _ = text.partition(sign)
        if found:
            return head
    return text


def cut_middle(text: str, width: int) -> str:
    """Return the text in at most `width` cells, with an ellipsis in its middle if it is longer: the
    beginning and the end tell most names apart.
    """
    if cell_len(text) <= width:
        return text
    if width < 2:
        return ELLIPSIS[:width]
    tail = (width - 1) // 3
    head = set_cell_size(text, width - 1 - tail).rstrip()
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    return f"{head}{ELLIPSIS}{end}"


def fit(columns: Sequence[GridColumn], width: int) -> list[tuple[GridColumn, int]]:
    """Return the columns that have room, in their order, and the cells that each takes.

    First as many as possible, by importance, with values alone; then texts that were cut get what
    is left, then values their intervals, by importance again.
    """
    ranked = sorted(range(len(columns)), key=lambda at: -columns[at].importance)
    sizes: dict[int, int] = {}
    for at in ranked:
        size = columns[at].narrowest
        if columns[at].importance >= STAYS or _sum_up([*sizes.values(), size]) <= width:
            sizes[at] = size
    _shrink(columns, sizes, width)
    whole: set[int] = set()
    for is_text in (True, False):
        for at in ranked:
            if at not in sizes or (columns[at].least is not None) != is_text:
                continue
            room = width - _sum_up(sizes.values()) + sizes[at]
            if is_text or columns[at].natural <= room:
                whole.add(at)
                sizes[at] = max(sizes[at], min(room, columns[at].natural))
    chosen = {at: columns[at] if at in whole else columns[at].without_intervals() for at in sizes}
    return [(chosen[at].cut(sizes[at]), sizes[at]) for at in sorted(sizes)]


def _shrink(columns: Sequence[GridColumn], sizes: dict[int, int], width: int) -> None:
    """Take cells from the widest column, a text if there is one, until those that stay fit."""
    while _sum_up(sizes.values()) > width:
        wide = [at for at, size in sizes.items() if size > SMALLEST]
        if not wide:
            return
        at = max(wide, key=lambda number: (columns[number].least is not None, sizes[number]))
        sizes[at] -= 1


def _sum_up(sizes: Collection[int]) -> int:
    return sum(sizes) + len(GAP) * max(0, len(sizes) - 1)


def draw_grid(
    columns: Sequence[GridColumn], headings: Mapping[int, str], width: int
) -> tuple[list[str], list[str]]:
    """Return the lines of the head, and those of the body: one for each row, and before row
    `number` its heading, if it has one.
    """
    fitted = fit(columns, width)
    heads = [_break(column.title, size) for column, size in fitted]
    height = max(map(len, heads), default=0)
    padded = [[""] * (height - len(head)) + head for head in heads]
    lines = [_join([head[number] for head in padded], fitted, width) for number in range(height)]
    lines.append(_cut_line("─" * _sum_up([size for _, size in fitted]), width))
    body = []
    for number in range(len(columns[0].texts) if columns else 0):
        if number in headings:
            body.append(cut_middle(headings[number], width))
        body.append(_join([column.texts[number] for column, _ in fitted], fitted, width))
    return lines, body


def _join(texts: Sequence[str], fitted: Sequence[tuple[GridColumn, int]], width: int) -> str:
    cells = [
        " " * (size - cell_len(text)) + text
        if column.is_numeric
        else text + " " * (size - cell_len(text))
        for text, (column, size) in zip(texts, fitted, strict=True)
    ]
    return _cut_line(GAP.join(cells).rstrip(), width)


def _cut_line(line: str, width: int) -> str:
    """The line, in a terminal that has no room for it: cut, and not broken."""
    return line if cell_len(line) <= width else set_cell_size(line, width)


def _break(title: str, size: int) -> list[str]:
    """The words of a title in lines of at most `size` cells."""
    lines: list[str] = []
    for word in title.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= size:
            lines[-1] += f" {word}"
        else:
            lines.append(cut_middle(word, size))
    return lines


def print_grid(
    console: Console,
    columns: Sequence[GridColumn],
    headings: Mapping[int, str] | None = None,
    bold: Collection[int] = (),
) -> list[str]:
    """Print a table in the width of the terminal, and return the titles of the columns that had no
    room, the most important first.

    headings: lines before rows, by their numbers. bold: numbers of rows that stand out. Texts must
    be clean.
    """
    headings = headings or {}
    head, body = draw_grid(columns, headings, console.width)
    for line in head:
        _print_line(console, line, "bold")
    rows = iter(body)
    for number in range(len(columns[0].texts) if columns else 0):
        if number in headings:
            _print_line(console, next(rows), "bold")
        _print_line(console, next(rows), "bold" if number in bold else "")
    shown = {column.title for column, _ in fit(columns, console.width)}
    left = [column for column in columns if column.title not in shown]
    return [column.title for column in sorted(left, key=lambda column: -column.importance)]


def _print_line(console: Console, line: str, style: str) -> None:
    console.print(Text(line, style=style), no_wrap=True, overflow="ignore", crop=False)


def print_prose(console: Console, text: str, indent: int = 2, style: str = "dim") -> None:
    """Print a sentence, wrapped, with all of its lines indented."""
    room = max(console.width - indent, SMALLEST)
    for line in Text(clean_terminal(text)).wrap(console, room):
        _print_line(console, " " * indent + line.plain.rstrip(), style)
