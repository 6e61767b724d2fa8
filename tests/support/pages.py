"""Pages of boards as readers meet them, written to files for a real browser."""

from __future__ import annotations

from pathlib import Path

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.board import Board
from llmbench.leaderboard.merge.merge import merge
from llmbench.leaderboard.renderers import html
from llmbench.results.record import Record
from support.hand_record import data, passage, record, samples
from support.wide_record import build_data, build_record, write_items

EXAMPLE = Path(__file__).parents[2] / "reports/example/run.json"


def build_small(folder: Path) -> Board:
    """A board of six models by hand, with passages and samples."""
    return leaderboard_board.build(record(), passage(samples(folder)))


def build_wide(folder: Path) -> Board:
    """40 models on 10 tasks, with the samples of all."""
    return leaderboard_board.build(build_record(), write_items(folder))


def build_interrupted(folder: Path) -> Board:
    """A run that reached four of six models."""
    state = {
        "end": "interrupted",
        "not_reached": {"lstm": ["likelihood", "speed"], "mine": ["likelihood"]},
    }
    whole = data()
    gone = ("lstm", "mine")
    scores = [row for row in whole["scores"] if row["model"] not in gone]
    return leaderboard_board.build(record(scores=scores, failures=[], state=state), folder)


def build_merged(folder: Path) -> Board:
    """Runs of four machines on one board."""
    runs = []
    for number in range(4):
        whole = build_data(8, 2, seed=number)
        whole["machine"] |= {"cpu": f"Processor {number + 1}", "cores": 2**number}
        for row in whole["models"]:
            row["fingerprint"] = f"{number}{row['name']}".encode().hex().ljust(64, "0")[:64]
        made = Record.model_validate(whole)
        runs.append(folder / f"machine-{number + 1}")
        made.write(runs[-1])
        write_items(runs[-1], 8, 2, items=60)
    board, _ = merge(runs)
    return board


def build_example(folder: Path) -> Board:
    """The example of the documentation."""
    return leaderboard_board.build(Record.model_validate_json(EXAMPLE.read_text()), None)


BOARDS = {
    "small": build_small,
    "wide": build_wide,
    "interrupted": build_interrupted,
    "merged": build_merged,
    "example": build_example,
}


def write_page(folder: Path, kind: str) -> Path:
    """Write a board's page, and what it is made from, into a folder; return the page."""
    board = BOARDS[kind](folder)
    file = folder / "leaderboard.html"
    file.write_text(html.render(board), encoding="utf-8")
    return file
