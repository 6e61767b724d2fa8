"""The section on people's votes: for each task who won how often, and what votes and raters are
worth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.votes.parts import (
    HUMAN,
    Part,
    VoteRow,
    VoteTable,
    name_contestant,
    show_rank,
    show_share,
)
from llmbench.leaderboard.votes.ratings import describe_ratings, list_ratings
from llmbench.leaderboard.votes.remarks import describe_votes, summarise
from llmbench.leaderboard.words import cut, join_words
from llmbench.results.record import Record
from llmbench.votes import ballots
from llmbench.votes.answers import REFERENCE
from llmbench.votes.ballots import Ballots
from llmbench.votes.kinds import Criterion, Rating, Vote
from llmbench.votes.scores import group_votes, has_votes, rank, sign

if TYPE_CHECKING:
    from llmbench.votes.ranking import Standing, VoteRanking
    from llmbench.votes.strengths.ratings import Rated

TITLES = ("rank", "model", "win share", "votes", "won", "tied", "lost", "still needed")
HELP = (
    "best and worst rank that the votes allow: all pairs tested, Holm-corrected",
    "who wrote the answers",
    "share of votes that it would win against the average of the others; a tie is half a win",
    "votes that it took part in",
    "votes that it won",
    "ties",
    "votes that it lost",
    "votes still needed to tell it from the next one, if votes go on as they did",
)
MOST_OPPONENTS = 12  # columns of a table of who beat whom
MOST_IN_TERMINAL = 5  # of its columns


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
    rated = _rank_ratings(ratings, record.seed)
    means = {
        name: {kind: some[name] for kind, some in rated.items() if name in some}
        for name in (*stages, REFERENCE)
    }
    ranking = rank(votes, record.seed) if votes else None
    standings = ranking.standings if ranking else []
    rows = [_make_row(one, stages, means, _name_more(ranking)) for one in standings]
    known = {row.model for row in rows}
    order = [name for name, own in means.items() if own and name not in known]
    rows += [
        VoteRow(name_contestant(name), name, stages.get(name), None, None, ratings=means[name])
        for name in order
    ]
    title = cut(f"{task}, {run}" if run else task, NAME_CHARACTERS)
    parts = [_list_standings(title, rows)] if ranking else []
    notes = [describe_ratings(ratings)] if ratings else []
    summary = ""
    if ranking is not None:
        if 1 < len(standings) <= MOST_OPPONENTS:
            parts.append(_list_meetings(ranking, rows))
        parts.append(_list_raters(ranking))
        hidden = sum(not vote.shown for vote in votes)
        notes = [*describe_votes(ranking, hidden, name_contestant), *notes]
        summary = summarise(title, rows, ranking.votes)
    parts += [list_ratings(title, rated)] if ratings else []
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


def _rank_ratings(ratings: Sequence[Rating], seed: int) -> Mapping[Criterion, Mapping[str, Rated]]:
    if not ratings:
        return {}
    from llmbench.votes.strengths.ratings import rank_ratings  # numpy

    return rank_ratings(ratings, seed=seed)


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
    means: Mapping[str, Mapping[Criterion, Rated]],
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


def _list_standings(title: str, rows: Sequence[VoteRow]) -> Part:
    voted = [row for row in rows if row.rank]
    cells = []
    for row in voted:
        counts = [str(count) for count in (row.votes, row.wins, row.ties, row.losses)]
        share = show_share(row.share)
        cells.append([show_rank(row.rank), row.name, share, *counts, row.more or "-"])
    numeric = [one != "model" for one in TITLES]
    models = ["" if row.name == HUMAN else row.name for row in voted]
    return Part(f"People's votes: {title}", TITLES, cells, numeric, models, HELP)


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
