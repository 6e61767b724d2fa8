from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import random
from functools import cache

import numpy as np
import pytest

from llmbench.data import loading
from llmbench.data.storyworld import stories as storyworld_stories
from llmbench.data.storyworld.grammar import EPISODES, FIRST, LAST, THEN, signature, summary, walk
from llmbench.data.storyworld.murrel import LEXICON, SUFFIXES
from llmbench.data.storyworld.sentences import WORDINGS, Slot
from llmbench.data.storyworld.stories import generate, make, parse, questions, translate
from llmbench.data.storyworld.words import TABLES, table

LANGUAGES = ("english", "murrel")
MANDATORY = (24, 23, 22, 16, 15, 14, 16, 16, 8, 16, 24, 12, 16, 16, 8, 7)


@pytest.fixture(scope="module")
def stories():
    return [generate(seed) for seed in range(10_000)]


def forms(part, language):
    """All that may stand at a slot."""
    if part.pronoun:
        return (part.pronoun, storyworld_stories.PRONOUNS[part.pronoun])
    return tuple(word.form(language) for word in table(part.name).values())


def share_a_sentence(first, second, language):
    """Whether two wordings can make the same sentence, if a slot could hold any entry each time:
    decided exactly, by laying them side by side.
    """

    @cache
    def meet(
        i, left, j, right
    ):  # the rest of either: what is left of a piece, then the parts from i or j on
        same = min(len(left), len(right))
        if left[:same] != right[:same]:
            return False
        left, right = left[same:], right[same:]
        if not left and i < len(a):
            return any(meet(i + 1, piece, j, right) for piece in pieces(a[i]))
        if not right and j < len(b):
            return any(meet(i, left, j + 1, piece) for piece in pieces(b[j]))
        return not left and not right

    def pieces(part):
        return (part,) if isinstance(part, str) else forms(part, language)

    a, b = first.parts(language), second.parts(language)
    return meet(0, "", 0, "")


def alternatives():
    """The kinds of sentence that may stand at one place, which a reader has to tell apart."""
    return [
        *((kind,) for kind in FIRST),
        tuple(THEN),
        (*EPISODES, "settle", "whereabouts"),
        *(tuple(after) for after in LAST.values() if after),
    ]


def test_the_text_determines_the_choices(stories):
    for story in stories:
        assert parse(story.text) == story


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_wordings_at_one_place_can_make_the_same_sentence(language):
    for kinds in alternatives():
        for first, second in itertools.combinations(
            [wording for kind in kinds for wording in WORDINGS[kind]], 2
        ):
            assert not share_a_sentence(first, second, language), (first.name, second.name)


