"""Which two contestants a vote would tell the most about, drawn by chance, and with which chance.

A vote between contestants whose strengths are far apart is foreseen, and one between contestants
that are known well changes little. Most pairs are drawn by how far a vote would narrow the
differences of neighbours in the ranking, which is what the order hinges on; the others at random,
so that each pair has a chance, and `ranking` can weigh them as if all had had the same.

For the same intervals of those differences this takes 0.6 to 0.7 of the votes of random choice if
six to eight contestants are spread over five logits or more. For five within two logits it takes
0.86, and random choice is nearly the best there is.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from llmbench.votes.kinds import Vote
from llmbench.votes.strengths.davidson import Fit, Floats, inform, list_pairs, refit
from llmbench.votes.strengths.tally import Tally, count_votes

RANDOM = 0.2  # of the pairs are drawn at random
SHARPNESS = 6.0  # power of what a vote tells: a pair that tells half as much is drawn rarely
AGAIN = 0.2  # of the questions are ones that another rater has answered: they measure agreement
PRIOR = 1 / 4  # inverse variance of strengths before any vote: two logits
TIES = -0.7  # log of Davidson's v before any vote: a fifth of ties between equals


class Candidate(Protocol):
    """Two contestants whose answers to a prompt can be shown."""

    @property
    def prompt(self) -> str:
        """The item's id."""

    @property
    def one(self) -> str:
        """A contestant."""

    @property
    def other(self) -> str:
        """Another one."""


Pair = TypeVar("Pair", bound=Candidate)


def choose_pair(
    votes: Sequence[Vote], candidates: Sequence[Pair], rng: random.Random
) -> tuple[Pair, float]:
    """Return one of the candidates, and the chance with which its two contestants were drawn.

    votes: all that count so far, of one task. Of the candidates of two contestants the prompts with
    the fewest votes on them come first; of some questions others, which a rater has answered.
    Raises ValueError if there is no candidate.
    """
    if not candidates:
        raise ValueError("there is no pair to choose from")
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for one in candidates:
        groups[_name_pair(one.one, one.other)].append(one)
    firsts = [vote for vote in votes if vote.repeat_of is None]
    pairs = sorted(groups)
    chances = weigh_pairs(firsts, pairs)
    (drawn,) = rng.choices(range(len(pairs)), weights=chances.tolist())
    counts = Counter((vote.prompt, *_name_pair(vote.left, vote.right)) for vote in firsts)
    counted = [(counts[one.prompt, *pairs[drawn]], one) for one in groups[pairs[drawn]]]
    answered = [one for count, one in counted if count]
    if answered and rng.random() < AGAIN:
        return rng.choice(answered), float(chances[drawn])
    least = min(count for count, _ in counted)
    return rng.choice([one for count, one in counted if count == least]), float(chances[drawn])


def _name_pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


def weigh_pairs(votes: Sequence[Vote], pairs: Sequence[tuple[str, str]]) -> Floats:
    """Return the chance of each pair of contestants, (pairs,), of sum 1. None is 0."""
    names = sorted({name for pair in pairs for name in pair})
    among = [vote for vote in votes if vote.left in names and vote.right in names]
    fitted, covariance, told = _learn(count_votes(among, names), len(names))
    order = np.argsort(-fitted.strengths[0], kind="stable")
    neighbours = covariance[order[:-1]] - covariance[order[1:]]  # (neighbours, contestants)
    place = {name: number for number, name in enumerate(names)}
    row = {pair: number for number, pair in enumerate(list_pairs(len(names)))}
    gains = []
    for one, other in pairs:
        a, b = place[one], place[other]
        known = covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]
        shared = neighbours[:, a] - neighbours[:, b]
        info = told[row[a, b]]
        gains.append(info * float(shared @ shared) / (1 + info * known))
    keen = (np.asarray(gains) / max(gains)) ** SHARPNESS
    found: Floats = RANDOM / len(pairs) + (1 - RANDOM) * keen / keen.sum()
    return found


def _learn(counted: Tally, contestants: int) -> tuple[Fit, Floats, Floats]:
    """The strengths after the votes, their covariance, and what one more vote on each pair tells of
    their difference.
    """
    before = Fit(np.zeros((1, contestants)), np.asarray([TIES]))
    fitted = refit(counted.count()[None], before, PRIOR)
    return fitted, *inform(fitted, counted.count(), PRIOR)
