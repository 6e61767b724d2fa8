"""Which two answers a rater is asked about next, and what a reply means.

A page never learns which model wrote what: it gets tickets, which name pairs and answers by
digests that only the run's folder can undo.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from llmbench.errors import UsageError
from llmbench.votes import ballots
from llmbench.votes.answers import AnswerSet
from llmbench.votes.choosing import choose_pair
from llmbench.votes.kinds import Ballot, Criterion, Rating, Undo, Verdict, Vote

REPEATS = 0.1  # of the questions are asked a second time
REPEAT_DISTANCE = 5  # votes in between, so that nobody remembers
CRITERIA: dict[Criterion, str] = {
    "fluency": "Fluency: is it written as people write?",
    "sense": "Sense: does it make sense?",
    "follows": "Fit: does it follow from the prompt?",
}
PAIRS, RATINGS = "pairs", "ratings"  # what a page asks for

Text = Annotated[str, Field(max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Ticket(_Strict):
    """What a page sends back of a question. `item`: the digest of a pair, or of an answer.
    `turned`: whether the first contestant of the pair is on the right.
    """

    item: Text
    digest: Text
    turned: bool = False
    chance: Annotated[float, Field(gt=0, le=1)] = 1.0
    repeat_of: Text | None = None


class Reply(_Strict):
    """What a rater said to a question: a verdict on a pair, or ratings of an answer."""

    identity: Annotated[str, Field(pattern="^[0-9A-Za-z-]{8,100}$")]
    ticket: Ticket
    verdict: Verdict | None = None
    ratings: dict[Criterion, Annotated[int, Field(ge=1, le=5)]] | None = None
    seconds: Annotated[float, Field(ge=0, lt=1e9)] | None = None
    time: Text | None = None


@dataclass(frozen=True)
class Pair:
    """Two contestants' answers to a prompt, by its id."""

    prompt: str
    one: str
    other: str


@dataclass(frozen=True)
class Question:
    """What a rater sees: a prompt and two answers, left and right, or one to be rated."""

    ticket: Ticket
    prompt: str
    answers: tuple[str, ...]


