"""Contestants ranked by votes: strengths with intervals over prompts and raters, rank sets, and
what else must be known of votes before anybody believes them.

Sources: Bradley & Terry 1952; ties: Davidson 1970; rank sets as elsewhere in llmbench: pairs tested
with Holm's correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from llmbench.stats import LEVEL, Interval, holm, ranks, sign_flip_p, wilson_interval
from llmbench.votes.kinds import Vote
from llmbench.votes.strengths.agreement import (
    describe_raters,
    measure_agreement,
    measure_repeats,
)
from llmbench.votes.strengths.davidson import (
    LOSS,
    TIE,
    WIN,
    Fit,
    Floats,
    average_shares,
    fit,
    list_pairs,
)
from llmbench.votes.strengths.resampling import TRIALS, Resampled, make_intervals, resample
from llmbench.votes.strengths.standings import (
    Agreement,
    Meetings,
    Needed,
    Rater,
    Standing,
    VoteRanking,
)
from llmbench.votes.strengths.tally import Scale, Tally, count_votes, find_scale

__all__ = ["Agreement", "Meetings", "Needed", "Rater", "Standing", "VoteRanking", "rank_votes"]

ALPHA = 1 - LEVEL
POWER = 0.8  # with which `Needed.votes` tell neighbours apart, if they differ by what was seen
MOST_NEEDED = 100_000  # votes: more than people give
LOW_ALPHA = 0.2  # agreement below which votes say more of raters than of models
FEW_RATERS = 5  # with fewer, how raters differ is hardly known


@dataclass(frozen=True)
class _Fitted:
    """The contestants with a finite strength: their votes, their fit, its resamples."""

    counted: Tally
    found: Fit
    resampled: Resampled | None

    @property
    def names(self) -> tuple[str, ...]:
        return self.counted.names

    def differ(self) -> tuple[Floats, Floats, Floats]:
        """The differences of the strengths of each of `list_pairs`, their standard errors, and p of
        Student's t tests; 1 without intervals, which prove nothing.
        """
        from scipy.special import stdtr

        first, second = np.asarray(list_pairs(len(self.names))).T
        values = self.found.strengths[0, first] - self.found.strengths[0, second]
        if self.resampled is None:
            return values, np.zeros(len(values)), np.ones(len(values))
        variance, freedom = self.resampled.spread(
            lambda fits: fits.strengths[:, first] - fits.strengths[:, second]
        )
        errors = np.sqrt(variance)
        far = np.divide(np.abs(values), errors, out=np.zeros_like(values), where=errors > 0)
        return values, errors, 2 * stdtr(np.maximum(freedom, 1.0), -far)


def rank_votes(votes: Sequence[Vote], *, seed: int = 0, trials: int = TRIALS) -> VoteRanking:
    """Return the ranking of all contestants that votes name.

    seed, trials: of the bootstraps. Hidden repeats measure a rater's consistency and count nowhere
    else. A contestant whose strength is not finite, or is not on one scale with the others, has
    none, with the reason, and the ranks that direct meetings prove.
    """
    firsts = [vote for vote in votes if vote.repeat_of is None]
    counted = count_votes(firsts)
    scale = find_scale(counted)
    fitted = _fit(counted, scale, seed, trials)
    better = _prove(counted, fitted)
    standings = _place(counted, scale, fitted, better)
    ties = int((counted.outcomes == TIE).sum())
    over = ""
    if fitted is not None and fitted.resampled is not None:
        over = "prompts" if fitted.resampled.by_raters is None else "prompts and raters"
    ranking = VoteRanking(
        standings=standings,
        raters=describe_raters(votes),
        votes=len(counted),
        prompts=len(set(counted.prompts.tolist())),
        over=over,
        tie_share=wilson_interval(ties, len(counted)) if len(counted) else None,
        ties=math.exp(fitted.found.tie_logits[0]) if fitted else None,
        agreement=measure_agreement([vote for vote in firsts if vote.shown], seed, trials),
        repeats=measure_repeats(votes),
        needed=_count_needed(standings, fitted, better),
        better_than=better,
        meetings=_meet(counted),
        reweighted=_reweigh(fitted),
    )
    return replace(ranking, remarks=_remark(ranking))


def _fit(counted: Tally, scale: Scale, seed: int, trials: int) -> _Fitted | None:
    if not scale.names:
        return None
    inner = counted.take(scale.names)
    found = fit(inner.count(), len(scale.names))
    return _Fitted(inner, found, resample(inner, found, seed, trials))


def _prove(counted: Tally, fitted: _Fitted | None) -> dict[str, set[str]]:
    """Who is significantly better than whom, with Holm's correction over all pairs."""
    names = counted.names
    tests = {pair: _flip_signs(counted, row) for row, pair in enumerate(_name_pairs(names))}
    if fitted is not None:
        values, _, p_values = fitted.differ()
        for pair, value, p in zip(_name_pairs(fitted.names), values, p_values, strict=True):
            tests[pair] = float(value), float(p)
    better: dict[str, set[str]] = {name: set() for name in names}
    for (pair, (lead, _)), p in zip(
        tests.items(), holm([p for _, p in tests.values()]), strict=True
    ):
        if p <= ALPHA:
            winner, loser = pair if lead > 0 else pair[::-1]
            better[winner].add(loser)
    return better


