"""Ranks of a table of answers, from the samples of a run."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support import hand_record

from llmbench.leaderboard import board
from llmbench.results.ranking import rank_scores
from llmbench.results.record import Score
from llmbench.storage import write_lines


def scored(tmp_path, answers, metric="accuracy"):
    """A record by hand with these models' answers to the same questions, ranked from the samples
    beside it.
    """
    scores = []
    for name, right in answers.items():
        rows = [
            {"id": f"q{i}", "statistics": {metric: [float(one), 1.0]}}
            for i, one in enumerate(right)
        ]
        write_lines(tmp_path / "samples" / name / "choice.jsonl", rows)
        facts = {
            "task": "choice",
            "unit": "share",
            "better": "higher",
            "n": len(right),
            "chance": 0.25,
        }
        scores.append(
            Score.model_validate(
                hand_record.score(name, metric, sum(right) / len(right), 0.05, **facts)
            )
        )
    found = rank_scores(scores, tmp_path)
    return hand_record.record(
        scores=[score.model_dump() for score in scores], notes={"tasks": found}
    )


def test_a_table_of_answers_is_ranked_and_says_what_it_could_have_seen(tmp_path):
    rng = np.random.default_rng(7)
    made = scored(
        tmp_path,
        {
            "lstm": rng.random(120) < 0.9,
            "mine": rng.random(120) < 0.3,
            "zlib": rng.random(119) < 0.5,
        },
    )
    table = next(table for table in board.build(made).tables if table.headline == "accuracy")
    assert {line.model: line.cells["rank"].text for line in table.lines} == {
        "lstm": "1",
        "mine": "2",
        "zlib": "-",
    }
    assert "Not ranked, because they were measured on other items: zlib." in table.notes
    assert any(
        re.fullmatch(
            r"Differences below about \d\.\d % are too small to be significant here \(median over"
            r" pairs\)\.",
            note,
        )
        for note in table.notes
    )
    assert table.notes[-1] == "Intervals: 95 % over 119 to 120 items, not over training seeds."


def test_two_questions_rank_nobody_and_the_table_says_so(tmp_path):
    made = scored(tmp_path, {"lstm": [1, 1], "mine": [0, 0]})
    table = next(table for table in board.build(made).tables if table.headline == "accuracy")
    assert [line.cells["rank"].text for line in table.lines] == ["1-2", "1-2"]
    assert (
        "2 items are too few for any difference between 2 models to be significant: 6 are needed."
        in table.notes
    )


def test_without_samples_a_table_of_answers_has_no_ranks(tmp_path):
    made = scored(tmp_path, {"lstm": [1] * 9})
    table = next(table for table in board.build(made).tables if table.headline == "accuracy")
    assert table.notes[-1] == "Intervals: 95 % over 9 items. Models are not ranked here."


@pytest.mark.parametrize(("off", "ranks"), [(-6.5e-6, [(1, 2), (1, 2)]), (-5e-4, [(2, 2), (1, 1)])])
def test_engines_of_the_same_weights_are_not_ranked_apart_by_rounding_on_one_side(
    tmp_path, off, ranks
):
    rng = np.random.default_rng(3)
    bits, sizes = rng.uniform(900, 1100, 18), np.full(18, 1000.0)
    scores = []
    for name, moved in (("one", 0.0), ("other", off)):
        pairs = zip(bits + moved * sizes, sizes, strict=True)
        rows = [
            {"id": f"t{i}", "statistics": {"bits_per_byte": pair}} for i, pair in enumerate(pairs)
        ]
        write_lines(tmp_path / "samples" / name / "text.jsonl", rows)
        facts = {"task": "text", "unit": "bits/byte", "better": "lower", "n": 18}
        score = hand_record.score(name, "bits_per_byte", 1.0 + moved, 0.05, **facts)
        scores.append(Score.model_validate(score))
    rank_scores(scores, tmp_path)
    assert [tuple(score.rank) for score in scores] == ranks