class Poll:
    """The questions about a task of a run.

    folder: the run's, where votes are kept.
    key: what the digests in tickets are mixed with, the same for the same run.
    sets: prompts with the answers of the contestants.
    asks: "pairs" or "ratings".
    target: questions after which a page thanks.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        sets: Mapping[str, AnswerSet],
        *,
        key: str,
        seed: int = 0,
        asks: str = PAIRS,
        target: int = 50,
    ):
        self.folder, self.task, self.sets = folder, task, sets
        self.asks, self.seed, self.key, self.target = asks, seed, key, target
        self.pairs = {
            self.name_item(pair.prompt, pair.one, pair.other): pair for pair in list_pairs(sets)
        }
        self.answers = {
            self.name_item(prompt, name): (prompt, name)
            for prompt, found in sets.items()
            for name in found.answers
        }
        self._stamp: tuple[int, int] | None = None
        self._written = self._stamp_answers()
        self._lines: list[Ballot] = []

    @property
    def poll_id(self) -> str:
        """What tells this poll from that of another run or task."""
        return _digest(self.key, self.task)

    def count_meetings(self) -> int:
        """Return how many pairs of contestants there are, whatever the prompt."""
        return len({(pair.one, pair.other) for pair in self.pairs.values()})

    def name_item(self, prompt: str, *contestants: str) -> str:
        """Return the digest that stands for answers in a ticket."""
        return _digest(self.key, self.task, prompt, *contestants)

    def _stamp_answers(self) -> list[tuple[int, int] | None]:
        """What tells whether the files of answers are still those that were read."""
        names = {name for found in self.sets.values() for name in found.answers}
        return [
            _stamp(self.folder / "samples" / name / f"{self.task}.jsonl") for name in sorted(names)
        ]

    def check_answers(self) -> None:
        """Raise Changed if a model was run again since the answers were read: what is asked about
        may be there no more, and votes on it would not count.
        """
        if self._stamp_answers() != self._written:
            raise Changed(
                "the answers have changed since this page was opened",
                hint="end `llmbench vote` and start it again",
            )

    def read_lines(self) -> list[Ballot]:
        """Return all ballots in the folder: read again if another process has added some."""
        stamp = _stamp(self.folder / ballots.FILE)
        if stamp is None or stamp != self._stamp:
            self._lines = ballots.read_lines(self.folder / ballots.FILE)
            self._stamp = stamp
        return self._lines

    def list_standing(self, rater: str | None = None) -> list[Vote | Rating]:
        """Return the votes and ratings on this task that hold, of one rater or of all."""
        return [
            one
            for one in ballots.merge(self.read_lines())
            if one.task == self.task and rater in (None, one.rater)
        ]

    def list_asked(self, rater: str) -> list[Vote | Rating]:
        """Return those of a rater on what this poll can show: its contestants, as they are now."""
        return [one for one in self.list_standing(rater) if self._can_show(one)]

    def _can_show(self, one: Vote | Rating) -> bool:
        names: tuple[str, ...]
        if isinstance(one, Rating):
            names = (one.model,)
            known = self.name_item(one.prompt, one.model) in self.answers
        else:
            pair, names = self.pair_of(one), (one.left, one.right)
            known = self.name_item(pair.prompt, pair.one, pair.other) in self.pairs
        return known and self.sets[one.prompt].digest(*names) == one.digest

    def ask(self, rater: str, now: str) -> Question | None:
        """Return the next question for a rater; None if there is no other.

        A pair whose answers are the same is a tie: it is written as such, at the time `now`, and
        another one is asked about.
        """
        while (question := self._draw(rater)) is not None:
            if self.asks == RATINGS or question.answers[0] != question.answers[1]:
                return question
            name = _digest(question.ticket.item, rater, "identical")
            reply = Reply(identity=name, ticket=question.ticket, verdict="tie", seconds=0.0)
            ballots.append(self.folder, self.resolve(reply, rater, now))
        return None

    def _draw(self, rater: str) -> Question | None:
        drawn = sum(one.rater == rater for one in self.read_lines())
        rng = random.Random(f"{self.seed} {self.task} {rater} {drawn}")
        if self.asks == RATINGS:
            return self._draw_answer(rater, rng)
        votes = [one for one in self.list_standing() if isinstance(one, Vote)]
        own = [one for one in self.list_asked(rater) if isinstance(one, Vote)]
        if rng.random() < REPEATS and (again := _find_repeatable(own)):
            vote = rng.choice(again)
            return self.show(self.pair_of(vote), rng.random() < 0.5, repeat_of=vote.identity)
        asked = {self.pair_of(vote) for vote in own}
        open_pairs = [pair for pair in self.pairs.values() if pair not in asked]
        if not open_pairs:
            return None
        pair, chance = choose_pair(votes, open_pairs, rng)
        return self.show(pair, _turn(pair, own, rng), chance=chance)

    def _draw_answer(self, rater: str, rng: random.Random) -> Question | None:
        """One of the answers that the fewest raters have rated, and this one has not."""
        ratings = [one for one in self.list_standing() if isinstance(one, Rating)]
        asked = [one for one in self.list_asked(rater) if isinstance(one, Rating)]
        own = {(one.prompt, one.model) for one in asked}
        counts = Counter((one.prompt, one.model) for one in ratings)
        left = [answer for answer in self.answers.values() if answer not in own]
        if not left:
            return None
        least = min(counts[answer] for answer in left)
        prompt, name = rng.choice([answer for answer in left if counts[answer] == least])
        return self.show_answer(prompt, name)

    def pair_of(self, vote: Vote) -> Pair:
        """Return the pair that a vote is on."""
        order = list(self.sets[vote.prompt].answers) if vote.prompt in self.sets else []
        names = sorted((vote.left, vote.right), key=lambda n: order.index(n) if n in order else -1)
        return Pair(vote.prompt, *names)

    def show(
        self, pair: Pair, turned: bool, *, chance: float = 1.0, repeat_of: str | None = None
    ) -> Question:
        """Return the question about a pair, its first contestant on the right if `turned`."""
        names = (pair.other, pair.one) if turned else (pair.one, pair.other)
        found = self.sets[pair.prompt]
        ticket = Ticket(
            item=self.name_item(pair.prompt, pair.one, pair.other),
            digest=found.digest(*names),
            turned=turned,
            chance=chance,
            repeat_of=repeat_of,
        )
        return Question(ticket, found.text, tuple(found.answers[name] for name in names))

    def show_answer(self, prompt: str, name: str) -> Question:
        """Return the question about one answer."""
        found = self.sets[prompt]
        ticket = Ticket(item=self.name_item(prompt, name), digest=found.digest(name))
        return Question(ticket, found.text, (found.answers[name],))

    def resolve(self, reply: Reply, rater: str, now: str) -> list[Ballot]:
        """Return the ballots of a reply. UsageError if it is none of this poll's, or on answers
        that have changed since they were shown.
        """
        time, ticket = reply.time or now, reply.ticket
        if (reply.verdict is None) == (not reply.ratings):
            raise UsageError("a reply needs a verdict or ratings", where=reply.identity)
        if reply.ratings:
            return self._resolve_ratings(reply, rater, time)
        pair = self.pairs.get(ticket.item)
        if pair is None or reply.verdict is None:
            raise UsageError("the pair is none of this run and task", where=reply.identity)
        left, right = (pair.other, pair.one) if ticket.turned else (pair.one, pair.other)
        self._check_digest(reply, pair.prompt, left, right)
        answers = self.sets[pair.prompt].answers
        return [
            Vote(
                *(reply.identity, time, rater, self.task, pair.prompt, left, right),
                reply.verdict,
                ticket.digest,
                ticket.repeat_of,
                ticket.chance,
                reply.seconds,
                answers[left] != answers[right],
            )
        ]

    def _resolve_ratings(self, reply: Reply, rater: str, time: str) -> list[Ballot]:
        found = self.answers.get(reply.ticket.item)
        if found is None:
            raise UsageError("the answer is none of this run and task", where=reply.identity)
        self._check_digest(reply, *found)
        return [
            Rating(
                *(f"{reply.identity}.{name}", time, rater, self.task, *found),
                name,
                value,
                reply.ticket.digest,
            )
            for name, value in (reply.ratings or {}).items()
        ]

    def _check_digest(self, reply: Reply, prompt: str, *names: str) -> None:
        if self.sets[prompt].digest(*names) != reply.ticket.digest:
            raise Changed("the answers have changed since they were shown", where=reply.identity)

    def undo(self, identity: str, rater: str, now: str) -> Question | None:
        """Take back a rater's last reply and return its question; None if there is none.

        Asked again with the same `identity`, it takes back nothing more.
        """
        by_identity = {one.identity: one for one in self.read_lines()}
        done = [by_identity.get(f"{identity}.{number}") for number in range(len(CRITERIA))]
        gone = [by_identity[one.of] for one in done if isinstance(one, Undo)]
        if not gone:
            own = self.list_asked(rater)
            mine = [one for one in own if not isinstance(one, Vote) or one.shown]
            mine = [one for one in mine if isinstance(one, Rating) == (self.asks == RATINGS)]
            if not mine:
                return None
            last = mine[-1].identity.partition(".")[0]
            gone = [one for one in mine if one.identity.partition(".")[0] == last]
            ballots.append(
                self.folder,
                [
                    Undo(f"{identity}.{number}", now, rater, one.identity)
                    for number, one in enumerate(gone)
                ],
            )
        return self._show_again(gone[0])

    def _show_again(self, ballot: Ballot) -> Question | None:
        if isinstance(ballot, Rating):
            return self.show_answer(ballot.prompt, ballot.model)
        if not isinstance(ballot, Vote):
            return None
        pair = self.pair_of(ballot)
        turned = ballot.left != pair.one
        return self.show(pair, turned, chance=ballot.chance, repeat_of=ballot.repeat_of)

    def count(self, rater: str) -> tuple[int, float]:
        """Return how many questions a rater has answered, and in how many seconds."""
        own = self.list_asked(rater)
        if self.asks == RATINGS:
            return len({(one.prompt, one.model) for one in own if isinstance(one, Rating)}), 0.0
        votes = [one for one in own if isinstance(one, Vote) and one.shown]
        return len(votes), sum(vote.seconds or 0.0 for vote in votes)


class Changed(UsageError):
    """A vote is on answers that are no longer those that were shown."""


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        seen = file.stat()
    except OSError:
        return None
    return seen.st_size, seen.st_mtime_ns


def list_pairs(sets: Mapping[str, AnswerSet]) -> list[Pair]:
    """Return all pairs of answers to the same prompt."""
    return [
        Pair(prompt, one, other)
        for prompt, found in sets.items()
        for one, other in combinations(found.answers, 2)
    ]


def _digest(*parts: str) -> str:
    whole = "\n".join(hashlib.sha256(part.encode("utf-8", "replace")).hexdigest() for part in parts)
    return hashlib.sha256(whole.encode()).hexdigest()[:24]


def _find_repeatable(own: Sequence[Vote]) -> list[Vote]:
    """The votes of a rater that can be asked for again: long enough ago, and only once."""
    seen = [vote for vote in own if vote.shown]
    again = {vote.repeat_of for vote in seen}
    return [
        vote
        for vote in seen[:-REPEAT_DISTANCE]
        if vote.repeat_of is None and vote.identity not in again
    ]


def _turn(pair: Pair, own: Sequence[Vote], rng: random.Random) -> bool:
    """Whether the first contestant goes to the right: at random, but for who was on one side more
    often than the other.
    """
    lean = Counter[str]()
    for vote in own:
        lean[vote.left] += 1
        lean[vote.right] -= 1
    more = lean[pair.one] - lean[pair.other]
    return rng.random() < 0.5 if more == 0 else more > 0
