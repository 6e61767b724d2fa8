"""How far raters agree with each other and with themselves, and whether they prefer a side.

Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), for nominal values and
missing ones.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from llmbench.stats import LEVEL, Interval, holm, wilson_interval
from llmbench.votes.kinds import Vote
from llmbench.votes.strengths.davidson import LOSS, TIE, WIN, Floats
from llmbench.votes.strengths.standings import Agreement, Rater
from llmbench.votes.strengths.tally import find_outcome, find_winner, name_prompt

ALPHA = 0.01  # of saying that a rater prefers a side
MOST_UNDEFINED = 0.1  # of the resamples of alpha; with more of them there is no interval


def count_coincidences(values: Sequence[int], kinds: int) -> Floats:
    """Return Krippendorff's table of coincidences of one unit, (kinds, kinds): each pair of values
    by different raters, so weighted that each value counts once. A lone value counts nothing.
    """
    counts = np.bincount(np.asarray(values, dtype=np.int64), minlength=kinds).astype(np.float64)
    if len(values) < 2:
        return np.zeros((kinds, kinds))
    found: Floats = (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)
    return found


def compute_alpha(tables: Floats) -> Floats:
    """Return Krippendorff's alpha of each table of coincidences, (tables, kinds, kinds), which is
    the sum of those of its units; NaN where all values are the same.
    """
    n = tables.sum(axis=(1, 2))
    apart = n - np.trace(tables, axis1=1, axis2=2)
    expected = n**2 - (tables.sum(axis=2) ** 2).sum(axis=1)
    found: Floats = np.full(len(tables), np.nan)
    np.divide((n - 1) * apart, expected, out=found, where=expected > 1e-9)
    return 1 - found


def measure_agreement(votes: Sequence[Vote], seed: int, trials: int) -> Agreement:
    """Return the agreement of different raters on the same pair of answers, with an interval by a
    bootstrap over prompts. Hidden repeats must have been left out.

    The verdicts are: for one contestant, for the other, a tie. Each pair is counted in both orders,
    so that it does not matter which of the two is called the first.
    """
    said: dict[tuple[str, Hashable], dict[str, int]] = defaultdict(dict)
    for vote in votes:
        key = (name_prompt(vote), (vote.prompt, *sorted((vote.left, vote.right))))
        said[key].setdefault(vote.rater, find_outcome(vote))  # what a rater said first
    tables: dict[str, Floats] = defaultdict(lambda: np.zeros((3, 3)))
    pairs = 0
    for (prompt, _), outcomes in said.items():
        if len(outcomes) > 1:
            tables[prompt] += count_coincidences(list(outcomes.values()), 3)
            pairs += 1
    if not pairs:
        return Agreement(None, 0, "no two raters saw the same pair of answers")
    turn = [LOSS, WIN, TIE]
    stack = np.asarray(list(tables.values()))
    stack = (stack + stack[:, turn][:, :, turn]) / 2
    value = float(compute_alpha(stack.sum(axis=0)[None])[0])
    if math.isnan(value):
        return Agreement(None, pairs, "every verdict is a tie")
    low, high = _resample_alpha(stack, seed, trials)
    return Agreement(Interval(value, low, high, pairs), pairs)


def _resample_alpha(tables: Floats, seed: int, trials: int) -> tuple[float | None, float | None]:
    if len(tables) < 2:
        return None, None
    rng = np.random.default_rng(seed)
    shares = np.full(len(tables), 1 / len(tables))
    drawn = rng.multinomial(len(tables), shares, size=trials).astype(np.float64)
    found = compute_alpha(np.tensordot(drawn, tables, axes=1))
    known = found[~np.isnan(found)]
    if len(known) < (1 - MOST_UNDEFINED) * trials:
        return None, None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def measure_repeats(votes: Sequence[Vote]) -> Interval | None:
    """Return the share of hidden repeats that got the verdict of the first time, whichever side the
    answers were on; None without repeats.
    """
    first = {vote.identity: vote for vote in votes}
    again = [(first[vote.repeat_of], vote) for vote in votes if vote.repeat_of in first]
    same = sum(find_winner(one) == find_winner(other) for one, other in again)
    return wilson_interval(same, len(again)) if again else None


def describe_raters(votes: Sequence[Vote]) -> list[Rater]:
    """Return the raters, those with the most votes first, and which of them prefer a side beyond
    chance. Sides are drawn at random, so that as many votes are for each.
    """
    own: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        own[vote.rater].append(vote)
    found = []
    for name, mine in own.items():
        sides = Counter(vote.verdict for vote in mine if vote.shown)
        left, both = sides["left"], sides["left"] + sides["right"]
        share = wilson_interval(left, both) if both else None
        found.append((name, mine, share, binomial_p(left, both)))
    raters = []
    for (name, mine, share, p), corrected in zip(
        found, holm([row[3] for row in found]), strict=True
    ):
        side = ""
        if share is not None and corrected <= ALPHA:
            side = "left" if share.value > 0.5 else "right"
        raters.append(Rater(name, len(mine), share, p, side, measure_repeats(mine)))
    return sorted(raters, key=lambda rater: (-rater.votes, rater.name))


def binomial_p(hits: int, n: int) -> float:
    """Return the two-sided p of so many hits of `n`, each with a chance of a half: exact."""
    tail = sum(math.comb(n, k) for k in range(min(hits, n - hits) + 1))
    return min(1.0, float(2 * tail / 2**n))
