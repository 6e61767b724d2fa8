"""The tables on judges: how each ranks the models, and how far to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.votes.parts import (
    Part,
    VoteRow,
    VoteTable,
    name_contestant,
    show_rank,
    show_share,
)
from llmbench.leaderboard.words import cut
from llmbench.metrics.facts import JUDGED
from llmbench.results.record import Record
from llmbench.results.samples import Opened
from llmbench.results.signature import Signature
from llmbench.votes import ballots
from llmbench.votes.answers import REFERENCE
from llmbench.votes.judges.judgements import FILE, PROTOCOLS, read_judgements
from llmbench.votes.scores import group_votes

if TYPE_CHECKING:
    from llmbench.votes.judges.findings import JudgeFindings

TITLES = ("rank", "model", "win share", "judged", "won", "tied", "lost")
HELP = (
    "best and worst rank that the verdicts allow: all pairs tested, Holm-corrected",
    "who wrote the answers",
    "share of verdicts that would be for it against the average of the others; a tie is half a win",
    "verdicts that it took part in",
    "verdicts for it",
    "ties, and verdicts that changed with the order of the answers",
    "verdicts for the other one",
)


def build_judge_tables(record: Record, folder: Path | None, run: str = "") -> list[VoteTable]:
    """Return a table for each judge of each task, in the order in which they began. run: the run's
    name among several. UsageError if the file of judgements, or of votes, is wrong.
    """
    if folder is None or record.items is not None or not (folder / FILE).is_file():
        return []
    from llmbench.votes.judges.findings import describe_judges
    from llmbench.votes.opening import find_sets

    opened, found = Opened(record, folder), list[VoteTable]()
    votes = group_votes(record, ballots.read_ballots(folder))
    stages = {model.name: model.stage for model in record.models}
    for task in dict.fromkeys(one.task for one in read_judgements(folder)):
        sets = find_sets(opened, task, [*stages], human=True)
        for judge in describe_judges(folder, task, sets, votes.get(task, [])):
            found.append(_build(judge, stages, run))
    return found


def _build(judge: JudgeFindings, stages: Mapping[str, int | None], run: str) -> VoteTable:
    title = cut(f"{judge.task}, {run}" if run else judge.task, NAME_CHARACTERS)
    name = cut(judge.judge, NAME_CHARACTERS)
    rows = [
        VoteRow(
            name_contestant(one.name),
            one.name,
            stages.get(one.name),
            one.rank,
            one.share,
            one.wins,
            one.losses,
            one.ties,
        )
        for one in judge.ranking.standings
    ]
    from llmbench.votes.judges.findings import tell_cost

    cells = []
    for row in rows:
        counts = (row.votes, row.wins, row.ties, row.losses)
        cells.append([show_rank(row.rank), row.name, show_share(row.share), *map(str, counts)])
    models = ["" if row.model == REFERENCE else row.name for row in rows]
    numeric = [one != "model" for one in TITLES]
    part = Part(f"Judge {name} ({judge.kind}): {title}", TITLES, cells, numeric, models, HELP)
    notes = [
        *judge.remarks,
        *(
            f"{name_contestant(one.name)}: no share, {one.why}."
            for one in judge.ranking.standings
            if one.why
        ),
        tell_cost(judge),
    ]
    signature = Signature.of(protocol=PROTOCOLS[judge.kind], judge=judge.mark)
    metric = f"{JUDGED}:{name}"
    return VoteTable(f"{title}, judge {name}", rows, [part], notes, str(signature), metric=metric)
