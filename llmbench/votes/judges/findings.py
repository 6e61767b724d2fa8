"""What a judge's verdicts are worth: its ranking, whether it prefers a place or a length, and how
often it says what people said about the same answers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmbench.stats import Interval, ratio_interval, wilson_interval
from llmbench.votes.answers import AnswerSet
from llmbench.votes.judges.judgements import Judgement, Kind, keep_fresh, read_judgements
from llmbench.votes.judges.questions import is_flip
from llmbench.votes.kinds import Vote
from llmbench.votes.ranking import VoteRanking, rank_votes
from llmbench.votes.strengths.agreement import binomial_p, measure_agreement
from llmbench.votes.strengths.resampling import TRIALS
from llmbench.votes.strengths.standings import Agreement
from llmbench.votes.strengths.tally import find_winner, name_prompt

ALPHA = 0.01  # of saying that a judge prefers a place, or the longer answer
MOSTLY_TIES = 0.9  # of the verdicts: a judge that tells hardly anything apart


@dataclass(frozen=True)
class Validation:
    """How a judge's verdicts agree with people's votes on the same pairs of answers.

    same: the share of votes whose verdict is the judge's, a tie being a verdict. alpha:
    Krippendorff's, between the judge and the majority of the votes on each pair. people: the same
    among raters, which no judge need exceed.
    """

    votes: int
    pairs: int
    same: Interval
    alpha: Agreement
    people: Agreement


@dataclass(frozen=True)
class JudgeFindings:
    """All about one judge of one task.

    pairs: that it was asked about, without identical answers. requests: to a pairwise judge. price:
    None if none is stated for all of them. unread: of them, without a usable
    verdict, with the reasons. replies, first, flips: of a pairwise judge, its readable replies, the
    share of the first answer among those that chose one, and the share of pairs on which it changed
    its verdict with the order. longer: the share of the longer answer among verdicts for one;
    people_longer: the same among people's votes on those pairs.
    validation: None if no person voted on a pair that it judged. is_contestant: whether a model of
    its name wrote some of the answers.
    """

    judge: str
    kind: Kind
    mark: str
    task: str
    pairs: int
    requests: int
    unread: dict[str, int]
    replies: int
    first: Interval | None
    flips: Interval | None
    longer: Interval | None
    people_longer: Interval | None
    ranking: VoteRanking
    validation: Validation | None
    seconds: float
    read_bytes: int
    read_tokens: int | None
    written_tokens: int
    price: float | None = None
    is_contestant: bool = False
    remarks: list[str] = field(default_factory=list)


def describe_judges(
    folder: Path, task: str, sets: Mapping[str, AnswerSet], votes: Sequence[Vote]
) -> list[JudgeFindings]:
    """Return all about each judge of a task, from the judgements in a run's folder, in the order in
    which they began. sets: the answers that there are now, by their prompts.
    """
    known = keep_fresh([one for one in read_judgements(folder) if one.task == task], sets)
    marks = dict.fromkeys(one.mark for one in known)
    return [describe_judge([one for one in known if one.mark == mark], votes) for mark in marks]


def describe_judge(
    judgements: Sequence[Judgement],
    votes: Sequence[Vote],
    *,
    seed: int = 0,
    trials: int = TRIALS,
) -> JudgeFindings:
    """Return all about one judge, from its judgements of one task and people's votes in the run.
    Raises ValueError without judgements.
    """
    if not judgements:
        raise ValueError("there are no judgements")
    one = judgements[0]
    asked = [row for row in judgements if row.asked]
    cast = [vote for row in judgements if (vote := row.to_vote()) is not None]
    tokens = [row.read_tokens for row in asked]
    found = JudgeFindings(
        judge=one.judge,
        kind=one.kind,
        mark=one.mark,
        task=one.task,
        pairs=len(asked),
        requests=sum(len(row.replies) for row in asked),
        unread=dict(Counter(row.why for row in asked if row.verdict is None)),
        replies=sum(choice is not None for row in asked for choice in row.choices),
        first=_count_first(asked),
        flips=_count_flips(asked),
        longer=_count_longer(asked, cast),
        people_longer=_count_longer(asked, votes),
        ranking=rank_votes(cast, seed=seed, trials=trials),
        validation=validate(cast, votes, seed=seed, trials=trials),
        seconds=sum(row.seconds for row in asked),
        read_bytes=sum(row.read_bytes for row in asked),
        read_tokens=None if None in tokens else sum(filter(None, tokens)),
        written_tokens=sum(row.written_tokens for row in asked),
        price=_add_prices(asked),
        is_contestant=any(one.judge in (row.left, row.right) for row in judgements),
    )
    return replace(found, remarks=_remark(found))


def _add_prices(asked: Sequence[Judgement]) -> float | None:
    known = [row.price for row in asked if row.price is not None]
    return math.fsum(known) if known and len(known) == len(asked) else None


def tell_cost(found: JudgeFindings) -> str:
    """Return what a judge took, in a sentence."""
    parts = [f"{found.requests:,} requests"] if found.requests else []
    tokens = "" if found.read_tokens is None else f" ({found.read_tokens:,} tokens)"
    parts.append(f"{found.read_bytes:,} bytes read{tokens}")
    if found.written_tokens:
        parts.append(f"{found.written_tokens:,} tokens written")
    parts.append(f"{found.seconds:.1f} s")
    if found.price is not None:
        parts.append(f"a price of {found.price:.4g}")
    return f"{found.pairs:,} pairs of answers: {', '.join(parts)}."


def _count_first(asked: Sequence[Judgement]) -> Interval | None:
    counts = Counter(choice for row in asked for choice in row.choices)
    both = counts["first"] + counts["second"]
    return wilson_interval(counts["first"], both) if both else None


def _count_flips(asked: Sequence[Judgement]) -> Interval | None:
    read = [row.choices for row in asked if row.choices and None not in row.choices]
    return wilson_interval(sum(map(is_flip, read)), len(read)) if read else None


def _count_longer(asked: Sequence[Judgement], votes: Sequence[Vote]) -> Interval | None:
    """The share of votes for the longer answer, among those for one of the two."""
    longer: dict[tuple[str, ...], str] = {
        (row.task, row.prompt, row.left, row.right): row.left if row.longer == "left" else row.right
        for row in asked
        if row.longer is not None
    }
    told = [
        winner == longer[_name_pair(vote)]
        for vote in votes
        if _name_pair(vote) in longer
        and vote.repeat_of is None
        and (winner := find_winner(vote)) is not None
    ]
    return wilson_interval(sum(told), len(told)) if told else None


def validate(
    judged: Sequence[Vote], votes: Sequence[Vote], *, seed: int = 0, trials: int = TRIALS
) -> Validation | None:
    """Return how a judge's verdicts agree with people's votes on the same pairs; None if there are
    no such votes. Hidden repeats and identical answers, which nobody saw, do not count.
    """
    verdicts = {_name_pair(vote): vote for vote in judged if vote.shown}
    seen = [
        vote
        for vote in votes
        if vote.shown and vote.repeat_of is None and _name_pair(vote) in verdicts
    ]
    if not seen:
        return None
    hits: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    by_pair: dict[tuple[str, ...], list[Vote]] = defaultdict(list)
    for vote in seen:
        counts = hits[name_prompt(vote)]
        counts[0] += find_winner(vote) == find_winner(verdicts[_name_pair(vote)])
        counts[1] += 1
        by_pair[_name_pair(vote)].append(vote)
    same = ratio_interval([hit for hit, _ in hits.values()], [n for _, n in hits.values()])
    low, high = same.low, same.high
    if low is not None and high is not None:
        low, high = max(0.0, low), min(1.0, high)
    if same.value in (0.0, 1.0):  # as far as votes go: no prompt differs from another
        wide = wilson_interval(sum(hit for hit, _ in hits.values()), len(seen))
        low, high = wide.low, wide.high
    both = [
        one
        for pair, mine in by_pair.items()
        for one in (replace(verdicts[pair], rater="judge"), _join_votes(mine))
    ]
    return Validation(
        votes=len(seen),
        pairs=len(by_pair),
        same=Interval(same.value, low, high, len(seen)),
        alpha=measure_agreement(both, seed, trials),
        people=measure_agreement(seen, seed, trials),
    )


def _name_pair(vote: Vote) -> tuple[str, ...]:
    return (vote.task, vote.prompt, *sorted((vote.left, vote.right)))


def _join_votes(votes: Sequence[Vote]) -> Vote:
    """What most votes on a pair are for, as one vote; a tie if two verdicts are as frequent."""
    counts = Counter(find_winner(vote) for vote in votes).most_common(2)
    is_clear = len(counts) == 1 or counts[0][1] > counts[1][1]
    winner = counts[0][0] if is_clear else None
    one = votes[0]
    side = {one.left: "left", one.right: "right"}.get(winner or "", "tie")
    return replace(one, rater="people", verdict=side)  # type: ignore[arg-type]


def show_share(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.0f} %"


def _remark(found: JudgeFindings) -> list[str]:
    """What a reader must know before the ranking is believed."""
    remarks = [_tell_validation(found.validation)]
    unread = sum(found.unread.values())
    for why, count in found.unread.items():
        remarks.append(f"{count} of {found.pairs} pairs have no verdict: {why}.")
    if unread == found.pairs:
        remarks.append("It gave no usable verdict at all.")
    ties = found.ranking.tie_share
    if ties is not None and ties.value >= MOSTLY_TIES:
        remarks.append(
            f"{show_share(ties.value)} of its verdicts are ties: it hardly tells answers apart."
        )
    if found.first is not None:
        remarks.append(_tell_place(found.first))
    if found.flips is not None:
        remarks.append(
            "It changed its verdict with the order of the answers on"
            f" {show_share(found.flips.value)} of {found.flips.n} pairs{_tell_ends(found.flips)};"
            " these count as ties."
        )
    if found.longer is not None:
        people = found.people_longer
        beside = "" if people is None else f"; people in {show_share(people.value)} of {people.n}"
        remarks.append(
            f"It chose the longer answer in {show_share(found.longer.value)} of {found.longer.n}"
            f" verdicts{_tell_ends(found.longer)}{beside}."
        )
    if found.is_contestant:
        remarks.append("It judges its own answers, too, and may prefer what it would write.")
    return remarks


def _tell_validation(found: Validation | None) -> str:
    if found is None:
        return "Not validated: no person voted on the pairs that it judged."
    text = (
        f"It agrees with {show_share(found.same.value)} of {found.votes} human votes on the same"
        f" {found.pairs} pairs{_tell_ends(found.same)}."
    )
    alpha, people = found.alpha.alpha, found.people.alpha
    if alpha is not None:
        text += (
            " Krippendorff's alpha, which is 1 for full agreement and 0 for chance, is"
            f" {alpha.value:.2f} between judge and people"
        )
        if alpha.low is not None and alpha.high is not None:
            text += f" (95 % interval {alpha.low:.2f} to {alpha.high:.2f})"
        text += "" if people is None else f", and {people.value:.2f} among people"
        text += "."
        if alpha.high is not None and alpha.high < 0:
            text += " That is worse than chance."
        elif alpha.low is not None and alpha.low <= 0:
            text += " That may be no more than chance."
    return text


def _tell_place(first: Interval) -> str:
    hits = round(first.value * first.n)
    text = (
        f"It chose the first answer in {show_share(first.value)} of {first.n} replies"
        f"{_tell_ends(first)}; without a preference for a place it would be 50 %"
    )
    if binomial_p(hits, first.n) <= ALPHA:
        place = "first" if first.value > 0.5 else "second"
        text += f". It prefers the {place} answer"
    return f"{text}."


def _tell_ends(found: Interval) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" (95 % interval {100 * found.low:.0f} to {show_share(found.high)})"
