"""Votes as counts, and which contestants they can put on one scale."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmbench.votes.kinds import Vote
from llmbench.votes.strengths.davidson import LOSS, TIE, WIN, Floats, list_pairs

Whole = NDArray[np.int64]
AGAIN = re.compile(r" (greedy|sampled)( \d+)?$")  # another answer to the prompt of the same number


def name_prompt(vote: Vote) -> str:
    """Return the prompt that a vote is about: greedy and sampled answers have one prompt."""
    return f"{vote.task}\n{AGAIN.sub('', vote.prompt)}"


def find_winner(vote: Vote) -> str | None:
    """Return the contestant that a vote is for; None of a tie."""
    return {"left": vote.left, "right": vote.right}.get(vote.verdict)


def find_outcome(vote: Vote) -> int:
    """Return WIN if a vote is for the contestant whose name comes first, LOSS if for the other."""
    winner = find_winner(vote)
    return TIE if winner is None else WIN if winner == min(vote.left, vote.right) else LOSS


@dataclass(frozen=True)
class Tally:
    """Votes as numbers, (votes,) each: the pair of `list_pairs`, the outcome (WIN of the pair's
    first, LOSS, TIE), prompt, rater, and the chance with which the pair was drawn.
    """

    names: tuple[str, ...]
    pairs: Whole
    outcomes: Whole
    prompts: Whole
    raters: Whole
    chances: Floats

    def __len__(self) -> int:
        return len(self.pairs)

    def count(self, weights: Floats | None = None) -> Floats:
        """Return how often each pair was won, lost and tied, (pairs, 3)."""
        counts = np.zeros((len(list_pairs(len(self.names))), 3))
        np.add.at(counts, (self.pairs, self.outcomes), 1.0 if weights is None else weights)
        return counts

    def count_units(self, keys: Whole) -> Floats:
        """Return the counts of each unit of resampling, (units, pairs * 3), `keys` saying of which
        unit each vote is.
        """
        _, numbers = np.unique(keys, return_inverse=True)
        width = 3 * len(list_pairs(len(self.names)))
        counts = np.zeros((int(numbers.max(initial=-1)) + 1, width))
        np.add.at(counts, (numbers, 3 * self.pairs + self.outcomes), 1.0)
        return counts

    def take(self, names: Sequence[str]) -> Tally:
        """Return the votes between these contestants only."""
        old = list_pairs(len(self.names))
        places = {self.names.index(name): place for place, name in enumerate(names)}
        new = {pair: number for number, pair in enumerate(list_pairs(len(names)))}
        number = np.full(len(old), -1)
        swapped = np.zeros(len(old), dtype=bool)
        for row, (a, b) in enumerate(old):
            if a in places and b in places:
                first, second = places[a], places[b]
                swapped[row] = first > second
                number[row] = new[min(first, second), max(first, second)]
        kept = number[self.pairs] >= 0
        pairs = self.pairs[kept]
        flip = np.asarray([LOSS, WIN, TIE])
        outcomes = np.where(swapped[pairs], flip[self.outcomes[kept]], self.outcomes[kept])
        rest = (self.prompts[kept], self.raters[kept], self.chances[kept])
        return Tally(tuple(names), number[pairs], outcomes, *rest)


def count_votes(votes: Sequence[Vote], contestants: Sequence[str] = ()) -> Tally:
    """Return votes as numbers, contestants in the order of their names, with those that are given
    and may have no votes. Hidden repeats, which say nothing new of a model, must have been left
    out.
    """
    voted = {name for vote in votes for name in (vote.left, vote.right)}
    names = tuple(sorted({*contestants, *voted}))
    place = {name: number for number, name in enumerate(names)}
    number = {pair: row for row, pair in enumerate(list_pairs(len(names)))}
    prompts = {key: row for row, key in enumerate(dict.fromkeys(map(name_prompt, votes)))}
    raters = {key: row for row, key in enumerate(dict.fromkeys(vote.rater for vote in votes))}
    rows = []
    for vote in votes:
        first, second = sorted((vote.left, vote.right))
        pair, prompt = number[place[first], place[second]], prompts[name_prompt(vote)]
        rows.append((pair, find_outcome(vote), prompt, raters[vote.rater]))
    table = np.asarray(rows, dtype=np.int64).reshape(len(rows), 4)
    chances = np.asarray([vote.chance for vote in votes], dtype=np.float64)
    return Tally(names, table[:, 0], table[:, 1], table[:, 2], table[:, 3], chances)


@dataclass(frozen=True)
class Scale:
    """The contestants that have finite strengths on one scale; of each other one, why not, and
    whether it stands above (1) or below (-1) them all, or neither is known (0).
    """

    names: list[str]
    reasons: dict[str, str]
    sides: dict[str, int]


def find_scale(counted: Tally) -> Scale:
    """Return whom the votes put on one scale.

    Strengths are finite, and their differences known, only among contestants of which each is
    reached from each by going from a winner to who lost to it or tied with it (Ford 1957). Of
    several such groups it is the one of the most contestants, then of the most votes.
    """
    names, counts = counted.names, counted.count()
    beats = np.zeros((len(names), len(names)), dtype=bool)
    for (a, b), row in zip(list_pairs(len(names)), counts, strict=True):
        beats[a, b], beats[b, a] = row[WIN] + row[TIE] > 0, row[LOSS] + row[TIE] > 0
    reach, joined = _reach(beats), _reach(beats | beats.T)
    groups = {tuple(np.flatnonzero(reach[a] & reach[:, a]).tolist()) for a in range(len(names))}
    inner = {group: counted.take([names[a] for a in group]) for group in groups}
    core = min(groups, key=lambda group: (-len(group), -len(inner[group]), group), default=())
    if len(core) > 1 and not (inner[core].outcomes != TIE).any():
        tied = {names[a]: "every comparison among them is a tie" for a in core}
    else:
        tied = {}
    reasons, sides = {}, {}
    for a, name in enumerate(names):
        if len(core) > 1 and a in core:
            continue
        rest = list(core) if len(core) > 1 else [b for b in range(len(names)) if b != a]
        above, below = bool(reach[a, rest].all()), bool(reach[rest, a].all())
        sides[name] = above - below
        if above:
            reasons[name] = "it never lost or tied against them: more comparisons are needed"
        elif below:
            reasons[name] = "it never won or tied against them: more comparisons are needed"
        elif joined[a, rest].any():
            reasons[name] = "its comparisons with them all go one way: more of them are needed"
        else:
            reasons[name] = "no comparison connects it with the others"
    kept = [] if tied or len(core) < 2 else [names[a] for a in core]
    return Scale(kept, {**reasons, **tied}, sides)


def _reach(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether there is a way from each to each; from each to itself there is."""
    found = edges | np.eye(len(edges), dtype=bool)
    for middle in range(len(edges)):
        found |= found[:, middle, None] & found[None, middle]
    return found
