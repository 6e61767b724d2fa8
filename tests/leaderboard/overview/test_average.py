"""The average accuracy over the tasks of a board: values by hand, and what is said of it."""

from __future__ import annotations

import math

import pytest
from support.hand_record import model, record, score

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.overview.average import find_average
from llmbench.leaderboard.renderers import html, markdown, table

TASKS = {"one": {"a": 0.5, "b": 0.4}, "two": {"a": 0.8, "b": 0.6}, "three": {"a": 0.2}}


def list_scores(tasks, chances=(0.25, 0.25, 0.25), texts="012"):
    return [
        score(
            name,
            "accuracy",
            value,
            0.1,
            task=task,
            unit="share",
            better="higher",
            chance=chances[number],
            signature=f"text={texts[number]};protocol=multiple-choice/3",
        )
        for number, (task, values) in enumerate(tasks.items())
        for name, value in values.items()
    ]


def build(tasks, *how, more=(), **named):
    scores = [*list_scores(tasks, *how, **named), *more]
    made = record(models=[model("a", 3), model("b", 3)], scores=scores, failures=[], notes={})
    return leaderboard_board.build(made)


def pick(*names):
    return {name: TASKS[name] for name in names}


def test_the_average_is_the_mean_and_its_half_width_that_of_independent_tasks():
    found = find_average(build(pick("one", "two")).tables)
    assert found.tasks == ["one", "two"]
    half = math.hypot(0.1, 0.1) / 2
    cell = found.cells["a"]
    assert (cell.value, cell.low, cell.high) == pytest.approx((0.65, 0.65 - half, 0.65 + half))
    assert cell.text == "65.0 % [57.9, 72.1]"
    assert found.cells["b"].value == pytest.approx(0.5)
    assert len(found.notes) == 1


def test_tasks_about_one_text_do_not_narrow_the_interval():
    found = find_average(build(pick("one", "two"), texts="00").tables)
    assert found.cells["a"].low == pytest.approx(0.55)


def test_a_model_that_lacks_a_task_has_no_average():
    found = find_average(build(TASKS).tables)
    assert found.cells["a"].value == pytest.approx(0.5)
    assert (found.cells["b"].text, found.cells["b"].value) == ("-", None)
    assert "No average, because a task is missing: b." in found.notes


@pytest.mark.parametrize(
    ("chances", "said"),
    [
        ((0.25, 0.5), "mixes chance levels: its tasks have 25.0 % to 50.0 %."),
        ((0.25, None), "mixes chance levels: its tasks have 25.0 %, or have no candidates."),
    ],
)
def test_an_average_that_mixes_chance_levels_says_so(chances, said):
    assert said in find_average(build(pick("one", "two"), chances).tables).notes[-1]


def test_one_task_has_no_average_and_neither_have_tasks_without_accuracy():
    assert find_average(build(pick("one")).tables) is None
    assert find_average(leaderboard_board.build(record()).tables) is None


def test_every_way_of_drawing_has_models_by_tasks_with_the_average():
    board = build(pick("one", "two"), (0.25, 0.5))
    for drawn in (html.render(board), markdown.render(board), table.render(board)):
        assert "All tasks" in drawn
        assert "average accuracy" in " ".join(drawn.split())
        assert "65.0 % [57.9, 72.1]" in drawn.replace("\\", "")
        assert "mixes chance levels" in " ".join(drawn.split())
    assert "| model | average accuracy | one | two |" in markdown.render(board)


def test_a_task_that_is_a_part_of_a_group_counts_once():
    part = score("a", "accuracy", 0.5, 0.1, task="two", unit="share", better="higher")
    part |= {"variant": ":one", "member": "one", "signature": "text=0"}
    found = find_average(build(TASKS, more=[part]).tables)
    assert found.tasks == ["two", "three"]
    assert found.cells["a"].value == pytest.approx((0.8 + 0.2) / 2)
    assert found.notes[-1] == "one counts once, as a part of two."
