"""What the sections on votes and on judges are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.numbers import format_plain, percent, show_interval
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import VOTES
from llmbench.metrics.metric import UNIT_INTERVAL
from llmbench.votes.answers import REFERENCE
from llmbench.votes.kinds import Criterion

if TYPE_CHECKING:
    from llmbench.stats import Interval
    from llmbench.votes.strengths.ratings import Rated

HUMAN = "(human text)"


@dataclass(frozen=True)
class VoteRow:
    """A contestant. `share`: of wins against the average of the others, None if there is none.
    `ratings`: criterion -> mean rating and rank.
    """

    name: str
    model: str
    stage: int | None
    rank: tuple[int, int] | None
    share: Interval | None
    wins: int = 0
    losses: int = 0
    ties: int = 0
    more: str = ""
    ratings: Mapping[Criterion, Rated] = field(default_factory=dict)

    @property
    def votes(self) -> int:
        """How many votes it took part in."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True)
class Part:
    """A table of the section. `is_numeric`: of each column. `models`: of each row, the model that
    it is about, "" if none. `is_narrow`: whether a terminal has room for it; files have all.
    """

    heading: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_numeric: Sequence[bool]
    models: Sequence[str]
    help: Sequence[str] = ()
    is_narrow: bool = True


@dataclass(frozen=True)
class VoteTable:
    """What people said on a task, or a judge. `task`: its name, with the run's among several.
    `metric`: what its shares are called in a file of all numbers.
    """

    task: str
    rows: list[VoteRow]
    parts: list[Part]
    notes: list[str]
    signature: str
    summary: str = ""
    metric: str = VOTES


def name_contestant(name: str) -> str:
    """Return what tables call a contestant."""
    return HUMAN if name == REFERENCE else cut(name, NAME_CHARACTERS)


def show_share(share: Interval | None) -> str:
    """Return a share with its interval in percent; "-" if there is none."""
    if share is None:
        return "-"
    if share.low is None or share.high is None:
        return percent(share.value)
    return show_interval(
        100 * share.value,
        100 * share.low,
        100 * share.high,
        (100 * UNIT_INTERVAL[0], 100 * UNIT_INTERVAL[1]),
        lambda value: format_plain(value, 1),
        lambda half: format_plain(half, 1),
        unit=" %",
    )


def show_rank(rank: tuple[int, int] | None) -> str:
    """Return a rank, or the best and the worst one; "-" if there is none."""
    if rank is None:
        return "-"
    best, worst = rank
    return str(best) if best == worst else f"{best}-{worst}"
