"""storyworld: a text whose truth is known. Little stories grown from a tree of independent choices
whose probabilities are on record.

The bits of a story are those of its choices, neither more nor less: the text determines the choices
(`parse` recovers them), so that the best possible model of these texts needs `entropy()` bits per
story on average, and none at all for what is determined: a name repeated, the colour of a thing ten
sentences on, the habit announced at the start that comes back at the end. Every bit above that is a
model's own.

Why the text determines the choices: no word and no literal has a full stop in it, so a text falls
into its sentences; of the kinds that may stand at one place, no two wordings can make the same
sentence; and in every table no entry begins with another, so that within a wording the slots can be
read off from left to right. Why no story begins another: the sentence that begins "So ends" stands
last and nowhere else, and the full stop after it is the story's last sign. That a story is over is
therefore certain too, and costs a model nothing.

Every story has at least 60 bits. Whatever else happens, it draws, uniformly, three names (24, 23
and 22 left), three trades (16, 15, 14), a village (16), a year (16), a mood (8), a habit (16), a
thing (24), its colour (12), its place (16), a trinket (16), a kind of animal (8) and their number
(7): the product is above 2 to the 60th. Wordings and episodes only add to that; `least_bits()` says
how much.

The same choices give the story in Murrel, an invented language (`translate`), and questions with
certain answers (`questions`).
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from llmbench.data.storyworld.grammar import Choice, Chooser, Options, State, summary, walk
from llmbench.data.storyworld.sentences import WORDINGS, Wording
from llmbench.data.storyworld.words import PERSONS, WOMEN, Language, entry_forms, table

PRONOUNS = {"she": "he", "Her": "His"}
TIMES = ("never", "once", "twice", "three times", "four times")


@dataclass(frozen=True)
class Story:
    """A story: the choices that made it, its English, and its bits, the sum of -log2 p over the
    choices.
    """

    choices: tuple[Choice, ...]
    text: str
    bits: float


def entropy() -> float:
    """The mean bits of a story over the whole tree: computed, not sampled."""
    return summary().mean


def deviation() -> float:
    """The standard deviation of the bits of a story over the whole tree: computed, not sampled."""
    return summary().deviation


def least_bits() -> float:
    """The bits of the likeliest story."""
    return summary().least


def generate(seed: int) -> Story:
    """The story of a seed, the same on every machine and in every version of Python."""
    return _story(*walk(_by_chance(random.Random(seed))))


def make(count: int, seed: int, skip: Set[str] = frozenset()) -> list[Story]:
    """`count` different stories, none of whose texts is in `skip`; the same for the same arguments
    on every machine.
    """
    choose, found, seen = _by_chance(random.Random(seed)), list[Story](), set[str]()
    while len(found) < count:
        story = _story(*walk(choose))
        if story.text not in seen and story.text not in skip:
            seen.add(story.text)
            found.append(story)
    return found


def parse(text: str, language: Language = "english") -> Story:
    """The story that a text tells, in either language. Raises ValueError where no story has exactly
    this text.
    """
    if not text.endswith("."):
        raise ValueError("a story ends with a full stop")
    sentences = text[:-1].split(". ")
    end, choices = walk(_by_reading(sentences, language))
    story = _story(end, choices)
    if (story.text if language == "english" else _render(end, language)) != text:
        raise ValueError(
            "something in the story contradicts what was said before, or follows its end"
        )
    return story


def translate(story: Story) -> str:
    """The same story in Murrel; `parse(translation, "murrel")` is the story again."""
    return _render(_end(story), "murrel")


def questions(story: Story) -> list[tuple[str, str]]:
    """(question, answer) about a story; answers have one or two words and follow from its text."""
    end = _end(story)
    facts, kinds = end.facts, end.kinds
    thing, trinket, animal, keeper = (
        facts["thing"],
        facts["trinket"],
        facts["animal"],
        facts["keeper"],
    )
    first = next(then for wording, then in end.told if wording.kind == "treasure")
    names = [facts[person] for person in PERSONS]
    other = names[(names.index(keeper) + 1) % len(names)]
    found = [
        (f"Who has the {thing} at the end?", facts["holder"]),
        (f"Who has the {trinket} at the end?", keeper),
        (f"Where was the {thing} at first?", _noun(first["place"])),
        (f"Where is the {thing} at the end?", _noun(facts["place"])),
        (f"What colour is the {thing} at the end?", facts["colour"]),
        (f"How many {animal} does {facts['hero']} have at the end?", facts["count"]),
        (
            f"How often did the {thing} change hands?",
            TIMES[kinds.count("give") + kinds.count("barter")],
        ),
        (f"Did the {thing} change its colour?", "yes" if "paint" in kinds else "no"),
        *sorted(
            (f"Does {name} have the {trinket} at the end?", "yes" if name == keeper else "no")
            for name in (keeper, other)
        ),
        (f"Who is the {facts['friend_trade']}?", facts["friend"]),
        (f"What is the trade of {facts['third']}?", facts["third_trade"]),
    ]
    return [*found, ("Who won the bet?", facts["winner"])] if "bet" in kinds else found


def rows(stories: Iterable[Story]) -> Iterator[dict[str, str | float]]:
    """Lines of a .jsonl text: id, text, and the bits that no model can beat on average."""
    for number, story in enumerate(stories):
        yield {"id": f"{number:06d}", "text": story.text, "bits": story.bits}


def question_rows(stories: Iterable[Story]) -> Iterator[dict[str, str]]:
    """Lines of a .jsonl text of pairs: a story and a question about it, and the answer, for every
    question.
    """
    for number, story in enumerate(stories):
        for which, (question, answer) in enumerate(questions(story)):
            yield {
                "id": f"{number:06d}.{which}",
                "given": f"{story.text} {question}",
                "text": answer,
            }


def pair_rows(stories: Iterable[Story]) -> Iterator[dict[str, str]]:
    """Lines of a .jsonl text of pairs: a story in Murrel, and in English."""
    for number, story in enumerate(stories):
        yield {"id": f"{number:06d}", "given": translate(story), "text": story.text}


def _story(end: State, choices: tuple[Choice, ...]) -> Story:
    return Story(choices, _render(end, "english"), math.fsum(choice.bits for choice in choices))


def _end(story: Story) -> State:
    """The last state of a story, from its choices."""
    options = iter(story.choices)
    return walk(
        lambda state, site, offered: (
            next(iter(offered)) if len(offered) == 1 else next(options).option
        )
    )[0]


def _noun(place: str) -> str:
    """The two words after the preposition: the cellar, the stove."""
    return place.partition(" ")[2]


def _by_chance(chance: random.Random) -> Chooser:
    """Chooses by weight. Only random() is asked, whose numbers are the same in every version of
    Python.
    """

    def choose(state: State, site: str, options: Options) -> str:
        names = list(options)
        if len(names) == 1:
            return names[0]
        edges = list(accumulate(options.values()))
        return names[bisect(edges, chance.random() * edges[-1])]

    return choose


def _by_reading(sentences: list[str], language: Language) -> Chooser:
    """Chooses what a text says. The wording of a sentence is found when its kind is asked for, and
    answers what is asked after that.
    """
    found: dict[str, str] = {}

    def choose(state: State, site: str, options: Options) -> str:
        if site == "kind":
            at = len(state.told)
            if at >= len(sentences):
                raise ValueError("the story breaks off")
            found.clear()
            found.update(_read_choices(sentences[at], tuple(options), language))
        return found[site]

    return choose


def _read_choices(sentence: str, kinds: tuple[str, ...], language: Language) -> dict[str, str]:
    """The choices that a sentence of one of the kinds makes, by site."""
    for kind in kinds:
        for wording in WORDINGS[kind]:
            if match := _pattern(wording, language).fullmatch(sentence):
                drawn = {
                    slot: _entry(slot, language)[form] for slot, form in match.groupdict().items()
                }
                return {"kind": kind, "wording": wording.name, **drawn}
    raise ValueError(f"cannot stand where it does: {sentence!r}")


@cache
def _entry(slot: str, language: Language) -> dict[str, str]:
    """The entries of a slot's table by their form in a language."""
    return {word.form(language): english for english, word in table(slot).items()}


