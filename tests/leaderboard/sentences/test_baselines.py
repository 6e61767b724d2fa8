"""What needs no reading of the questions, chance and one answer to all of them, is said to beat a
model where it does, and a table that few items could not have decided says so of its own items.
"""

from __future__ import annotations

import json

import pytest
from scipy.stats import binomtest
from support.comparisons import compare_models, print_comparison
from support.hand_record import likelihood, model, record, score
from support.hand_runs import ACCURACY, Hand, right
from support.known import Known, quiet

from llmbench.data.text import Document, Text
from llmbench.leaderboard import board
from llmbench.leaderboard.renderers import csv, html, markdown, table
from llmbench.stats import wilson_interval
from llmbench.tasks.answers.majority import compare_majority, find_common_candidate
from llmbench.tasks.multiple_choice import MultipleChoice
from llmbench.tasks.prompts import Asking
from llmbench.tasks.reference_based import Answer

NEVER_RANKED = "too few for any difference"


def questions(*golds, choices=("yes", "no", "maybe")):
    """Questions whose right answers are these texts."""
    return [Document(f"q{i}", gold, f"{i}?", choices) for i, gold in enumerate(golds)]


def test_the_most_common_answer_is_a_text_or_a_place_among_the_candidates():
    same = questions("no", "no", "yes", "maybe")
    assert find_common_candidate(same) == ("no", [True, True, False, False])
    turned = [  # "a" is right twice, the second candidate three times
        Document("1", "a", "?", ("b", "a")),
        Document("2", "c", "?", ("d", "c")),
        Document("3", "e", "?", ("f", "e")),
        Document("4", "a", "?", ("a", "b")),
    ]
    assert find_common_candidate(turned) == ("candidate 2", [True, True, True, False])


def test_the_test_against_it_is_the_exact_one_of_paired_answers():
    hits = [True] * 14 + [False] * 6
    answers = [True] * 3 + [False] * 11 + [True] * 2 + [False] * 4
    row = compare_majority("yes", hits, answers)
    assert row is not None
    assert row["value"] == 0.7
    assert row["p"] == pytest.approx(binomtest(2, 13, 0.5).pvalue)


@pytest.mark.parametrize("hits", [[True] + [False] * 9, [True] * 2 + [False] * 39])
def test_an_answer_that_is_right_once_or_for_few_is_not_common(hits):
    assert compare_majority("yes", hits, [False] * len(hits)) is None


def test_questions_with_candidates_have_the_most_common_answer_in_the_record():
    text = Text("test", tuple(questions("no", "no", "no", "yes")))
    costs = {(f"{i}?", f" {choice}"): 1.0 for i, choice in enumerate(("yes", "no", "yes", "yes"))}
    rows = MultipleChoice(text, Asking(join=" ")).run(Known(costs=costs), quiet).scores
    by = {row["norm"]: row for row in rows}
    assert by["none"]["value"] == 0.5
    assert by["none"]["majority"]["answer"] == "no"
    assert by["none"]["majority"]["value"] == 0.75
    # the model alone is right in the last question, the constant alone in the first and the third
    assert by["none"]["majority"]["p"] == pytest.approx(binomtest(1, 3, 0.5).pvalue)


def test_short_answers_have_it_by_their_own_measure_of_right():
    places = ("the kitchen", "Kitchen", "garden", "kitchen", "hall")
    text = Text("test", tuple(Document(str(i), p, f"Where {i}?") for i, p in enumerate(places)))
    said = {f"Where {i}?": "garden" for i in range(5)}
    task = Answer(text, Asking(), ("\n",), 60, ["f1", "exact_match", "accuracy"])
    by = {row["metric"]: row for row in task.run(Known(says=said), quiet).scores}
    assert by["exact_match"]["majority"]["value"] == 0.6  # without case and articles
    assert by["exact_match"]["majority"]["p"] == pytest.approx(binomtest(1, 4, 0.5).pvalue)
    assert "majority" not in by["accuracy"]  # to the letter each is right once
    assert "majority" not in by["f1"]


def answered(name, hits, n, level=0.25, majority=None):
    """A row of accuracy over n questions."""
    seen = wilson_interval(hits, n)
    row = score(name, "accuracy", hits / n, task="quiz", unit="share", better="higher")
    row |= {"n": n, "low": seen.low, "high": seen.high, "chance": level}
    if majority:
        row["majority"] = {"answer": "yes", "value": majority[0], "p": majority[1]}
    return row


def draw(*scores, notes=None):
    """The board of these scores."""
    names = dict.fromkeys(one["model"] for one in scores)
    models = [model(name, 3) for name in names]
    return board.build(record(models=models, scores=list(scores), failures=[], notes=notes or {}))