def test_wordings_that_do_make_the_same_sentence_are_seen():
    wording = WORDINGS["bet"][0]
    assert share_a_sentence(wording, wording, "english")
    split = dataclasses.replace(wording, english=("At dawn Mil", "o sang"))
    assert share_a_sentence(
        dataclasses.replace(wording, english=(Slot("when"), " ", Slot("guest"), " sang")),
        split,
        "english",
    )
    assert not share_a_sentence(
        dataclasses.replace(wording, english=(Slot("when"), " ", Slot("guest"), " slept")),
        split,
        "english",
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_entry_of_a_table_begins_with_another(language):
    for name, words in TABLES.items():
        ordered = sorted(word.form(language) for word in words.values())
        assert not any(second.startswith(first) for first, second in itertools.pairwise(ordered)), (
            name
        )


def test_no_entry_stands_in_two_tables():
    assert sum(map(len, TABLES.values())) == len(
        {entry for words in TABLES.values() for entry in words}
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_full_stop_ends_a_sentence_and_stands_nowhere_else(language):
    assert not any(
        "." in word.form(language) for words in TABLES.values() for word in words.values()
    )
    for wording in itertools.chain(*WORDINGS.values()):
        assert not any("." in part for part in wording.parts(language) if isinstance(part, str))


def test_both_languages_name_every_slot_that_is_drawn():
    for wording in itertools.chain(*WORDINGS.values()):
        for language in LANGUAGES:
            assert set(wording.draws) <= {
                part.name
                for part in wording.parts(language)
                if isinstance(part, Slot) and not part.pronoun
            }


def test_no_story_is_a_prefix_of_another(stories):
    for kind, wordings in WORDINGS.items():
        for wording in wordings:
            assert (kind == "closing") == (
                "So ends" in "".join(part for part in wording.english if isinstance(part, str))
            )
    ordered = sorted({story.text for story in stories})
    assert not any(second.startswith(first) for first, second in itertools.pairwise(ordered))
    assert all(
        story.text.count("So ends") == 1 and "So ends" in story.text.split(". ")[-1]
        for story in stories
    )


def test_different_seeds_tell_different_stories_in_both_languages(stories):
    assert len({story.text for story in stories}) == len(stories)
    assert len({translate(story) for story in stories[:1000]}) == 1000


def test_a_translation_determines_the_story(stories):
    for story in stories[:1000]:
        assert parse(translate(story), "murrel") == story


def test_every_story_has_sixty_bits(stories):
    assert math.log2(math.prod(MANDATORY)) > 60
    for story in stories[
        :200
    ]:  # the draws that the argument counts on are there, with these probabilities
        counted = [
            round(1 / choice.probability)
            for choice in story.choices
            if choice.site not in ("kind", "wording", "keeper", "winner")
        ]
        assert not [size for size in MANDATORY if MANDATORY.count(size) > counted.count(size)]
    assert storyworld_stories.least_bits() > 60
    bits = [story.bits for story in stories]
    assert storyworld_stories.least_bits() <= min(bits) <= max(bits) <= summary().most


def test_the_bits_are_those_of_the_choices(stories):
    for story in stories[:100]:
        assert story.bits == math.fsum(-math.log2(choice.probability) for choice in story.choices)


def test_the_mean_bits_are_the_entropy(stories):
    bits = np.array([story.bits for story in stories])
    assert abs(bits.mean() - storyworld_stories.entropy()) < 3 * bits.std() / math.sqrt(len(bits))
    assert bits.std() == pytest.approx(storyworld_stories.deviation(), rel=0.03)


def test_states_that_the_recursion_takes_for_the_same_offer_the_same_weights():
    seen, chance = {}, random.Random(1)

    def choose(state, site, options):
        assert seen.setdefault(signature(state), list(options.values())) == list(options.values())
        return chance.choice(list(options))  # evenly, so that rare branches are seen too

    for _ in range(1000):
        walk(choose)
    assert len(seen) > 500


def test_options_come_as_often_as_their_probabilities_say(stories):
    share = {}
    for story in stories:
        for choice in story.choices:
            key = (choice.site, choice.option, choice.probability)
            share[key] = share.get(key, 0) + 1
    for wording in WORDINGS["opening"]:
        p = wording.weight / 7
        assert abs(share["wording", wording.name, p] / len(stories) - p) < 4 * math.sqrt(
            p * (1 - p) / len(stories)
        )
    for name in TABLES["habit"]:
        assert abs(share["habit", name, 1 / 16] / len(stories) - 1 / 16) < 4 * math.sqrt(
            15 / 256 / len(stories)
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_no_story_is_refused(language):
    story = generate(3)
    text = story.text if language == "english" else translate(story)
    wrong = [
        "",
        ".",
        "Once upon a time.",
        text[:-1],
        text + " ",
        " " + text,
        text.replace(". ", ".  ", 1),
        text.replace(". ", ".\n", 1),
        text.upper(),
    ]
    for other in [*wrong, translate(story) if language == "english" else story.text]:
        with pytest.raises(ValueError):
            parse(other, language)


def test_a_story_that_contradicts_itself_is_refused():
    story = generate(0)
    sentences = story.text.split(". ")
    drawn = {choice.site: choice.option for choice in story.choices}
    with pytest.raises(ValueError, match="contradicts"):
        parse(
            (" pink " if drawn["colour"] != "pink" else " red ").join(
                story.text.rsplit(f" {drawn['colour']} ", 1)
            )
        )
    with pytest.raises(ValueError, match="breaks off"):
        parse(". ".join(sentences[:-1]) + ".")
    with pytest.raises(ValueError, match="follows its end"):
        parse(story.text + " " + sentences[-1])
    with pytest.raises(ValueError, match="cannot stand"):
        parse(". ".join([sentences[1], sentences[0], *sentences[2:]]))
    with pytest.raises(ValueError, match="not possible"):
        parse(story.text.replace(drawn["third"], drawn["friend"]))


def test_stories_are_short_and_various(stories):
    lengths = {story.text.count(".") for story in stories}
    assert min(lengths) >= 6
    assert max(lengths) == 14
    assert len(lengths) >= 4
    assert {
        choice.option for story in stories for choice in story.choices if choice.site == "wording"
    } == {wording.name for wordings in WORDINGS.values() for wording in wordings}


def test_what_was_said_early_comes_back_late(stories):
    for story in stories[:500]:
        drawn = {choice.site: choice.option for choice in story.choices}
        second_half = story.text[len(story.text) // 2 :]
        assert drawn["habit"] in second_half
        assert drawn["thing"] in second_half
        assert story.text.count(drawn["hero"]) > 1


def test_questions_are_answered_by_the_text(stories):
    for story in stories[:500]:
        asked = dict(questions(story))
        assert len(asked) == len(questions(story)) >= 12
        assert all(1 <= len(answer.split()) <= 2 for answer in asked.values())
        assert all(
            answer in story.text
            for question, answer in asked.items()
            if question.startswith(("Who", "Where", "What"))
        )
        (ending,) = (
            sentence
            for sentence in story.text[:-1].split(". ")
            if any(sentence.startswith(b) or b in sentence for b in ENDINGS)
        )
        at_the_end = {
            question.split()[0]: answer for question, answer in asked.items() if " end?" in question
        }
        assert at_the_end["Where"] in ending
        assert at_the_end["What"] in ending
        thing = next(choice.option for choice in story.choices if choice.site == "thing")
        assert asked[f"Who has the {thing} at the end?"] in ending


ENDINGS = ("In the end the ", " now, safe ", "To this day the ")


def test_questions_about_a_story_that_was_written_by_hand():
    story = parse(
        "In the year of the broken bridge, Wenna was the cobbler of Saltby. Whenever she was bored,"
        " she bowed to the stove. Her friends were Milo the baker and Yrsa the glazier. Wenna owned"
        " a green kettle, which she kept in the shed. Milo always carried a thimble. Wenna also"
        " kept five geese. At dawn Wenna gave the kettle to Yrsa, who kept it on the roof. On"
        " Tuesday Yrsa grew tired of green and made the kettle pink. One morning Wenna sold two of"
        " the geese and kept three. In the end the pink kettle was on the roof, and it belonged to"
        " Yrsa. The thimble stayed with Milo. And because Wenna was bored, she bowed to the stove."
        " So ends all that Yrsa remembers of the year of the broken bridge."
    )
    assert questions(story) == [
        ("Who has the kettle at the end?", "Yrsa"),
        ("Who has the thimble at the end?", "Milo"),
        ("Where was the kettle at first?", "the shed"),
        ("Where is the kettle at the end?", "the roof"),
        ("What colour is the kettle at the end?", "pink"),
        ("How many geese does Wenna have at the end?", "three"),
        ("How often did the kettle change hands?", "once"),
        ("Did the kettle change its colour?", "yes"),
        ("Does Milo have the thimble at the end?", "yes"),
        ("Does Yrsa have the thimble at the end?", "no"),
        ("Who is the baker?", "Milo"),
        ("What is the trade of Yrsa?", "glazier"),
    ]


def test_murrel_puts_its_verbs_last_and_shares_no_words_with_english(stories):
    assert len(set(LEXICON.values())) == len(LEXICON)
    assert len(set(SUFFIXES.values())) == len(SUFFIXES)
    english = {word.strip(",.").lower() for story in stories[:500] for word in story.text.split()}
    own = {
        word.strip(",.")
        for story in stories[:500]
        for word in translate(story).split()
        if word[0].islower()
    }
    assert english & own == set(), "by chance some stem spells an English word"
    assert all(
        translate(story).rstrip(".").endswith(LEXICON["end"] + SUFFIXES["does"])
        for story in stories[:100]
    )


def test_test_stories_are_kept_out_of_training():
    test = make(200, seed=1)
    again = make(200, seed=1, skip={story.text for story in test[:50]})
    assert again[:150] == test[50:]
    assert not {story.text for story in again} & {story.text for story in test[:50]}
    assert len({story.text for story in again}) == 200


def test_a_seed_gives_the_same_stories_everywhere():
    assert make(3, seed=7) == make(5, seed=7)[:3]
    assert generate(11) == make(1, seed=11)[0]
    told = "\n".join(
        part
        for story in make(20, seed=0)
        for part in (story.text, translate(story), json.dumps(questions(story)))
    )
    assert (
        hashlib.sha256(told.encode()).hexdigest()
        == "3011b441ff5642ba8555ce7465bfcb53c952adfd61454c0329825a463976980a"
    )


def test_a_story_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        generate(0).text = "Once upon a time"


@pytest.mark.parametrize(
    "kind",
    [storyworld_stories.rows, storyworld_stories.question_rows, storyworld_stories.pair_rows],
)
def test_rows_are_a_text_that_the_harness_reads(tmp_path, kind):
    found = list(kind(make(5, seed=2)))
    path = tmp_path / "stories.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    documents = loading.load("stories", path).documents
    assert [(document.id, document.text, document.context) for document in documents] == [
        (row["id"], row["text"], row.get("given", "")) for row in found
    ]


def test_rows_say_what_they_are():
    story = generate(4)
    assert list(storyworld_stories.rows([story])) == [
        {"id": "000000", "text": story.text, "bits": story.bits}
    ]
    assert list(storyworld_stories.pair_rows([story])) == [
        {"id": "000000", "given": translate(story), "text": story.text}
    ]
    first = next(storyworld_stories.question_rows([story]))
    question, answer = questions(story)[0]
    assert first == {"id": "000000.0", "given": f"{story.text} {question}", "text": answer}