def _name_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(names[a], names[b]) for a, b in list_pairs(len(names))]


def _flip_signs(counted: Tally, row: int) -> tuple[float, float]:
    """The lead of a pair's first in direct meetings, and p of the sign-flip test over prompts."""
    mine = counted.pairs == row
    if not mine.any():
        return 0.0, 1.0
    points = np.select([counted.outcomes == WIN, counted.outcomes == LOSS], [1.0, -1.0], 0.0)
    _, prompts = np.unique(counted.prompts[mine], return_inverse=True)
    leads = np.bincount(prompts, weights=points[mine])
    return float(leads.sum()), sign_flip_p(leads, np.zeros_like(leads))


def _place(
    counted: Tally, scale: Scale, fitted: _Fitted | None, better: Mapping[str, set[str]]
) -> list[Standing]:
    """The contestants in order."""
    strengths, shares = ({}, {}) if fitted is None else _measure(fitted)
    meetings, rank, rows = _meet(counted), ranks(better), []
    for name in counted.names:
        met = meetings[name].values()
        rows.append(
            Standing(
                name,
                sum(one.wins for one in met),
                sum(one.losses for one in met),
                sum(one.ties for one in met),
                rank[name],
                strengths.get(name),
                shares.get(name),
                scale.reasons.get(name, ""),
            )
        )

    def order(row: Standing) -> tuple[int, float, float, str]:
        value = 0.0 if row.strength is None else row.strength.value
        points = (row.wins + row.ties / 2) / max(1, row.votes)
        return -scale.sides.get(row.name, 0), -value, -points, row.name

    return sorted(rows, key=order)


