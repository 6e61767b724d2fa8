"""Raters whose preferences are known: votes drawn by Davidson's model."""

import random
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from llmbench.votes.choosing import choose_pair
from llmbench.votes.kinds import Vote


@dataclass(frozen=True)
class Pair:
    prompt: str
    one: str
    other: str


def make_vote(number, left, right, verdict, prompt="0", rater="ada", **more):
    """A vote with what does not matter filled in."""
    return Vote(
        identity=f"vote-{number}",
        time="2026-01-31T12:00:00Z",
        rater=rater,
        task="continuation",
        prompt=prompt,
        left=left,
        right=right,
        verdict=verdict,
        digest="0" * 64,
        **more,
    )


def list_votes(*rows):
    """Votes from (left, right, verdict) or (left, right, verdict, prompt, rater)."""
    return [make_vote(number, *row) for number, row in enumerate(rows)]


class Crowd:
    """Raters and prompts, each of which shifts the strengths of all contestants a little."""

    def __init__(self, strengths, *, ties=0.6, prompts=40, raters=4, prompt_sd=0.0, rater_sd=0.0):
        self.names = [f"model-{number}" for number in range(len(strengths))]
        self.strengths, self.ties = np.asarray(strengths, dtype=float), ties
        self.prompts, self.raters = prompts, raters
        self.prompt_sd, self.rater_sd = prompt_sd, rater_sd

    def vote(self, count, seed, adaptive=False):
        """So many votes, on pairs drawn at random or by `choose_pair`."""
        rng, chooser = np.random.default_rng(seed), random.Random(seed)
        size = len(self.names)
        by_prompt = rng.normal(0, self.prompt_sd, (self.prompts, size))
        by_rater = rng.normal(0, self.rater_sd, (self.raters, size))
        pairs = [
            Pair(str(prompt), *pair)
            for prompt in range(self.prompts)
            for pair in combinations(self.names, 2)
        ]
        votes = []
        for number in range(count):
            if adaptive:
                pair, chance = choose_pair(votes, pairs, chooser)
            else:
                pair, chance = pairs[int(rng.integers(len(pairs)))], 2 / size / (size - 1)
            rater = int(rng.integers(self.raters))
            own = self.strengths + by_prompt[int(pair.prompt)] + by_rater[rater]
            sides = [pair.one, pair.other] if rng.random() < 0.5 else [pair.other, pair.one]
            left, right = (own[self.names.index(name)] for name in sides)
            chances = np.asarray(
                [np.exp((left - right) / 2), np.exp((right - left) / 2), self.ties]
            )
            verdict = ("left", "right", "tie")[rng.choice(3, p=chances / chances.sum())]
            votes.append(
                make_vote(number, *sides, verdict, pair.prompt, f"rater-{rater}", chance=chance)
            )
        return votes

    def expect(self):
        """The strengths that endless votes of endless raters on endless prompts would show, and
        each contestant's share of wins against the average of the others.
        """
        from llmbench.votes.strengths.davidson import average_shares, fit, list_pairs

        rng = np.random.default_rng(99)
        sd = np.sqrt(2 * (self.prompt_sd**2 + self.rater_sd**2))
        counts = []
        for a, b in list_pairs(len(self.names)):
            d = self.strengths[a] - self.strengths[b] + rng.normal(0, sd, 200_000)
            parts = np.stack([np.exp(d / 2), np.exp(-d / 2), np.full_like(d, self.ties)])
            counts.append((parts / parts.sum(axis=0)).mean(axis=1))
        found = fit(np.asarray(counts) * 1000, len(self.names))
        return found.strengths[0], average_shares(found)[0]
