"""The section on people's votes: for each task who won how often, and what votes and raters are
worth.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.numbers import format_plain, percent, show_interval
from llmbench.leaderboard.votes.remarks import describe_votes, summarise
from llmbench.leaderboard.words import cut, join_words
from llmbench.metrics.facts import VOTES
from llmbench.metrics.metric import UNIT_INTERVAL
from llmbench.results.record import Record
from llmbench.votes import ballots
from llmbench.votes.answers import REFERENCE
from llmbench.votes.ballots import Ballots, Criterion, Rating, Vote
from llmbench.votes.scores import group_votes, has_votes, rank, sign

if TYPE_CHECKING:
    from llmbench.stats import Interval
    from llmbench.votes.ranking import Standing, VoteRanking

HUMAN = "(human text)"
CRITERIA: dict[Criterion, str] = {"fluency": "fluency", "sense": "sense", "follows": "fit"}
MOST_OPPONENTS = 12  # columns of a table of who beat whom
MOST_IN_TERMINAL = 5  # of its columns


@dataclass(frozen=True)
class VoteRow:
    """A contestant. `share`: of wins against the average of the others, None if there is none.
    `ratings`: criterion -> mean and how many.
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
    ratings: Mapping[Criterion, tuple[float, int]] = field(default_factory=dict)

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


def build_vote_tables(record: Record, folder: Path | None, run: str = "") -> list[VoteTable]:
    """Return a table for each task that people voted on, or rated. run: its name among several.

    UsageError if the file of votes is wrong.
    """
    if folder is None or record.items is not None or not has_votes(folder):
        return []
    found = ballots.read_ballots(folder)
    votes = group_votes(record, found)
    names = {model.name for model in record.models} | {REFERENCE}
    ratings: dict[str, list[Rating]] = {}
    for one in found.ratings:
        if one.model in names:
            ratings.setdefault(one.task, []).append(one)
    return [
        _build(record, task, votes.get(task, []), ratings.get(task, []), (found, run))
        for task in dict.fromkeys([*votes, *ratings])
    ]


def _build(
    record: Record,
    task: str,
    votes: Sequence[Vote],
    ratings: Sequence[Rating],
    about: tuple[Ballots, str],
) -> VoteTable:
    found, run = about
    stages = {model.name: model.stage for model in record.models}
    means = _average(ratings)
    ranking = rank(votes, record.seed) if votes else None
    standings = ranking.standings if ranking else []
    rows = [_make_row(one, stages, means, _name_more(ranking)) for one in standings]
    known = {row.model for row in rows}
    order = [name for name in (*stages, REFERENCE) if name in means and name not in known]
    rows += [
        VoteRow(name_contestant(name), name, stages.get(name), None, None, ratings=means[name])
        for name in order
    ]
    title = cut(f"{task}, {run}" if run else task, NAME_CHARACTERS)
    parts = [_list_standings(title, rows)]
    notes = [_describe_ratings(ratings)] if ratings else []
    summary = ""
    if ranking is not None:
        if 1 < len(standings) <= MOST_OPPONENTS:
            parts.append(_list_meetings(ranking, rows))
        parts.append(_list_raters(ranking))
        hidden = sum(not vote.shown for vote in votes)
        notes = [*describe_votes(ranking, hidden, name_contestant), *notes]
        summary = summarise(title, rows, ranking.votes)
    apart = [name_contestant(row.name) for row in standings if row.share is None]
    if 0 < len(apart) < len(standings):
        notes.append(f"Shares are against the average of the others without {join_words(apart)}.")
    if found.stale:
        notes.append(
            f"{found.stale} votes or ratings are on answers that have changed: not counted."
        )
    if found.doubled:
        notes.append(
            f"{found.doubled} votes are of raters who had voted on that pair before: not counted."
        )
    signature = sign(record, task, [row.name for row in standings]) if votes else ""
    return VoteTable(title, rows, parts, notes, signature, summary)


def name_contestant(name: str) -> str:
    """Return what tables call a contestant."""
    return HUMAN if name == REFERENCE else cut(name, NAME_CHARACTERS)


def _average(ratings: Sequence[Rating]) -> dict[str, dict[Criterion, tuple[float, int]]]:
    """Contestant -> criterion -> mean and number."""
    sums: dict[str, dict[Criterion, list[int]]] = {}
    for one in ratings:
        sums.setdefault(one.model, {}).setdefault(one.criterion, []).append(one.value)
    return {
        name: {kind: (math.fsum(found) / len(found), len(found)) for kind, found in kinds.items()}
        for name, kinds in sums.items()
    }


