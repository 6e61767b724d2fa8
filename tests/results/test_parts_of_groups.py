"""Parts of groups stand beneath them: folded on boards, compared and gated only by their names."""

from __future__ import annotations

import pytest
from support import hand_record
from support.comparisons import compare_models
from support.gates import apply_gate
from support.hand_runs import ACCURACY, Hand, right

from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers.registry import draw


def add(hand, name, answers):
    """A group of two subjects, the first half of the questions and the second."""
    rows, half = right(answers), len(answers) // 2
    hand.add(name, ACCURACY, rows)
    for subject, own in (
        ("sea", [*rows[:half], *[[]] * half]),
        ("sky", [*[[]] * half, *rows[half:]]),
    ):
        hand.add(name, ACCURACY, own, variant=f":{subject}", member=subject)
    return hand


def test_only_a_part_that_is_named_is_compared(tmp_path):
    hand = add(add(Hand(tmp_path), "a", "1" * 20), "b", "0" * 10 + "1" * 10)
    whole = compare_models(hand)
    assert ([row.metric for row in whole.rows], whole.tests) == (["accuracy"], 1)
    said = "2 parts of groups; --metric accuracy:sea compares one"
    assert ("not compared", said) in whole.facts
    part = compare_models(hand, metrics=["accuracy:sea"])
    assert [(row.metric, row.n, row.verdict) for row in part.rows] == [
        ("accuracy:sea", 10, "better")
    ]
    assert [row.metric for row in compare_models(hand, metrics=["accuracy"]).rows] == ["accuracy"]


def test_only_a_part_that_is_named_is_gated(tmp_path):
    run = add(Hand(tmp_path / "run"), "lstm", "0" * 10 + "1" * 30)
    old = add(Hand(tmp_path / "record"), "lstm", "1" * 20 + "1" * 10 + "0" * 10)
    assert [one.row.metric for one in apply_gate(tmp_path, run, old).rows] == ["accuracy"]
    named = apply_gate(tmp_path, run, old, **{"accuracy:sea": "0"})
    assert {one.row.metric: one.state for one in named.rows} == {
        "accuracy": "passed",
        "accuracy:sea": "failed",
    }


@pytest.mark.parametrize(("count", "is_folded"), [(2, False), (57, True)])
def test_a_board_has_a_row_for_each_part_with_n_and_interval(count, is_folded):
    row = {"model": "net", "task": "mmlu", "metric": "accuracy", "value": 0.5, "unit": "share"}
    row |= {"better": "higher", "signature": "s", "low": 0.4, "high": 0.6}
    names = [f"subject_{at}" for at in range(count)]
    parts = [{**row, "n": 7, "variant": f":{name}", "member": name} for name in names]
    found = hand_record.record(
        models=[hand_record.model("net", 3)],
        scores=[{**row, "n": 7 * count}, *parts],
        failures=[],
        notes={},
    )
    board = build(found)
    markdown, page = draw("md", board), draw("html", board)
    line = "subject\\_1, accuracy | 7 | 50.0 % \\[40.0, 60.0\\] |"
    assert line in markdown
    assert (f"<details><summary>The parts of mmlu, {count} rows" in markdown) is is_folded
    head, _, rest = page.partition('<details class="members')
    inside = rest.partition("</details>")[0]
    assert inside.count('<tr class="line">') == count
    assert '<td class="number">7</td><td class="number">50.0 % [40.0, 60.0]</td>' in inside
    assert "subject_1" not in head
    assert inside.startswith(" long") is is_folded
    assert "subject_1" not in draw("table", board)
