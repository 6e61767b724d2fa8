"""Across models and tasks: the overall rank, the pairs, and a front that only tests can push a
model off.
"""

from __future__ import annotations

import pytest
from support.hand_record import model, proven, record, score, speed
from support.wide_record import build_record

from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.overview.overall import find_overall
from llmbench.leaderboard.overview.pairs import find_pairs

FIRST = {"a": ["c"], "b": ["c"], "c": []}
SECOND = {"a": ["b", "c"], "b": [], "c": []}


def build(tasks, more=(), names=("a", "b", "c")):
    """A board of tasks -> (values, who beats whom)."""
    scores, notes = list(more), {}
    for task, (values, beats) in tasks.items():
        notes[task] = {"better_than": beats}
        for name, value in values.items():
            rank = None
            if name in beats:
                rank = [
                    1 + sum(name in others for others in beats.values()),
                    len(beats) - len(beats[name]),
                ]
            scores.append(score(name, "bits_per_byte", value, 0.1, task=task, rank=rank))
    return leaderboard_board.build(
        record(
            models=[model(name, 3) for name in names],
            scores=scores,
            failures=[],
            notes={"tasks": notes},
        )
    )


TWO_TASKS = {
    "one": ({"a": 1.0, "b": 1.1, "c": 2.0}, FIRST),
    "two": ({"a": 1.0, "b": 2.0, "c": 1.9}, SECOND),
}


def test_the_overall_rank_is_the_mean_and_its_range_what_the_tests_leave():
    found = find_overall(build(TWO_TASKS).tables)
    assert found.counted == 2
    rows = {row.model: (row.mean, row.low, row.high) for row in found.rows}
    # a: 1 and 1, in 1-2 and 1; b: 2 and 3, in 1-2 and 2-3; c: 3 and 2, in 3 and 2-3
    assert rows == {"a": (1.0, 1.0, 1.5), "b": (2.5, 1.5, 2.5), "c": (2.5, 2.5, 3.0)}
    assert [row.model for row in found.rows] == ["a", "b", "c"]


def test_a_model_that_one_task_does_not_rank_has_no_overall_rank_and_moves_no_other():
    tasks = {**TWO_TASKS, "three": ({"a": 1.0, "b": 3.0}, {"a": ["b"], "b": []})}
    found = find_overall(build(tasks).tables)
    assert (found.compared, found.counted) == (2, 3)
    rows = {row.model: row for row in found.rows}
    assert rows["c"].mean is None
    assert rows["c"].cells[2].text == "-"
    assert [cell.rank for cell in rows["b"].cells] == [(1, 2), (2, 2), (2, 2)]


def test_one_task_has_no_overall_rank():
    assert find_overall(build({"one": TWO_TASKS["one"]}).tables) is None


def test_a_cell_knows_its_place_between_the_best_and_the_worst():
    found = find_overall(build(TWO_TASKS).tables)
    places = {row.model: [cell.place for cell in row.cells] for row in found.rows}
    assert places == {"a": [0.0, 0.0], "b": [0.5, 1.0], "c": [1.0, 0.5]}


def test_pairs_say_for_each_two_models_what_the_test_said():
    (one, two), left_out = find_pairs(build(TWO_TASKS).tables)
    assert [name for name, _, _ in one.models] == ["a", "b", "c"]
    assert list(one.signs) == [".=+", "=.+", "--."]
    assert [name for name, _, _ in two.models] == ["a", "c", "b"]
    assert list(two.signs) == [".++", "-.=", "-=."]
    assert left_out == []


def test_a_page_has_room_for_so_many_pairs_and_names_the_tasks_that_are_left_out():
    made, left_out = find_pairs(leaderboard_board.build(build_record(60, 10)).tables)
    assert len(made) == 6
    assert left_out == [f"task-{number}" for number in (7, 8, 9, 10)] + ["speed"]


def rates(values, beats):
    rows = [
        speed(name, "decode_bytes_per_second", value, rank=[1, 3]) for name, value in values.items()
    ]
    return rows, {"speed": {"better_than": beats}}


def front(bits, bits_beats, speeds, speed_beats, **changes):
    rows, notes = rates(speeds, speed_beats)
    rows += [score(name, "bits_per_byte", value) for name, value in bits.items()]
    made = record(
        **{
            "models": [model(name, 3) for name in bits],
            "scores": rows,
            "failures": [],
            "notes": {"tasks": {"likelihood": {"better_than": bits_beats}, **notes}},
            **changes,
        }
    )
    return {point.model for point in leaderboard_board.build(made).points if point.front}


BITS = {"a": 1.0, "b": 1.1, "c": 2.0}


def test_a_model_is_off_the_front_only_where_another_is_proven_better_in_both():
    speeds = {"a": 100.0, "b": 90.0, "c": 80.0}
    everything = {"a": ["b", "c"], "b": ["c"], "c": []}
    assert front(BITS, everything, speeds, everything) == {"a"}
    # a is better than b by its numbers alone
    assert front(BITS, FIRST, speeds, everything) == {"a", "b"}
    assert front(BITS, everything, speeds, {"a": [], "b": [], "c": []}) == {"a", "b", "c"}


def test_without_tests_the_numbers_decide():
    assert front(BITS, {}, {"a": 100.0, "b": 100.0, "c": 300.0}, {}) == {"a", "c"}


def test_a_model_whose_certificate_was_refused_is_on_no_front():
    models = [model("a", 3, certificate=proven("normalised: no")), model("b", 3), model("c", 3)]
    speeds = {"a": 100.0, "b": 90.0, "c": 80.0}
    assert front(BITS, {}, speeds, {}, models=models) == {"b"}


@pytest.mark.parametrize("missing", ["bits", "speed"])
def test_of_a_model_that_was_not_tested_the_numbers_decide(missing):
    beats = {"a": ["c"], "c": []}
    whole = {"a": ["b", "c"], "b": ["c"], "c": []}
    speeds = {"a": 100.0, "b": 90.0, "c": 80.0}
    tests = (beats, whole) if missing == "bits" else (whole, beats)
    assert front(BITS, tests[0], speeds, tests[1]) == {"a"}


def test_a_mean_over_tasks_does_not_count_beside_these_tasks():
    rows = [
        score(name, "mean_accuracy", value, 0.1, task="MEAN", unit="share", better="higher")
        for name, value in {"a": 0.1, "b": 0.9, "c": 0.8}.items()
    ]
    whole, bare = find_overall(build(TWO_TASKS, rows).tables), find_overall(build(TWO_TASKS).tables)
    assert [row.mean for row in whole.rows] == [row.mean for row in bare.rows]
    assert (len(whole.tasks), whole.counted) == (3, 2)