def _name_more(ranking: VoteRanking | None) -> dict[str, str]:
    """Contestant -> the votes that would tell it from the next one."""
    found = {}
    for one in ranking.needed if ranking else ():
        if one.votes is None:
            found[one.better] = "over 100,000"
        else:
            found[one.better] = f"{one.votes:,}" if one.votes else "told apart"
    return found


def _make_row(
    standing: Standing,
    stages: Mapping[str, int | None],
    means: Mapping[str, Mapping[Criterion, tuple[float, int]]],
    more: Mapping[str, str],
) -> VoteRow:
    name = standing.name
    return VoteRow(
        name_contestant(name),
        name,
        stages.get(name),
        standing.rank,
        standing.share,
        standing.wins,
        standing.losses,
        standing.ties,
        more.get(name, ""),
        means.get(name, {}),
    )


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


def _list_standings(title: str, rows: Sequence[VoteRow]) -> Part:
    rated = [kind for kind in CRITERIA if any(kind in row.ratings for row in rows)]
    voted = any(row.rank for row in rows)
    titles, help = ["model"], ["who wrote the answers"]
    if voted:
        titles = ["rank", "model", "win share", "votes", "won", "tied", "lost", "still needed"]
        help = [
            "best and worst rank that the votes allow: all pairs tested, Holm-corrected",
            "who wrote the answers",
            "share of votes that it would win against the average of the others; a tie is half a"
            " win",
            "votes that it took part in",
            *("votes that it won", "ties", "votes that it lost"),
            "votes still needed to tell it from the next one, if votes go on as they did",
        ]
    titles += [CRITERIA[kind] for kind in rated]
    help += [f"mean rating of its {CRITERIA[kind]}, 1 to 5" for kind in rated]
    cells = []
    for row in rows:
        best, worst = row.rank or (0, 0)
        place = "-" if not row.rank else str(best) if best == worst else f"{best}-{worst}"
        counts = [str(count) for count in (row.votes, row.wins, row.ties, row.losses)]
        own = [place, row.name, show_share(row.share), *counts, row.more or "-"]
        rates = [
            f"{row.ratings[kind][0]:.2f} ({row.ratings[kind][1]})" if kind in row.ratings else "-"
            for kind in rated
        ]
        cells.append([*(own if voted else [row.name]), *rates])
    numeric = [title != "model" for title in titles]
    models = ["" if row.name == HUMAN else row.name for row in rows]
    return Part(f"People's votes: {title}", titles, cells, numeric, models, help)


def _list_meetings(ranking: VoteRanking, rows: Sequence[VoteRow]) -> Part:
    """Who beat whom: a row each, against a column each."""
    voted = [row for row in rows if row.rank is not None]

    def show(one: VoteRow, other: VoteRow) -> str:
        if one is other:
            return ""
        met = ranking.meetings.get(one.model, {}).get(other.model)
        if met is None:
            return "-"
        return f"{met.wins}:{met.losses}" + (f" ({met.ties})" if met.ties else "")

    titles = ["model", *(row.name for row in voted)]
    cells = [[row.name, *(show(row, other) for other in voted)] for row in voted]
    models = ["" if row.name == HUMAN else row.name for row in voted]
    numeric = [False, *[True] * len(voted)]
    is_narrow = len(voted) <= MOST_IN_TERMINAL
    heading = "Won : lost (tied) against each other"
    return Part(heading, titles, cells, numeric, models, is_narrow=is_narrow)


def _list_raters(ranking: VoteRanking) -> Part:
    names = Counter(cut(rater.name, NAME_CHARACTERS) for rater in ranking.raters)
    cells = [
        [
            cut(rater.name, NAME_CHARACTERS),
            str(rater.votes),
            show_share(rater.left) + (f", prefers the {rater.prefers}" if rater.prefers else ""),
            show_share(rater.repeats),
            "-" if rater.repeats is None else str(rater.repeats.n),
        ]
        for rater in ranking.raters
    ]
    titles = ["rater", "votes", "chose the left", "said the same again", "repeats"]
    return Part("Raters", titles, cells, [False, True, True, True, True], [""] * len(names))


def _describe_ratings(ratings: Sequence[Rating]) -> str:
    raters = len({one.rater for one in ratings})
    answers = len({(one.rater, one.prompt, one.model) for one in ratings})
    who = "1 rater" if raters == 1 else f"{raters} raters"
    return f"Ratings are means from 1 to 5, with their number, of {answers} answers, by {who}."
