"""Votes as scores of a run: a share of wins for each model, with what tests compare it by.

A record holds what a run measured, and never votes. They are counted anew whenever a board is drawn
or runs are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.metrics.facts import FACTS, VOTES
from llmbench.results.record import Record, Score
from llmbench.results.samples import Opened, open_results
from llmbench.results.signature import Signature
from llmbench.votes import ballots
from llmbench.votes.answers import REFERENCE
from llmbench.votes.ballots import Ballots, Vote

if TYPE_CHECKING:
    from llmbench.votes.ranking import VoteRanking

PROTOCOL = "votes/1"
OWN_PARTS = ("protocol", "decoding")  # of a metric's signature, and not of the answers


def open_run(path: Path) -> Opened:
    """Return a run with the votes on it as scores. UsageError as for `open_results`, or if its file
    of votes is wrong.
    """
    return add_votes(open_results(path))


def add_votes(opened: Opened) -> Opened:
    """Return the run with votes as scores, and as statistics of items (`measure_prompts`)."""
    record = opened.record
    if record.items is not None or not has_votes(opened.folder):
        return opened
    scores = [score for score in record.scores if score.metric != VOTES]
    added: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    bare = replace(opened, record=record.model_copy(update={"scores": scores}), added={})
    for task, votes in group_votes(bare.record, ballots.read_ballots(opened.folder)).items():
        ranking = rank(votes, record.seed)
        scores += make_scores(bare.record, task, ranking)
        for model, found in measure_prompts(votes).items():
            if model != REFERENCE:
                ids = _find_ids(bare, model, task)
                rows = {ids[name]: [value, 1.0] for name, value in found.items() if name in ids}
                added[model, task] = {VOTES: rows}
    return replace(bare, record=record.model_copy(update={"scores": scores}), added=added)


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


def measure_prompts(votes: Sequence[Vote]) -> dict[str, dict[str, float]]:
    """Return contestant -> prompt -> pseudo-value of its share (Tukey's jackknife: n times the
    share less n - 1 times that without the prompt).

    Their mean is the share but for its bias, and a test that pairs them by prompts tests the
    difference of two shares, whoever met whom. {} if nobody has a share, or there is one prompt
    only. Prompts are named as by `tally.name_prompt`, without the task.
    """
    import numpy as np

    from llmbench.votes.strengths.davidson import average_shares, fit, refit
    from llmbench.votes.strengths.tally import count_votes, find_scale, name_prompt

    firsts = [vote for vote in votes if vote.repeat_of is None]
    counted = count_votes(firsts)
    names = find_scale(counted).names
    among = [vote for vote in firsts if vote.left in names and vote.right in names]
    prompts = [name_prompt(vote).partition("\n")[2] for vote in among]
    known, keys = np.unique(prompts, return_inverse=True)
    if len(names) < 2 or len(known) < 2:
        return {}
    inner = counted.take(names)
    whole = inner.count()
    found = fit(whole, len(names))
    without = whole[None] - inner.count_units(keys).reshape(len(known), *whole.shape)
    shares = average_shares(found)[0]
    pseudo = len(known) * shares - (len(known) - 1) * average_shares(refit(without, found))
    return {
        name: dict(zip(known.tolist(), pseudo[:, place].tolist(), strict=True))
        for place, name in enumerate(names)
    }


def _find_ids(opened: Opened, model: str, task: str) -> Mapping[str, str]:
    """The first item of each prompt, which has the statistics of all answers to it."""
    from llmbench.votes.strengths.tally import AGAIN

    found: dict[str, str] = {}
    for key in opened.table(model, task).keys:
        found.setdefault(AGAIN.sub("", key), key)
    return found
