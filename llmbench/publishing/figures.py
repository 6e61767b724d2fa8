"""Figures of a published run, and how far they may differ when they are measured again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.results.record import Score, key_of, metric_of

BITS = 0.001  # bits or nats: a tenth of the difference that is of no practical use
RELATIVE_PERPLEXITY = 0.005  # such a difference in the exponent of a long word
RELATIVE = 0.01  # of figures without a margin of a tie
EXACT = 1e-12  # relative: the same number


@dataclass(frozen=True)
class Figure:
    """A published score, and the same one measured again. `here`: None if it was not; `why` then
    says why, or what else is wrong.
    """

    model: str
    task: str
    metric: str
    unit: str
    published: float
    here: float | None
    tolerance: float
    why: str = ""

    @property
    def difference(self) -> float | None:
        """How far both are apart; None if there is only one, 0 of two infinite ones."""
        if self.here is None:
            return None
        return 0.0 if self.here == self.published else abs(self.here - self.published)

    @property
    def holds(self) -> bool:
        """Whether it was measured again, of the same question, within the tolerance."""
        found = self.difference
        return not self.why and found is not None and found <= self.tolerance

    @property
    def is_exact(self) -> bool:
        """Whether both are the same number."""
        found = self.difference
        return found is not None and found <= EXACT * max(1.0, abs(self.published))


def find_tolerance(score: Score) -> float:
    """Return how far a score may differ on another machine, in its unit.

    Bits: 0.001 and the engine's own noise; perplexities: 0.5 %; what has a margin of a tie: that.
    Written text differs from its first token on that another machine samples otherwise: half of
    the interval, if there is one, and at least 5 %. All else: 1 %.
    """
    facts, value = metric_of(score), abs(float(score.value))
    if not math.isfinite(value):
        return 0.0
    if facts.unit == "perplexity":
        return RELATIVE_PERPLEXITY * value
    if facts.unit in ("bits/byte", "nats/token") or facts.test == "bits":
        return BITS + float(score.noise or 0.0)
    if facts.group == "generation" and not facts.is_custom:
        is_whole = score.low is not None and score.high is not None
        half = (float(score.high or 0) - float(score.low or 0)) / 2 if is_whole else 0.0
        return max(half, 5 * RELATIVE * value, facts.tie)
    return max(facts.tie, RELATIVE * value if not facts.tie else 0.0, EXACT)


def is_recomputable(score: Score) -> bool:
    """Whether a score is of the model alone: not of the machine's speed or memory, and not of the
    documents that other models of the run left over.
    """
    return not metric_of(score).depends_on_machine and not score.left_out


def meet_scores(published: Sequence[Score], here: Sequence[Score], why: str = "") -> list[Figure]:
    """Hold the scores of a cell against those of the same cell here. why: what hindered it."""
    known = {_key(score): score for score in here}
    return [
        _meet(score, known.get(_key(score)), why) for score in published if is_recomputable(score)
    ]


def _key(score: Score) -> tuple[str, str, str]:
    return key_of(score), score.member, score.charged


def _meet(published: Score, here: Score | None, why: str) -> Figure:
    facts = (*name_figure(published), float(published.value))
    if here is None:
        return Figure(*facts, None, find_tolerance(published), why or "it was not measured here")
    if here.signature != published.signature:
        why = f"another question: {here.signature}, published {published.signature}"
    elif here.n != published.n:
        why = f"of {here.n} items, published of {published.n}"
    return Figure(*facts, float(here.value), find_tolerance(published), why)


def name_figure(score: Score) -> tuple[str, str, str, str]:
    """Return the model, task, metric and unit of a score, as a figure has them."""
    return score.model, score.task, key_of(score), score.unit
