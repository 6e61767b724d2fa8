"""Votes as scores of a run: a share of wins for each model, with what tests compare it by.

A record holds what a run measured, and never votes. They are counted anew whenever a board is drawn
or runs are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.metrics.facts import FACTS, VOTES
from llmbench.results.record import Record, Score
from llmbench.results.samples import Opened, open_results
from llmbench.results.signature import Signature
from llmbench.results.tables.deviations import Deviations, spread_deviations
from llmbench.votes import ballots
from llmbench.votes.answers import REFERENCE
from llmbench.votes.ballots import Ballots
from llmbench.votes.kinds import Vote

if TYPE_CHECKING:
    from llmbench.votes.ranking import VoteRanking
    from llmbench.votes.strengths.davidson import Fit, Floats
    from llmbench.votes.strengths.tally import Tally

PROTOCOL = "votes/1"
OWN_PARTS = ("protocol", "decoding")  # of a metric's signature, and not of the answers


def open_run(path: Path) -> Opened:
    """Return a run with the votes on it as scores. UsageError as for `open_results`, or if its file
    of votes is wrong.
    """
    return add_votes(open_results(path))


def add_votes(opened: Opened) -> Opened:
    """Return the run with votes as scores, and as statistics of items (`measure_units`)."""
    record = opened.record
    if record.items is not None or not has_votes(opened.folder):
        return opened
    scores = [score for score in record.scores if score.metric != VOTES]
    added: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    deviations: dict[tuple[str, str, str], Deviations] = {}
    bare = replace(opened, record=record.model_copy(update={"scores": scores}), added={})
    for task, votes in group_votes(bare.record, ballots.read_ballots(opened.folder)).items():
        ranking = rank(votes, record.seed)
        scores += make_scores(bare.record, task, ranking)
        for model, found in measure_units(votes).items():
            if model != REFERENCE:
                ids = _find_ids(bare, model, task)
                rows = {ids[key]: [value, 1.0] for key, value in found.values.items() if key in ids}
                added[model, task] = {VOTES: rows}
                deviations[model, task, VOTES] = found.deviations
    record = record.model_copy(update={"scores": scores})
    return replace(bare, record=record, added=added, deviations=deviations)


def has_votes(folder: Path) -> bool:
    """Whether anybody has voted on a run."""
    return (folder / ballots.FILE).is_file()


def group_votes(record: Record, found: Ballots) -> dict[str, list[Vote]]:
    """Return the votes on each task, those between models of the record and the human text."""
    names = {model.name for model in record.models} | {REFERENCE}
    groups: dict[str, list[Vote]] = {}
    for vote in found.votes:
        if vote.left in names and vote.right in names:
            groups.setdefault(vote.task, []).append(vote)
    return groups


def rank(votes: Sequence[Vote], seed: int) -> VoteRanking:
    """Return the ranking of votes; of the same votes it is computed once."""
    return _rank(tuple(votes), seed)


@lru_cache(maxsize=8)
def _rank(votes: tuple[Vote, ...], seed: int) -> VoteRanking:
    from llmbench.votes.ranking import rank_votes

    return rank_votes(votes, seed=seed)


def make_scores(record: Record, task: str, ranking: VoteRanking) -> list[Score]:
    """Return the shares of the models that have one."""
    signature = sign(record, task, [row.name for row in ranking.standings])
    return [
        Score.model_validate(
            {
                "model": row.name,
                "task": task,
                **FACTS[VOTES].row(
                    row.share.value, ranking.prompts, signature, row.share.low, row.share.high
                ),
                "rank": row.rank,
                "empty": 0,  # it is about what a model wrote
            }
        )
        for row in ranking.standings
        if row.share is not None and row.name != REFERENCE
    ]


def sign(record: Record, task: str, contestants: Sequence[str]) -> str:
    """Return the signature of votes: a share depends on the answers and on who else took part."""
    written = (
        s for s in record.scores if s.task == task and s.is_of_generated_text and s.metric != VOTES
    )
    known = next((Signature.parse(score.signature).parts for score in written), ())
    parts = {part.key: part.value for part in known if part.key and part.key not in OWN_PARTS}
    names = "\n".join(sorted(contestants)).encode("utf-8", "replace")
    digest = hashlib.sha256(names).hexdigest()[:16]
    return str(Signature.of(protocol=PROTOCOL, contestants=digest, **parts))


@dataclass(frozen=True)
class Measured:
    """A contestant's share by single prompts, and how far it moves without each prompt and rater.

    values: prompt -> pseudo-value of the share (Tukey's jackknife: n times the share less n - 1
    times that without the prompt). Their mean is the share but for its bias.
    """

    values: dict[str, float]
    deviations: Deviations


def measure_units(votes: Sequence[Vote]) -> dict[str, Measured]:
    """Return what each contestant's share rests on, no matter who met whom. {} if nobody has a
    share, or there is one prompt only. Prompts are named as by `tally.name_prompt`, without task.
    """
    from llmbench.votes.strengths.davidson import average_shares, fit
    from llmbench.votes.strengths.tally import count_votes, find_scale, name_prompt

    firsts = [vote for vote in votes if vote.repeat_of is None]
    counted = count_votes(firsts)
    names = find_scale(counted).names
    among = [vote for vote in firsts if vote.left in names and vote.right in names]
    prompts = [name_prompt(vote).partition("\n")[2] for vote in among]
    if len(names) < 2 or len(set(prompts)) < 2:
        return {}
    raters = [vote.rater for vote in among]
    inner = counted.take(names)
    found = fit(inner.count(), len(names))
    known, shares = _leave_out(inner, found, prompts)
    pseudo = len(known) * average_shares(found)[0] - (len(known) - 1) * shares
    parts = []  # of each kind of unit: unit -> deviations, (contestants,)
    for units in (prompts, raters, [f"{a}\n{b}" for a, b in zip(prompts, raters, strict=True)]):
        keys, without = _leave_out(inner, found, units)
        parts.append(dict(zip(keys, spread_deviations(without), strict=True)))
    return {
        name: Measured(
            dict(zip(known, pseudo[:, place].tolist(), strict=True)),
            Deviations(*({key: float(row[place]) for key, row in part.items()} for part in parts)),
        )
        for place, name in enumerate(names)
    }


def _leave_out(inner: Tally, found: Fit, units: Sequence[str]) -> tuple[list[str], Floats]:
    """The names of units, and the shares without each, (units, contestants)."""
    import numpy as np

    from llmbench.votes.strengths.davidson import average_shares, refit

    known, keys = np.unique(units, return_inverse=True)
    rows, place = np.unique(inner.count_units(keys), axis=0, return_inverse=True)
    whole = inner.count()
    without = whole[None] - rows.reshape(len(rows), *whole.shape)
    return known.tolist(), average_shares(refit(without, found))[place.reshape(-1)]


def _find_ids(opened: Opened, model: str, task: str) -> Mapping[str, str]:
    """The first item of each prompt, which has the statistics of all answers to it."""
    from llmbench.votes.strengths.tally import AGAIN

    found: dict[str, str] = {}
    for key in opened.table(model, task).keys:
        found.setdefault(AGAIN.sub("", key), key)
    return found