def test_a_result_below_chance_is_said_in_every_format():
    made = draw(answered("upside-down", 10, 100), answered("mine", 20, 100))
    assert wilson_interval(10, 100).high == pytest.approx(0.17437, abs=1e-5)  # by Wilson's formula
    said = made.tables[0].notes
    assert "Chance level: 25.0 %." in said
    assert "Not significantly different from chance: mine." in said
    (sentence,) = (note for note in said if note.startswith("Significantly below chance"))
    assert sentence.endswith(" for short ones: upside-down.")
    for text in (table.render(made, 400), html.render(made), markdown.render(made)):
        assert "Significantly below chance" in text
    head, *lines = (line.split(",") for line in csv.render(made).splitlines())
    assert {line[head.index("chance")] for line in lines} == {"0.25"}


def test_the_most_common_answer_is_named_with_its_value_and_whom_it_beats():
    made = draw(
        answered("weak", 40, 100, majority=(0.62, 1e-4)),
        answered("weaker", 45, 100, majority=(0.62, 0.03)),  # 0.06 after Holm's correction
        answered("near", 60, 100, majority=(0.62, 0.04)),
        answered("good", 90, 100, majority=(0.62, 1e-9)),
    )
    sentence = (
        "Always giving the most common right answer (yes) would reach 62.0 %, significantly better"
        " than weak."
    )
    assert sentence in made.tables[0].notes
    for text in (table.render(made, 400), html.render(made)):
        assert sentence in text
    head, *lines = (line.split(",") for line in csv.render(made).splitlines())
    assert {line[head.index("majority")] for line in lines} == {"0.62"}


def test_an_answer_that_beats_all_models_or_none_says_so():
    both = [answered(name, 40, 100, majority=(0.62, 1e-4)) for name in ("a", "b")]
    none = [answered(name, 60, 100, majority=(0.62, 0.7)) for name in ("a", "b")]
    lead = "Always giving the most common right answer (yes) would reach 62.0 %"
    assert f"{lead}, significantly better than every model." in draw(*both).tables[0].notes
    assert f"{lead}." in draw(*none).tables[0].notes


def test_a_comparison_says_who_is_below_chance_or_the_most_common_answer(tmp_path):
    low = wilson_interval(10, 100)
    more = {"chance": 0.25, "low": low.low, "high": low.high}
    majority = {"answer": "yes", "value": 0.3, "p": 1e-3}
    hand = Hand(tmp_path)
    hand.add("a", ACCURACY, right("1" * 10 + "0" * 90), majority=majority, **more)
    hand.add("b", ACCURACY, right("1" * 50 + "0" * 50), chance=0.25, low=0.4, high=0.6)
    found = compare_models(hand)
    text = " ".join(print_comparison(tmp_path, "a", "b", "--format", "md").split())
    assert "choice, accuracy: A is significantly below chance (25.0 %" in text
    assert "(yes) would reach 30.0 %, significantly better than A." in text
    assert [(one.model, one.level, one.answer) for one in found.below] == [
        ("A", 0.25, None),
        ("A", 0.3, "yes"),
    ]
    drawn = json.loads(print_comparison(tmp_path, "a", "b", "--format", "json"))
    assert [one["level"] for one in drawn["below"]] == [0.25, 0.3]


def proven(needed, better):
    """Notes of a table whose ranks rest on so many items at least."""
    return {"tasks": {"likelihood": {"items_needed": needed, "better_than": better}}}


def test_a_model_of_one_item_does_not_make_a_proven_table_look_thin():
    made = draw(
        *likelihood("zlib", 4.0, None, None, charged="code", n=1),
        *likelihood("lstm", 2.0, 0.1, [1, 1], n=18),
        *likelihood("mine", 3.0, 0.1, [2, 2], n=18),
        notes=proven(6, {"lstm": ["mine"], "mine": []}),
    )
    said = made.tables[0].notes
    assert not [note for note in said if NEVER_RANKED in note]
    assert said[-1] == "Intervals: 95 % over 18 items of the text, not over training seeds."


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        (1, "1 item is too few for any difference between 2 models to be significant: 6"),
        (5, "5 items are too few for any difference between 2 models to be significant: 6"),
    ],
)
def test_too_few_items_are_counted_of_the_models_that_are_ranked(items, sentence):
    made = draw(
        *likelihood("zlib", 4.0, 0.1, None, charged="code", n=90),
        *likelihood("lstm", 2.0, None, [1, 2], n=items),
        *likelihood("mine", 3.0, None, [1, 2], n=items),
        notes=proven(6, {"lstm": [], "mine": []}),
    )
    assert f"{sentence} are needed." in made.tables[0].notes


def test_one_item_is_too_few_in_a_comparison_too(tmp_path):
    hand = Hand(tmp_path).add("a", ACCURACY, right("1")).add("b", ACCURACY, right("0"))
    (row,) = compare_models(hand).rows
    assert row.reason == "1 item is too few to prove anything: 6 would be needed"
