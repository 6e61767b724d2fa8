"""The last word of a text: its words, what around them does not count, what they cost."""

from __future__ import annotations

import pytest
from support.known import Known, quiet, text

from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.tasks.last_word import LastWord, bare, says, split_last_word


def values(outcome):
    return {row["metric"]: row["value"] for row in outcome.scores}


@pytest.mark.parametrize(
    ("whole", "before", "word"),
    [
        ("He went home.", "He went", " home."),
        ("one\n two  ", "one", "\n two"),
        ("single", "", "single"),
        ("", "", ""),
    ],
)
def test_a_text_is_parted_before_its_last_word(whole, before, word):
    assert split_last_word(Document("a", whole)) == (before, word)


@pytest.mark.parametrize(
    ("said", "first"),
    [(" home.", "home"), ('"Home" he', "Home"), ("", ""), ("  \n", ""), ("...", "...")],
)
def test_of_what_is_said_the_first_word_counts(said, first):
    assert bare(said) == first


def test_silence_is_no_last_word_even_if_that_is_punctuation():
    tales = text(("The king went home .",), ('She asked : "',), ("He said nothing ...",))
    for answer, share in (("", 0.0), (" .", 1 / 3), (" ...", 1 / 3), (" word", 0.0)):
        model = Known(dict.fromkeys([split_last_word(d)[0] for d in tales.documents], answer))
        assert values(LastWord(tales).run(model, quiet))["accuracy"] == pytest.approx(share)


def test_the_last_word_of_a_pair_is_its_text():
    pair = text(("stunned", "i look at him , feeling "))
    LastWord.Settings(task="last-word").check(pair)
    assert split_last_word(pair.documents[0]) == ("i look at him , feeling", " stunned")
    assert split_last_word(Document("a", "stunned", "feeling")) == ("feeling", " stunned")


def test_last_words_are_said_or_not_and_their_bits_are_paid():
    tales = text(("He went home.",), ("She said no",))
    model = Known(
        {"He went": " home, and", "She said": " nothing"},
        {("He went", " home."): 0.5, ("She said", " no"): 2.0},
    )
    outcome = LastWord(tales).run(model, quiet)
    assert values(outcome) == {
        "accuracy": 0.5,
        "word_perplexity": pytest.approx(2 ** ((6 * 0.5 + 3 * 2.0) / 2)),
    }
    assert [request.max_bytes for request in model.asked] == [10, 7]
    with pytest.raises(UsageError, match="no two words"):
        LastWord.Settings(task="last-word").check(text(("single",)))


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (" New York", True),
        (" New York, he said", True),
        (' "New York"', True),
        (" New Jersey", False),
        (" New", False),
        (" New Yorker", False),
        (" York", False),
        ("", False),
    ],
)
def test_of_an_answer_of_several_words_all_are_compared(said, right):
    asked = text(("New York", "I love "))
    model = Known({"I love": said}, {("I love", " New York"): 1.0})
    assert values(LastWord(asked).run(model, quiet))["accuracy"] == float(right)


@pytest.mark.parametrize("empty", ["", " ", "\n\t"])
def test_a_pair_whose_answer_is_empty_is_refused(empty):
    asked = Text("test", (Document("a", "no", "yes or "), Document("b", empty, "is it ")))
    for refuse in (LastWord, LastWord.Settings(task="last-word").check):
        with pytest.raises(UsageError, match="'b' of the text 'test' has an empty answer"):
            refuse(asked)


def test_silence_is_never_an_answer():
    assert not any(says(output, answer) for output, answer in (("", ""), (" ", " "), ("", "word")))


def test_of_several_right_words_each_is_right_whatever_its_length():
    asked = Text("test", (Document("a", "NY", "I love ", others=("New York City",)),))
    for said, right in ((" NY", 1.0), (" New York City.", 1.0), (" New York", 0.0)):
        model = Known({"I love": said}, {("I love", " NY"): 1.0})
        outcome = LastWord(asked).run(model, quiet)
        assert values(outcome)["accuracy"] == right
        assert model.asked[0].max_bytes == len("New York City") + 4
        assert outcome.samples[0]["reference"] == " NY | New York City"


@pytest.mark.parametrize(
    "said",
    [
        "home…",
        "home—",
        "„home“",
        "‚home‘",
        "‹home›",
        "¿home?",
        "「home」",
        "『home』、",
        "home。",
        "home！",
        "(home)،",
        "home؟",
        "home।",
        "home·",
        "«home»",
        "`home`",
        "$home~",
        "–home–",
    ],
)
def test_punctuation_of_any_script_around_a_word_does_not_count(said):
    assert says(said, "home")
    assert says("home", said)


@pytest.mark.parametrize("said", ["home€", "home™", "home2", "ho—me", "homé", "home—and"])
def test_signs_of_other_kinds_and_inside_a_word_count(said):
    assert not says(said, "home")


def test_of_signs_alone_the_same_ones_must_be_said():
    assert bare("… …", 2) == "… …"
    assert says("。 x", "。")
    assert not says("，", "。")
    assert says("York and", "York !")
