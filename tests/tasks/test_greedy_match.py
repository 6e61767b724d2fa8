"""Whether an answer is what a greedy model writes, and candidates' own tokens: values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.known import Known, quiet, text

from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.ledger import SPELLING, TOKEN, Ledger
from llmbench.plan import task_registry
from llmbench.tasks.answers.choosing import measure_own_tokens
from llmbench.tasks.answers.examples import Examples, check_examples

PAIRS = Text(
    "test",
    (
        Document("0", "blue", "The sky is "),
        Document("1", "red", "Blood is", others=("crimson",)),
        Document("2", "green", "Grass is"),
    ),
)


def build(asked=PAIRS, **more):
    entry = {"task": "greedy-match", **more}
    return task_registry.build(task_registry.read_settings(entry), {"test": asked}, 0)


def test_an_answer_counts_if_it_is_written_with_the_space_before_it():
    model = Known(says={"The sky is": " blue", "Blood is": " crimson", "Grass is": " gone"})
    task = build(template="{given|strip}", baseline=0.5)
    outcome = task.run(model, quiet)
    assert [row["statistics"]["accuracy"] for row in outcome.samples] == [[1, 1], [1, 1], [0, 1]]
    assert [row["input"] for row in outcome.samples] == ["The sky is", "Blood is", "Grass is"]
    accuracy, centred = outcome.scores
    assert accuracy["value"] == pytest.approx(2 / 3)
    assert (centred["metric"], centred["value"]) == ("centred_accuracy", pytest.approx(1 / 3))
    assert outcome.samples[2]["statistics"]["centred_accuracy"] == [-1.0, 1.0]
    assert centred["signature"] == accuracy["signature"] + ";baseline=0.5"
    assert len(build().run(model, quiet).scores) == 1


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (("", "Grass is"), "has an empty answer"),
        (("a", "Grass?", ("a", "b")), "is a question with candidates"),
        (("Grass",), "has no source"),
    ],
)
def test_a_text_without_prompts_and_answers_is_refused(row, what):
    with pytest.raises(UsageError, match=what):
        build(text(row))


def test_settings_that_cannot_go_together_are_refused():
    for entry, what in (
        ({"task": "greedy-match", "chat": True}, "use the task `answer`"),
        ({"task": "multiple-choice", "cost": "own-tokens", "norms": ["none", "char"]}, "norms"),
        ({"task": "multiple-choice", "draw": "nanochat", "shots_by": "a", "shots": 1}, "shots_by"),
        ({"task": "multiple-choice", "baseline": 1.0}, "less than 1"),
    ):
        with pytest.raises(ValueError, match=what):
            task_registry.read_settings(entry)


def make_ledger(pieces, bits, shared=0, kinds=None):
    ends = np.cumsum([len(piece.encode()) for piece in pieces])
    starts = np.concatenate(([0], ends[:-1]))
    kind = np.array(kinds or [TOKEN] * len(pieces), dtype=np.uint8)
    size = int(ends[-1])
    return Ledger(starts, ends, np.array(bits, float), kind, size, context_bytes=shared)


def measure(*lines, at_end=False, **more):
    ledgers = [make_ledger(pieces, bits, **more) for pieces, bits in lines]
    return measure_own_tokens(ledgers, ["".join(pieces) for pieces, _ in lines], at_end)


def test_tokens_with_which_all_candidates_begin_are_none_of_their_own():
    assert measure(([" a", " b"], [9, 2]), ([" a", " c", "d"], [9, 1, 5])) == [2.0, 3.0]
    # other tokens of the same bytes are others
    assert measure(([" a", "b"], [4, 2]), ([" ab"], [5])) == [3.0, 5.0]
    assert measure(([" é"], [4]), ([" è"], [5])) == [4.0, 5.0]


def test_a_candidate_with_which_all_others_begin_is_chosen_only_if_it_is_the_first():
    short, long = ([" a"], [9]), ([" a", " b"], [9, 2])
    assert measure(short, long) == [0.0, 2.0]
    assert measure(long, short) == [2.0, math.inf]


def test_of_contexts_the_tokens_count_with_which_all_end():
    first, second = ([" x", "n", " is"], [9, 4, 2]), ([" y", "n", " is"], [9, 5, 3])
    assert measure(first, second, at_end=True) == [3.0, 4.0]
    # a token that begins in the context, before what is the same
    cut = ([("n", "e"), [9, 2]], [("n", "e"), [9, 3]])
    assert measure(*cut, at_end=True, shared=1) == [2.0, 3.0]
    assert measure(*cut, shared=1) == [0.0, math.inf]


def test_the_spelling_of_an_unknown_word_is_part_of_its_token():
    kinds = [TOKEN, SPELLING, TOKEN]
    assert measure((["", "ab", " c"], [1, 5, 2]), (["", "ad", " c"], [1, 7, 2]), kinds=kinds) == [
        4.0,
        5.0,
    ]


def test_examples_by_place_come_from_the_text_itself_and_never_are_the_question():
    pool = Text("pool", tuple(Document(f"{i}", f"t{i}", f"q{i}") for i in range(6)))
    found = Examples(pool, 5, 1234, "nanochat")
    check_examples(found, pool)
    drawn = found.stream(pool)
    for document in pool.documents:
        assert {one.id for one in drawn.choose(document)} == {*"012345"} - {document.id}
    some = Text("some", pool.documents[2:3], "1@0")
    assert found.stream(some).choose(some.documents[0]) == drawn.choose(pool.documents[2])
    with pytest.raises(UsageError, match="is not in the text 'pool'"):
        check_examples(found, Text("other", (Document("9", "t", "q"),)))
    with pytest.raises(UsageError, match="too few documents for 6 examples"):
        check_examples(Examples(pool, 6, 0, "nanochat"), pool)
