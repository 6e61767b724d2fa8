"""Where the bits go: openings of the test's documents, and what each model paid for their pieces.
Reads a run's samples and charges.

A model's charges tile a text in pieces of its own, tokens or bytes; the bits of a piece are spread
evenly over its bytes, and so texts of models with different tokenisers can be laid one under the
other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import BITS_PER_BYTE
from llmbench.results.record import Record
from llmbench.results.samples import inside, samples
from llmbench.results.tables.charges import read_charges

MOST_PASSAGES = 3  # of a task
LONGEST, SHORTEST = 600, 200  # bytes of a passage: with many models they are shorter, then fewer
MOST_BYTES = 50_000  # of all rows of a page together
LINE_CHARACTERS = 100
MARKS = {
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    "\r": "\N{SYMBOL FOR CARRIAGE RETURN}",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}",
}


@dataclass(frozen=True)
class Piece:
    """What one symbol of a model paid: bits for the bytes [start, end) of the passage, which it may
    leave at either side.
    """

    start: int
    end: int
    bits: float
    spelled: bool = False


@dataclass(frozen=True)
class HeatmapRow:
    """One model's pieces, which tile the passage."""

    model: str
    stage: int | None
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class Heatmap:
    """The opening of a document, and the rows of the models that charged it by pieces; `left_out`
    charged it in one, or each byte alike.
    """

    task: str
    id: str
    text: str
    rows: Sequence[HeatmapRow]
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class Span:
    """Characters of one line that share a piece: its text, its bits and bytes. Of a character in
    several `pieces`, their shares of it.
    """

    text: str
    piece: str
    bits: float
    bytes: int
    pieces: int = 1
    spelled: bool = False


Key = tuple[str, str, str]  # task, id, text
Models = Sequence[tuple[str, int | None]]  # name, stage


def build_heatmaps(record: Record, folder: Path | None) -> list[Heatmap]:
    """The passages of a run whose samples hold texts; [] of a record alone, and of a run that kept
    none.
    """
    if folder is None:
        return []
    found: dict[Key, list[tuple[str, int | None]]] = {}
    for model, task, rows in samples(record, folder):
        for row in islice(rows, MOST_PASSAGES):
            if _is_opening(row):
                found.setdefault((task, str(row.get("id")), row["input"]), []).append(
                    (model.name, model.stage)
                )
    order = list(dict.fromkeys(score.task for score in record.scores))
    as_scored = sorted(
        found, key=lambda key: order.index(key[0]) if key[0] in order else len(order)
    )
    made = [
        _passage(folder, key, models)
        for key, models in _limit_size({key: found[key] for key in as_scored})
    ]
    return [passage for passage in made if passage.rows]


def _is_opening(row: Mapping[str, object]) -> bool:
    statistics, text = row.get("statistics"), row.get("input")
    return (
        isinstance(text, str)
        and bool(text)
        and row.get("output") is None
        and isinstance(statistics, dict)
        and BITS_PER_BYTE in statistics
    )


