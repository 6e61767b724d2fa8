"""Candidates that stand twice in a question: counted, chance is exact, either place is right."""

from __future__ import annotations

import pytest
from support.known import Known, quiet, text

from llmbench.errors import UsageError
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking

TWICE = text(
    ("yes", "q1", ("no", "yes", "yes", "maybe")),
    ("a", "q2", ("a", "b")),
    ("c", "q3", ("a", "a", "c")),
)


def test_chance_counts_the_places_of_the_right_candidate():
    costs = {("q1", " yes"): 1.0, ("q2", " a"): 1.0, ("q3", " c"): 1.0}
    outcome = MultipleChoice(TWICE, Asking(join=" ")).run(Known(costs=costs), quiet)
    for row in outcome.scores:
        assert row["chance"] == pytest.approx((2 / 4 + 1 / 2 + 1 / 3) / 3)
        assert (row["value"], row["repeated"], row["tied"]) == (1.0, 2, 1)


def test_questions_without_such_candidates_say_nothing():
    once = text(("a", "q", ("a", "b")))
    for row in MultipleChoice(once, Asking()).run(Known(), quiet).scores:
        assert "repeated" not in row


def test_either_place_of_the_right_candidate_is_right():
    class Rounds(Known):
        """Charges the second of two equal candidates a little less, as a batch may."""

        def score(self, passages, window=None):
            for number, ledger in enumerate(super().score(passages, window)):
                ledger.bits[:] -= 1e-6 * number
                yield ledger

    asked = text(("yes", "q", ("yes", "yes", "maybe not")))
    outcome = MultipleChoice(asked, Asking()).run(Rounds(costs={("q", "yes"): 1.0}), quiet)
    assert [row["value"] for row in outcome.scores] == [1.0, 1.0]
    assert outcome.samples[0]["chosen"] == 1


def test_a_question_whose_candidates_are_all_the_same_is_refused():
    same = text(("a", "q", ("a", "a")))
    for refuse in (MultipleChoice.Settings(task="multiple-choice").check, None):
        with pytest.raises(UsageError, match="'0' of the text 'test' has the same candidate"):
            refuse(same) if refuse else MultipleChoice(same, Asking())
