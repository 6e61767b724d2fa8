"""The tree of choices behind a story of storyworld: what may come next, how likely it is, what it
changes, and what the whole tree amounts to.

A story is told sentence by sentence. For each one a kind is chosen, then one of its wordings, then
the entries that the wording draws, in the order of its English. `offer` says what may be chosen in
a state, `take` makes the choice; both are pure, so that the tree can be walked by chance, by a
reader of a text, and by the recursion that sums it up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from llmbench.data.storyworld.sentences import WORDINGS, Wording
from llmbench.data.storyworld.words import NUMBERS, PERSONS, table

Facts = Mapping[str, str]
Options = dict[str, int]  # option: weight

TRADES = ("trade", "friend_trade", "third_trade")
FIRST, THEN = ("opening", "habit", "company"), {"treasure": 3, "trinket": 2, "flock": 2}
EPISODES = {
    "move": 3,
    "give": 4,
    "paint": 3,
    "grow": 2,
    "shrink": 2,
    "barter": 3,
    "slip": 2,
    "bet": 2,
    "gossip": 3,
}
ONCE = frozenset({"paint", "bet", "gossip"})
MOST_EPISODES, ENDING = 4, 7  # a bet counts twice, for it is settled in a sentence of its own
LAST: dict[str, Options] = {
    "settle": {"whereabouts": 1},
    "whereabouts": {"pocket": 1, "headcount": 1},
    "pocket": {"again": 1},
    "headcount": {"again": 1},
    "again": {"closing": 1},
    "closing": {},
}


class Choice(NamedTuple):
    """One choice that was made: where, what, and how likely it was given those before it. Choices
    between one option are not recorded.
    """

    site: str
    option: str
    probability: float

    @property
    def bits(self) -> float:
        """-log2 of the probability."""
        return -math.log2(self.probability)


class State(NamedTuple):
    """A story so far: what is true, the kinds of its sentences, those told with what was true then,
    and the wording being filled in.
    """

    facts: Facts
    kinds: tuple[str, ...] = ()
    told: tuple[tuple[Wording, Facts], ...] = ()
    wording: Wording | None = None
    drawn: int = 0


@dataclass(frozen=True)
class Summary:
    """The bits of all stories: their mean, which is the entropy, their standard deviation, and
    those of the likeliest and unlikeliest story.
    """

    mean: float
    deviation: float
    least: float
    most: float


_WEIGHTS = {
    kind: {wording.name: wording.weight for wording in wordings}
    for kind, wordings in WORDINGS.items()
}
_BY_NAME = {wording.name: wording for wordings in WORDINGS.values() for wording in wordings}

Chooser = Callable[[State, str, Options], str]


def offer(state: State) -> tuple[str, Options]:
    """The site of the next choice and its options with their weights; no options where the story is
    over.
    """
    if len(state.kinds) == len(state.told):
        return "kind", _kinds(state)
    if state.wording is None:
        return "wording", _WEIGHTS[state.kinds[-1]]
    slot = state.wording.draws[state.drawn]
    return slot, _entries(slot, state.facts)


def take(state: State, site: str, option: str) -> State:
    """The state after a choice. A sentence that has nothing left to draw is told."""
    if site == "kind":
        return state._replace(kinds=(*state.kinds, option), facts=_begin(option, state.facts))
    if site == "wording":
        wording, drawn, facts = _BY_NAME[option], 0, state.facts
    else:
        assert state.wording is not None
        wording, drawn, facts = state.wording, state.drawn + 1, {**state.facts, site: option}
    if drawn < len(wording.draws):
        return State(facts, state.kinds, state.told, wording, drawn)
    facts = _end(wording.kind, facts)
    return State(facts, state.kinds, (*state.told, (wording, facts)))


def walk(choose: Chooser) -> tuple[State, tuple[Choice, ...]]:
    """A story from beginning to end, as `choose` decides, and the choices it took. Raises
    ValueError where what it decides is not offered.
    """
    state = State({})
    made: list[Choice] = []
    while True:
        site, options = offer(state)
        if not options:
            return state, tuple(made)
        option = choose(state, site, options)
        if option not in options:
            raise ValueError(f"{site}: {option!r} is not possible here")
        if len(options) > 1:
            made.append(_choice(site, option, options[option] / sum(options.values())))
        state = take(state, site, option)


_choice = cache(Choice)  # stories share their choices: a hundred thousand stories fit into memory


def _kinds(state: State) -> Options:
    """The kinds of sentence that may come next."""
    kinds, facts = state.kinds, state.facts
    if len(kinds) < len(FIRST):
        return {FIRST[len(kinds)]: 1}
    if kinds[-1] in LAST:
        return LAST[kinds[-1]]
    if left := {kind: weight for kind, weight in THEN.items() if kind not in kinds}:
        return left
    ending, used = ("settle" if "bet" in kinds else "whereabouts"), _count_episodes(kinds)
    if used >= MOST_EPISODES:
        return {ending: 1}
    count = NUMBERS.index(facts["count"]) + 1
    impossible = {kind for kind in ONCE if kind in kinds}
    impossible |= {"grow"} if count > len(NUMBERS) - 2 else {"shrink"} if count < 3 else set()
    impossible |= {"barter"} if facts["holder"] == facts["keeper"] else set()
    impossible |= {"bet"} if used > MOST_EPISODES - 2 else set()
    possible = {kind: weight for kind, weight in EPISODES.items() if kind not in impossible}
    return {**possible, ending: ENDING} if used else possible


def _count_episodes(kinds: Sequence[str]) -> int:
    """How many of the most episodes are used up, before the ending."""
    return max(0, len(kinds) - len(FIRST) - len(THEN)) + ("bet" in kinds)


def _entries(slot: str, facts: Facts) -> Options:
    """The entries that may fill a slot, given what is true: no person twice, no place or colour or
    time after itself.
    """
    if slot == "keeper":
        return {facts["friend"]: 3, facts["third"]: 2}
    if slot == "winner":
        return {facts["better"]: 2, facts["rival"]: 1}
    if slot in ("count", "more", "fewer"):
        count = NUMBERS.index(facts["count"]) + 1 if "count" in facts else 0
        least, most = {
            "count": (4, 10),
            "more": (2, min(4, len(NUMBERS) - count)),
            "fewer": (1, min(3, count - 2)),
        }[slot]
        return dict.fromkeys(NUMBERS[least - 1 : most], 1)
    if slot in ("guest", "taker", "receiver", "better", "rival"):
        other = {"taker": "holder", "receiver": "keeper", "better": "rival", "rival": "better"}.get(
            slot, "nobody"
        )
        return {facts[person]: 1 for person in PERSONS if facts[person] != facts.get(other)}
    return _drop_used(slot, tuple(facts.get(other) for other in _SHARED.get(slot, (slot,))))


_SHARED = {**dict.fromkeys(PERSONS, PERSONS), **dict.fromkeys(TRADES, TRADES)}


@cache
def _drop_used(slot: str, used: tuple[str | None, ...]) -> Options:
    return {entry: 1 for entry in table(slot) if entry not in used}


def _begin(kind: str, facts: Facts) -> Facts:
    """What is true once a sentence of a kind begins: who gives, and what is about to change."""
    if kind in ("give", "barter"):
        facts = {**facts, "giver": facts["holder"]}
    if kind == "barter":
        facts = {**facts, "taker": facts["keeper"]}
    if kind == "slip":
        facts = {**facts, "passer": facts["keeper"]}
    if kind == "paint":
        facts = {**facts, "old_colour": facts["colour"]}
    return facts


def _end(kind: str, facts: Facts) -> Facts:
    """What is true once a sentence of a kind is told; its rendering sees these facts."""
    if kind == "treasure":
        return {**facts, "holder": facts["hero"]}
    if kind == "give":
        return {**facts, "holder": facts["taker"]}
    if kind == "barter":
        return {**facts, "holder": facts["taker"], "keeper": facts["giver"]}
    if kind == "slip":
        return {**facts, "keeper": facts["receiver"]}
    if kind in ("grow", "shrink"):
        change = (
            NUMBERS.index(facts["more"]) + 1
            if kind == "grow"
            else -NUMBERS.index(facts["fewer"]) - 1
        )
        return {**facts, "count": NUMBERS[NUMBERS.index(facts["count"]) + change]}
    if kind == "settle":
        return {
            **facts,
            "loser": facts["rival"] if facts["winner"] == facts["better"] else facts["better"],
        }
    return facts


def signature(state: State) -> tuple[object, ...]:
    """What all later weights depend on: two states that agree in it have the same tree under them,
    up to the names of the options.
    """
    kinds, facts = state.kinds, state.facts
    last = kinds[-1] if kinds else ""
    place = (last, len(kinds) == len(state.told), state.wording and state.wording.name, state.drawn)
    if last in LAST:
        return place
    plot = (frozenset(kinds) & (ONCE | THEN.keys()), _count_episodes(kinds), facts.get("count"))
    holder, keeper, taker = (facts.get(person) for person in ("holder", "keeper", "taker"))
    return (
        *place,
        *plot,
        holder is not None and holder == keeper,
        last == "give" and taker == keeper,
    )


@cache
def summary() -> Summary:
    """The tree's bits, exactly: for each signature the mean, the mean square, the least and the
    most bits still to come, from the leaves up.
    """
    known: dict[tuple[object, ...], tuple[float, float, float, float]] = {}

    def below(state: State) -> tuple[float, float, float, float]:
        key = signature(state)
        if key not in known:
            site, options = offer(state)
            total = sum(options.values())
            ways = [
                (weight / total, -math.log2(weight / total), below(take(state, site, option)))
                for option, weight in options.items()
            ]
            known[key] = (
                math.fsum(p * (bits + mean) for p, bits, (mean, _, _, _) in ways),
                math.fsum(
                    p * (bits * bits + 2 * bits * mean + square)
                    for p, bits, (mean, square, _, _) in ways
                ),
                min((bits + least for _, bits, (_, _, least, _) in ways), default=0.0),
                max((bits + most for _, bits, (_, _, _, most) in ways), default=0.0),
            )
        return known[key]

    mean, square, least, most = below(State({}))
    return Summary(mean, math.sqrt(square - mean * mean), least, most)