def _limit_size(found: Mapping[Key, Models]) -> Iterator[tuple[Key, Models]]:
    """The passages of each task, as many and as long as a page can hold."""
    tasks = list(dict.fromkeys(key[0] for key in found))
    room = MOST_BYTES // max(len(tasks), 1)
    for task in tasks:
        keys = [key for key in found if key[0] == task]
        many = min(MOST_PASSAGES, len(keys))
        models = max(len(found[key]) for key in keys)
        while many > 1 and room // (many * models) < SHORTEST:
            many -= 1
        longest = min(LONGEST, room // (many * models))
        for key in keys[:many]:
            raw = key[2].encode("utf-8", "replace")[:longest]
            yield (task, key[1], raw.decode("utf-8", "ignore")), found[key]


def _passage(folder: Path, key: Key, models: Models) -> Heatmap:
    task, id, text = key
    size = len(text.encode())
    rows, left_out = [], []
    for model, stage in models:
        name = cut(model, NAME_CHARACTERS)
        pieces = _pieces(folder, model, task, id, size)
        if pieces is None:
            continue
        if (
            len(pieces) < 2
            or len({round(piece.bits / (piece.end - piece.start), 6) for piece in pieces}) < 2
        ):
            left_out.append(name)
        else:
            rows.append(HeatmapRow(name, stage, pieces))
    return Heatmap(cut(task, NAME_CHARACTERS), cut(id, NAME_CHARACTERS), text, rows, left_out)


def _pieces(folder: Path, model: str, task: str, id: str, size: int) -> list[Piece] | None:
    """The pieces of the first `size` bytes of an item; None where the charges are absent, torn, or
    do not tile them.
    """
    place = inside(folder, "charges", model)
    document, _, offset = id.rpartition(
        "@"
    )  # an item of a single long text is a block of it: document@byte
    is_block = document and offset.isascii() and offset.isdigit() and len(offset) < 16
    choices = [(id, 0), (document, int(offset))] if is_block else [(id, 0)]
    for name, begin in choices:
        pieces = _tile(
            read_charges(place / f"{task}.parquet", name, begin, begin + size) if place else [],
            begin,
        )
        if pieces and pieces[0].start <= 0 and pieces[-1].end >= size:
            return pieces
    return None


def _tile(charges: Sequence[tuple[int, int, float, str]], begin: int) -> list[Piece]:
    """Charges of token, spelling and code as pieces from byte `begin` on; what an empty one cost
    goes to the next. [] where they do not tile.
    """
    pieces: list[Piece] = []
    waiting = 0.0
    for start, end, bits, kind in charges:
        if kind not in ("token", "spelling", "code") or not bits >= 0 or end < start:
            return []
        if end == start:
            waiting += bits if start >= begin else 0.0
            continue
        if end <= begin:
            continue
        if pieces and start - begin != pieces[-1].end:
            return []
        pieces.append(Piece(start - begin, end - begin, bits + waiting, kind == "spelling"))
        waiting = 0.0
    return pieces


def bits_of_bytes(passage: Heatmap, row: HeatmapRow) -> list[float]:
    """Bits of each byte of the passage, a piece's spread evenly over its bytes."""
    size = len(passage.text.encode())
    return [
        piece.bits / (piece.end - piece.start)
        for piece in row.pieces
        for _ in range(max(piece.start, 0), min(piece.end, size))
    ]


def bits_per_byte(passage: Heatmap, row: HeatmapRow) -> float:
    """Of the passage alone."""
    found = bits_of_bytes(passage, row)
    return math.fsum(found) / len(found)


def line_ends(text: str) -> list[int]:
    """Where lines end, as numbers of characters: behind the last white space that fits. Line breaks
    of the text itself are but signs in a line.
    """
    ends, begin = [], 0
    while begin < len(text):
        line = text[begin : begin + LINE_CHARACTERS]
        space = max(line.rfind(" "), line.rfind("\n"))
        begin += space + 1 if space >= 0 and begin + len(line) < len(text) else len(line)
        ends.append(begin)
    return ends


def lines(passage: Heatmap, row: HeatmapRow) -> list[list[Span]]:
    """A model's spans, line by line: the lines are those of every other model too."""
    raw = passage.text.encode()
    shares = bits_of_bytes(passage, row)
    owner = [
        number
        for number, piece in enumerate(row.pieces)
        for _ in range(max(piece.start, 0), min(piece.end, len(raw)))
    ]
    made: list[list[Span]] = []
    character = byte = 0
    for line_end in line_ends(passage.text):
        groups: list[tuple[int, int, str]] = []  # first and last byte, and the characters
        for letter in passage.text[character:line_end]:
            last = byte + len(letter.encode()) - 1
            if (
                groups
                and owner[groups[-1][0]] == owner[groups[-1][1]] == owner[byte] == owner[last]
            ):
                groups[-1] = (groups[-1][0], last, groups[-1][2] + letter)
            else:
                groups.append((byte, last, letter))
            byte = last + 1
        character = line_end
        made.append(
            [
                _span(raw, row.pieces[owner[a] : owner[b] + 1], shares[a : b + 1], text)
                for a, b, text in groups
            ]
        )
    return made


def _span(raw: bytes, pieces: Sequence[Piece], shares: Sequence[float], text: str) -> Span:
    spelled = any(piece.spelled for piece in pieces)
    if len(pieces) > 1:
        return Span(text, text, math.fsum(shares), len(shares), len(pieces), spelled)
    (piece,) = pieces
    whole = raw[max(piece.start, 0) : piece.end].decode("utf-8", "replace")
    said = f"{'…' if piece.start < 0 else ''}{whole}{'…' if piece.end > len(raw) else ''}"
    return Span(text, said, piece.bits, piece.end - piece.start, 1, spelled)
