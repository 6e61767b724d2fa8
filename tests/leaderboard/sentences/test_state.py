"""A run that is not whole says so on every board."""

from __future__ import annotations

import csv
import io

import pytest
from support.hand_record import model, record, score

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.renderers.registry import draw
from llmbench.leaderboard.sentences.state import describe_state

NAMES = ("a", "b", "c", "d")


def stopped(end="interrupted", open_cells=None, done=("a", "b"), **more):
    """A run of four models, of which two have a score."""
    return record(
        models=[model(name, 3) for name in NAMES],
        scores=[score(name, "bits_per_byte", 2.0) for name in done],
        failures=more.pop("failures", []),
        notes={"cells": {name: ["likelihood"] for name in done}},
        state={"end": end, "not_reached": open_cells or {}, **more},
    )


OPEN = {"c": ["likelihood", "speed"], "d": ["likelihood", "speed"]}


def test_models_that_were_not_reached_are_counted_and_named():
    assert describe_state(stopped(open_cells=OPEN)) == (
        "Interrupted: 2 of 4 models; not reached: c and d."
    )


def test_a_run_that_was_stopped_after_its_last_cell_is_whole():
    assert describe_state(stopped(done=NAMES)) == ""
    assert describe_state(stopped("unfinished", done=NAMES)).startswith("Unfinished")
    partial = stopped(done=NAMES, not_asked=["e"])
    assert describe_state(partial) == ("Partial: 4 models; not asked, 1 of the suite's models: e.")


def test_a_run_that_was_killed_is_unfinished():
    assert describe_state(stopped("unfinished", OPEN)).startswith(
        "Unfinished, as the run is still at work or was killed: 2 of 4 models; not reached"
    )


def test_tasks_that_some_or_no_models_were_asked_are_named():
    some = {"a": ["speed"], "b": ["speed"]}
    assert describe_state(stopped(open_cells={**some, **OPEN})) == (
        "Interrupted: 2 of 4 models; not reached: c and d; speed not reached by any model."
    )
    assert describe_state(stopped(open_cells={"b": ["speed"]}, done=NAMES)) == (
        "Interrupted: speed not reached by b."
    )


def test_a_model_that_failed_was_reached():
    row = {"model": "c", "task": "likelihood", "reason": "error", "message": "x", "hint": ""}
    found = stopped(open_cells={"c": ["speed"], "d": ["likelihood"]}, failures=[row])
    assert describe_state(found) == (
        "Interrupted: 3 of 4 models; not reached: d; speed not reached by c."
    )


def test_models_that_were_left_out_on_purpose_were_not_asked():
    assert describe_state(stopped("done", done=NAMES, not_asked=["x", "y"])) == (
        "Partial: 4 models; not asked, 2 of the suite's models: x and y."
    )


def test_a_whole_run_has_nothing_to_say():
    whole = stopped("done", done=NAMES)
    assert describe_state(whole) == ""
    board = leaderboard_board.build(whole)
    assert (board.state, board.open_cells) == ([], [])
    rows = list(csv.DictReader(io.StringIO(draw("csv", board))))
    assert {row["state"] for row in rows} == {""}


@pytest.mark.parametrize("form", ["md", "table"])
def test_the_state_stands_before_everything_else(form):
    drawn = draw(form, leaderboard_board.build(stopped(open_cells=OPEN)))
    assert "not reached: c and d" in " ".join(drawn.split())
    assert drawn.index("Interrupted") < drawn.index("bits/byte")


def test_each_open_cell_is_a_line_of_the_csv():
    rows = list(
        csv.DictReader(io.StringIO(draw("csv", leaderboard_board.build(stopped(open_cells=OPEN)))))
    )
    assert [(row["model"], row["task"], row["value"], row["state"]) for row in rows] == [
        ("a", "likelihood", "2.0", "interrupted"),
        ("b", "likelihood", "2.0", "interrupted"),
        ("c", "likelihood", "", "not reached"),
        ("c", "speed", "", "not reached"),
        ("d", "likelihood", "", "not reached"),
        ("d", "speed", "", "not reached"),
    ]


def test_the_last_moment_is_called_what_it_was():
    keys = [
        leaderboard_board.build(stopped(end, OPEN)).facts[1][0]
        for end in ("done", "interrupted", "unfinished")
    ]
    assert keys == ["finished", "interrupted", "last written"]


def test_a_name_of_a_hostile_record_is_one_clean_line():
    evil = stopped(open_cells={"c": ["x\x1b[2J\n# y" * 100]})
    drawn = draw("table", leaderboard_board.build(evil))
    assert "\x1b" not in drawn
    assert "\x1b" not in draw("csv", leaderboard_board.build(evil))
