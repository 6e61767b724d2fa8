"""Which pair is asked about next: where a vote tells most, with a chance that is known."""

import random
from collections import Counter
from itertools import combinations

import pytest
from support.simulated_raters import Crowd, Pair, list_votes, make_vote

from llmbench.votes.choosing import RANDOM, choose_pair, weigh_pairs

NAMES = ("a", "b", "c", "d")
PAIRS = list(combinations(NAMES, 2))
CANDIDATES = [Pair(str(prompt), *pair) for prompt in range(5) for pair in PAIRS]


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(ValueError, match="no pair"):
        choose_pair([], [], random.Random(0))


def test_every_pair_has_a_chance_and_chances_are_a_distribution():
    votes = Crowd([4, 1, -1, -4]).vote(100, seed=0)
    pairs = list(combinations(sorted({vote.left for vote in votes}), 2))
    chances = weigh_pairs(votes, pairs)
    assert chances.sum() == pytest.approx(1)
    assert chances.min() >= RANDOM / len(pairs)


def test_a_vote_between_those_far_apart_is_rarely_asked_for():
    votes = Crowd([6, 0.2, -0.2, -6]).vote(200, seed=0)
    chances = dict(zip(PAIRS, weigh_pairs(rename(votes), PAIRS), strict=True))
    assert chances["a", "d"] == pytest.approx(RANDOM / 6, rel=0.01)
    assert min(chances["a", "b"], chances["b", "c"], chances["c", "d"]) > chances["a", "d"]


def rename(votes):
    letters = dict(zip([f"model-{n}" for n in range(4)], NAMES, strict=True))
    return [
        make_vote(n, letters[v.left], letters[v.right], v.verdict, v.prompt, v.rater)
        for n, v in enumerate(votes)
    ]


def test_choices_are_the_same_for_the_same_seed_and_follow_their_chances():
    votes = rename(Crowd([4, 1, -1, -4]).vote(30, seed=1))
    one, other = (choose_pair(votes, CANDIDATES, random.Random(7)) for _ in range(2))
    assert one == other
    rng, drawn, said = random.Random(0), Counter(), {}
    for _ in range(60):
        pair, chance = choose_pair(votes, CANDIDATES, rng)
        drawn[pair.one, pair.other] += 1
        said[pair.one, pair.other] = chance
    for pair, chance in said.items():
        assert abs(drawn[pair] / 60 - chance) < 4 * (chance * (1 - chance) / 60) ** 0.5


def test_prompts_with_the_fewest_votes_come_first_but_some_are_asked_again():
    votes = list_votes(*(("a", "b", "left", str(prompt)) for prompt in range(4)))
    candidates = [Pair(str(prompt), "a", "b") for prompt in range(5)]
    rng = random.Random(0)
    drawn = Counter(choose_pair(votes, candidates, rng)[0].prompt for _ in range(50))
    assert drawn["4"] > 30
    assert sum(drawn[str(prompt)] for prompt in range(4)) > 4


def test_candidates_may_lack_pairs_and_votes_may_be_of_others():
    votes = list_votes(("a", "b", "left"), ("gone", "b", "left"))
    pair, chance = choose_pair(votes, [Pair("0", "c", "a")], random.Random(0))
    assert (pair, chance) == (Pair("0", "c", "a"), 1.0)