def _measure(fitted: _Fitted) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Strengths, and shares of wins against the average of the others, with intervals."""
    again, counts = fitted.resampled, fitted.counted.count().sum(axis=1)
    n = [0] * len(fitted.names)
    for (a, b), count in zip(list_pairs(len(n)), counts, strict=True):
        n[a], n[b] = n[a] + int(count), n[b] + int(count)
    spread = again.spread(lambda fits: fits.strengths) if again else None
    strengths = make_intervals(fitted.found.strengths[0], spread, n)
    logits = again.spread(_share_logits) if again else None
    shares = make_intervals(_share_logits(fitted.found)[0], logits, n, is_share=True)
    return (
        dict(zip(fitted.names, strengths, strict=True)),
        dict(zip(fitted.names, shares, strict=True)),
    )


def _share_logits(fits: Fit) -> Floats:
    """Logits of shares, whose intervals stay between 0 and 1."""
    shares = average_shares(fits)
    found: Floats = np.log(shares) - np.log1p(-shares)
    return found


def _meet(counted: Tally) -> dict[str, dict[str, Meetings]]:
    """Who won against whom, and how often: the matrix of wins."""
    found: dict[str, dict[str, Meetings]] = {name: {} for name in counted.names}
    counts = counted.count().astype(int)
    for (one, other), row in zip(_name_pairs(counted.names), counts, strict=True):
        if row.sum():
            wins, losses, ties = (int(row[kind]) for kind in (WIN, LOSS, TIE))
            found[one][other] = Meetings(wins, losses, ties)
            found[other][one] = Meetings(losses, wins, ties)
    return found


def _count_needed(
    standings: Sequence[Standing], fitted: _Fitted | None, better: Mapping[str, set[str]]
) -> list[Needed]:
    """Votes still needed between neighbours, at the strictest of Holm's levels: standard errors
    shrink with the root of the number of votes.
    """
    if fitted is None or fitted.resampled is None:
        return []
    values, errors, _ = fitted.differ()
    names = fitted.names
    known = {
        frozenset(pair): (abs(float(value)), float(error))
        for pair, value, error in zip(_name_pairs(names), values, errors, strict=True)
    }
    normal = NormalDist()
    strictest = ALPHA / max(1, len(list_pairs(len(better))))
    far = normal.inv_cdf(1 - strictest / 2) + normal.inv_cdf(POWER)
    order = [row.name for row in standings if row.strength is not None]
    rows = []
    for one, other in pairwise(order):
        value, error = known[frozenset((one, other))]
        total = math.inf if value == 0 else len(fitted.counted) * (far * error / value) ** 2
        more = max(1.0, total - len(fitted.counted))
        votes = None if more > MOST_NEEDED else math.ceil(more)
        rows.append(Needed(one, other, 0 if other in better[one] else votes))
    return rows


def _reweigh(fitted: _Fitted | None) -> dict[str, float] | None:
    """The strengths as if all pairs had been drawn with the same chance; None if they have none."""
    if fitted is None or len(set(fitted.counted.chances.tolist())) < 2:
        return None
    weights = 1 / fitted.counted.chances
    counts = fitted.counted.count(weights * len(weights) / weights.sum())
    try:
        found = fit(counts, len(fitted.names))
    except ValueError:  # chances so far apart that single votes are all there is
        return None
    return dict(zip(fitted.names, map(float, found.strengths[0]), strict=True))


def _remark(ranking: VoteRanking) -> list[str]:
    """What a reader must know."""
    found = []
    if ranking.over == "prompts":
        found.append(
            "One rater voted: the intervals say how other prompts, not how other raters, would"
            " change the ranking."
        )
    elif ranking.over and len(ranking.raters) < FEW_RATERS:
        found.append(
            f"{len(ranking.raters)} raters voted: so few hardly show how other raters would vote."
        )
    for rater in ranking.raters:
        if rater.prefers and rater.left is not None:
            share = rater.left.value if rater.prefers == "left" else 1 - rater.left.value
            found.append(
                f"{rater.name} chose the {rater.prefers} answer in {100 * share:.0f} % of"
                f" {rater.left.n} votes for one side: more than chance allows."
            )
    alpha = ranking.agreement.alpha
    if alpha is not None and alpha.high is not None and alpha.high < LOW_ALPHA:
        found.append(
            f"Raters hardly agree: Krippendorff's alpha is at most {max(0.0, alpha.high):.2f}."
        )
    moved = _find_moved(ranking)
    if moved:
        found.append(
            f"How pairs were chosen matters for {', '.join(moved)}: the strength with every pair"
            " weighted alike lies outside the interval. The votes may not follow one scale."
        )
    return found


def _find_moved(ranking: VoteRanking) -> list[str]:
    """Whose strength leaves its interval if all pairs weigh the same."""
    again = ranking.reweighted or {}
    return [
        row.name
        for row in ranking.standings
        if row.name in again
        and row.strength is not None
        and row.strength.low is not None
        and row.strength.high is not None
        and not row.strength.low <= again[row.name] <= row.strength.high
    ]
