"""What votes say of contestants and of raters, as a board shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmbench.stats import Interval


@dataclass(frozen=True)
class Standing:
    """A contestant: a model, or the human text.

    strength: in logits above the mean of all that have a strength. share: of votes that it would
    win against the average of them, a tie being half a win. Both are None if there is no finite
    strength: `why` says the reason. rank: the best and the worst one that the votes allow.
    """

    name: str
    wins: int
    losses: int
    ties: int
    rank: tuple[int, int]
    strength: Interval | None = None
    share: Interval | None = None
    why: str = ""

    @property
    def votes(self) -> int:
        """How many votes it took part in."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True)
class Rater:
    """Who voted.

    left: the share of left among the votes for one side, None without such. p: how often a rater
    without a preference for a side is so far from a half; prefers: "left" or "right" if that is
    beyond chance (Holm over the raters), else "". repeats: the share of hidden repeats that were
    answered as the first time, None without repeats.
    """

    name: str
    votes: int
    left: Interval | None
    p: float
    prefers: str = ""
    repeats: Interval | None = None


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha over the pairs of answers that several raters saw: 1 is agreement, 0 is
    chance. alpha is None if it is undefined: `why` says the reason.
    """

    alpha: Interval | None
    pairs: int
    why: str = ""


@dataclass(frozen=True)
class Needed:
    """Votes still needed to tell two neighbours in the order of strengths apart, if votes go on as
    they did; None if that is more than people give. 0: they are told apart.
    """

    better: str
    worse: str
    votes: int | None


@dataclass(frozen=True)
class Meetings:
    """How often a contestant won, lost and tied against another."""

    wins: int = 0
    losses: int = 0
    ties: int = 0


@dataclass(frozen=True)
class VoteRanking:
    """Contestants in the order of their strengths, those without one after them.

    over: what the intervals hold besides chance: "prompts and raters"; "prompts", if one rater
    voted; "", if there are no intervals. tie_share: of all votes. ties: Davidson's v, 0 without
    ties. meetings: name -> opponent -> results. reweighted: strengths with each vote weighted by
    one over the chance with which its pair was drawn; None if all chances are alike. remarks: what
    a reader must know, as sentences.
    """

    standings: list[Standing]
    raters: list[Rater]
    votes: int
    prompts: int
    over: str
    tie_share: Interval | None
    ties: float | None
    agreement: Agreement
    repeats: Interval | None
    needed: list[Needed] = field(default_factory=list)
    better_than: dict[str, set[str]] = field(default_factory=dict)
    meetings: dict[str, dict[str, Meetings]] = field(default_factory=dict)
    reweighted: dict[str, float] | None = None
    remarks: list[str] = field(default_factory=list)
