"""What a line of a file of votes may be: a vote, a rating, or an undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["left", "right", "good", "bad", "tie"]
Criterion = Literal["fluency", "sense", "follows"]
TIES = ("good", "bad", "tie")  # both good, both bad, no difference: all are ties for the ranking
STARS = (1, 5)  # the worst and the best rating


@dataclass(frozen=True)
class Vote:
    """Which of two answers a rater found better.

    `prompt`: the item's id in samples/<model>/<task>.jsonl. `left`, `right`: contestants, a model's
    name or "reference", the human text. `digest`: of the prompt and the two answers in the order
    shown (`answers.digest_texts`). `repeat_of`: the vote of which this is the hidden repeat, whose
    sides may be swapped. `chance`: with which these two contestants were drawn, whatever the
    prompt. `seconds`: how long the rater took. `shown`: False where the answers are identical,
    which is a tie that nobody was asked about: it says nothing of agreement or of sides.
    """

    identity: str
    time: str
    rater: str
    task: str
    prompt: str
    left: str
    right: str
    verdict: Verdict
    digest: str
    repeat_of: str | None = None
    chance: float = 1.0
    seconds: float | None = None
    shown: bool = True


@dataclass(frozen=True)
class Rating:
    """How good a rater found one answer by one criterion, from 1 to 5. `digest`: of the prompt and
    the answer.
    """

    identity: str
    time: str
    rater: str
    task: str
    prompt: str
    model: str
    criterion: Criterion
    value: int
    digest: str


@dataclass(frozen=True)
class Undo:
    """A vote or rating taken back by its rater. `of`: its identity."""

    identity: str
    time: str
    rater: str
    of: str


Ballot = Vote | Rating | Undo
KINDS: dict[str, type[Ballot]] = {"vote": Vote, "rating": Rating, "undo": Undo}