@cache
def _pattern(wording: Wording, language: Language) -> re.Pattern[str]:
    """What a wording's sentences look like. Repeated slots are left open: whether they agree is
    seen when the story is told again.
    """
    pieces, named = [], set()
    for part in wording.parts(language):
        if isinstance(part, str):
            pieces.append(re.escape(part))
            continue
        forms = (
            (part.pronoun, PRONOUNS[part.pronoun])
            if part.pronoun
            else tuple(_entry(part.name, language))
        )
        drawn = part.name in wording.draws and part.name not in named and not part.pronoun
        named |= {part.name} if drawn else set()
        pieces.append(f"(?{f'P<{part.name}>' if drawn else ':'}{'|'.join(map(re.escape, forms))})")
    return re.compile("".join(pieces))


def _render(end: State, language: Language) -> str:
    """A whole story: its sentences with a full stop after each and a space between."""
    forms = entry_forms(language)
    sentences = []
    for wording, facts in end.told:
        parts = [
            (
                part
                if isinstance(part, str)
                else (
                    _pronoun(part.pronoun, facts[part.name])
                    if part.pronoun
                    else forms[facts[part.name]]
                )
            )
            for part in wording.parts(language)
        ]
        sentences.append("".join(parts) + ".")
    return " ".join(sentences)


def _pronoun(hers: str, name: str) -> str:
    return hers if name in WOMEN else PRONOUNS[hers]
