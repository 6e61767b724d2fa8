"""What the section on votes says in sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from llmbench.leaderboard.numbers import percent

if TYPE_CHECKING:
    from llmbench.stats import Interval
    from llmbench.votes.ranking import VoteRanking


class Ranked(Protocol):
    """A row of the section."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def rank(self) -> tuple[int, int] | None:
        """Its best and worst rank."""

    @property
    def share(self) -> Interval | None:
        """Its share of wins."""


def summarise(task: str, rows: Sequence[Ranked], votes: int) -> str:
    """Return a sentence on whom people like best, or that the votes do not say it."""
    count = f"{votes} blind votes"
    best = [row for row in rows if row.rank == (1, 1)]
    if len(best) == 1 and len(rows) > 1:
        share = best[0].share
        wins = f", which wins {percent(share.value, 0)}" if share else ""
        return f"{task}: people find {best[0].name} best{wins}, by {count}."
    return f"{task}: {count} do not say who is best."


def describe_votes(ranking: VoteRanking, hidden: int, name: Callable[[str], str]) -> list[str]:
    """Return what a reader must know of votes. hidden: ties of identical answers."""
    raters = len(ranking.raters)
    first = (
        f"{_count(ranking.votes, 'vote')} by {_count(raters, 'rater')} on"
        f" {_count(ranking.prompts, 'prompt')}"
    )
    if ranking.tie_share is not None:
        first += f", {percent(ranking.tie_share.value, 0)} of them ties"
    first += f"; {hidden} of these are of identical answers, which nobody saw" if hidden else ""
    found = [f"{first}."]
    if ranking.over:
        found.append(f"Intervals: 95 % over {ranking.over}.")
    alpha = ranking.agreement.alpha
    pairs = _count(ranking.agreement.pairs, "pair")
    if alpha is not None:
        text = _show(alpha, lambda value: f"{value:.2f}")
        found.append(f"Agreement of raters (Krippendorff's alpha): {text}, on {pairs}.")
    elif raters > 1 and ranking.agreement.why:
        found.append(f"Agreement of raters: {ranking.agreement.why}.")
    if ranking.repeats is not None:
        text = _show(ranking.repeats, lambda value: percent(value, 0))
        count = _count(ranking.repeats.n, "hidden repeat")
        found.append(f"Asked again, raters said the same in {text} of {count}.")
    found += [f"{name(row.name)}: no share, {row.why}." for row in ranking.standings if row.why]
    return [*found, *ranking.remarks]


def _show(seen: Interval, show: Callable[[float], str]) -> str:
    if seen.low is None or seen.high is None:
        return show(seen.value)
    return f"{show(seen.value)} [{show(seen.low)}, {show(seen.high)}]"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
