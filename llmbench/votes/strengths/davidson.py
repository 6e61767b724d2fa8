"""Bradley-Terry with ties (Davidson 1970), fitted to counts by Newton's method; many sets of counts
at a time, as a bootstrap needs.

Of two contestants whose strengths differ by d logits, the first wins with probability exp(d/2) / Z,
the second with exp(-d/2) / Z, and nobody with v / Z, where Z = exp(d/2) + exp(-d/2) + v. Without
ties v is 0: the model of Bradley & Terry (1952).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WIN, LOSS, TIE = range(3)  # columns of counts: the pair's first won, its second, nobody
STEPS = 100  # of Newton's method; counts that have a finite optimum need about ten
SMALL = 1e-10  # of the last step, in logits: the next one would be its square
HALVINGS = 30
PRIOR = 1 / 9  # inverse variance of the prior of `refit`, whose standard deviation is 3 logits


@dataclass(frozen=True)
class Fit:
    """Strengths in logits, (sets, contestants), of mean 0; and log v, (sets,), minus infinity where
    no vote of any set is a tie.
    """

    strengths: Floats
    tie_logits: Floats

    @property
    def has_ties(self) -> bool:
        """Whether there is a chance of a tie."""
        return bool(np.isfinite(self.tie_logits).all())


@dataclass(frozen=True)
class _Problem:
    """What is maximised: the logarithm of the likelihood, less a penalty about `center`."""

    counts: Floats  # (sets, pairs, 3)
    design: Floats  # (pairs, contestants): 1 of the first, -1 of the second
    has_ties: bool
    center: Floats
    prior: float

    def value(self, at: Floats) -> Floats:
        """Return the value at these parameters, (sets,)."""
        half, logs = self._half(at), self._log_total(at)
        won = self.counts[..., WIN] - self.counts[..., LOSS]
        found: Floats = (won * half - self.counts.sum(axis=2) * logs).sum(axis=1)
        found -= self.prior / 2 * ((at - self.center) ** 2).sum(axis=1)
        if self.has_ties:
            found += self.counts[..., TIE].sum(axis=1) * at[:, -1]
        return found

    def _half(self, at: Floats) -> Floats:
        found: Floats = at[:, : self.design.shape[1]] @ self.design.T / 2
        return found

    def _log_total(self, at: Floats) -> Floats:
        half = self._half(at)
        found: Floats = np.logaddexp(half, -half)
        if self.has_ties:
            found = np.logaddexp(found, at[:, -1:])
        return found

    def derive(self, at: Floats) -> tuple[Floats, Floats]:
        """Return the gradient, (sets, parameters), and the information, minus the second
        derivatives.
        """
        contestants, half, logs = self.design.shape[1], self._half(at), self._log_total(at)
        n = self.counts.sum(axis=2)
        won, lost = np.exp(half - logs), np.exp(-half - logs)
        score = (won - lost) / 2
        sets, size = at.shape
        gradient = np.empty((sets, size))
        information = np.empty((sets, size, size))
        seen = (self.counts[..., WIN] - self.counts[..., LOSS]) / 2
        gradient[:, :contestants] = (seen - n * score) @ self.design
        weights = n * ((won + lost) / 4 - score**2)
        outer = self.design[:, :, None] * self.design[:, None, :]
        information[:, :contestants, :contestants] = np.tensordot(weights, outer, axes=1)
        if self.has_ties:
            tied = np.exp(at[:, -1:] - logs)
            gradient[:, -1] = (self.counts[..., TIE] - n * tied).sum(axis=1)
            across = -(n * score * tied) @ self.design
            information[:, :contestants, -1] = information[:, -1, :contestants] = across
            information[:, -1, -1] = (n * tied * (1 - tied)).sum(axis=1)
        gradient -= self.prior * (at - self.center)
        information += self.prior * np.eye(size)
        return gradient, information


def list_pairs(contestants: int) -> list[tuple[int, int]]:
    """Return all pairs of so many contestants, in the order of the counts."""
    return [(a, b) for a in range(contestants) for b in range(a + 1, contestants)]


def fit(counts: Floats, contestants: int) -> Fit:
    """Return the strengths of the greatest likelihood of one set of counts, (pairs, 3).

    Raises ValueError if it has no finite optimum; `standing.find_layers` says why.
    """
    has_ties = bool((counts[:, TIE] > 0).any())
    center = np.zeros(contestants + has_ties)
    return _maximise(_pose(counts[None], contestants, has_ties, center, 0.0))


def refit(counts: Floats, near: Fit, prior: float = PRIOR) -> Fit:
    """Return the strengths of many sets of counts, (sets, pairs, 3), that are like those of `near`.

    In some resamples of a bootstrap a contestant loses nothing, and its likelihood grows without
    end. A weak normal prior about `near` keeps it finite and hardly moves the others: it weighs as
    much as half a vote.
    """
    contestants = near.strengths.shape[1]
    parts = [near.strengths[0], near.tie_logits[:1]] if near.has_ties else [near.strengths[0]]
    return _maximise(_pose(counts, contestants, near.has_ties, np.concatenate(parts), prior))


def _pose(
    counts: Floats, contestants: int, has_ties: bool, center: Floats, prior: float
) -> _Problem:
    design = np.zeros((len(list_pairs(contestants)), contestants))
    for row, (a, b) in enumerate(list_pairs(contestants)):
        design[row, a], design[row, b] = 1.0, -1.0
    return _Problem(counts, design, has_ties, center, prior)


def _maximise(problem: _Problem) -> Fit:
    contestants = problem.design.shape[1]
    at = np.tile(problem.center, (len(problem.counts), 1))
    value = problem.value(at)
    for _ in range(STEPS):
        gradient, information = problem.derive(at)
        information[:, :contestants, :contestants] += 1.0  # no step changes their mean
        try:
            step = np.linalg.solve(information, gradient[..., None])[..., 0].astype(np.float64)
        except np.linalg.LinAlgError:
            break
        at, value = _walk(problem, at, value, step)
        if float(np.abs(step).max(initial=0.0)) < SMALL:
            strengths = at[:, :contestants]
            strengths = strengths - strengths.mean(axis=1, keepdims=True)
            ties = at[:, -1] if problem.has_ties else np.full(len(at), -np.inf)
            return Fit(strengths, ties)
    raise ValueError("these counts have no finite strengths")


def _walk(problem: _Problem, at: Floats, value: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Take the step, of each set half as often as it takes to lose nothing."""
    size = np.ones((len(at), 1))
    for _ in range(HALVINGS):
        found = problem.value(at + size * step)
        worse = found < value - 1e-9 * (1 + np.abs(value))
        if not worse.any():
            break
        size[worse] /= 2
    return at + size * step, problem.value(at + size * step)


def predict(fitted: Fit) -> tuple[Floats, Floats]:
    """Return for each set the chances that a contestant beats another, and that they tie, both
    (sets, contestants, contestants).
    """
    half = (fitted.strengths[:, :, None] - fitted.strengths[:, None, :]) / 2
    both = np.logaddexp(half, -half)
    logs = np.logaddexp(both, fitted.tie_logits[:, None, None])
    return np.exp(half - logs), np.exp(fitted.tie_logits[:, None, None] - logs)


def average_shares(fitted: Fit) -> Floats:
    """Return the share of votes that each would win against the average of the others, (sets,
    contestants); a tie is half a win.
    """
    won, tied = predict(fitted)
    shares = won + tied / 2
    contestants = shares.shape[1]
    own = np.eye(contestants)
    found: Floats = (shares * (1 - own)).sum(axis=2) / (contestants - 1)
    return found


def inform(fitted: Fit, counts: Floats, prior: float) -> tuple[Floats, Floats]:
    """Return the covariance of the strengths after these counts, (contestants, contestants), and
    what one more vote on each pair would tell: its Fisher information about their difference.
    """
    parts = (
        [fitted.strengths[0], fitted.tie_logits[:1]] if fitted.has_ties else [fitted.strengths[0]]
    )
    at = np.concatenate(parts)
    contestants = fitted.strengths.shape[1]
    problem = _pose(counts[None], contestants, fitted.has_ties, at, prior)
    _, information = problem.derive(at[None])
    information[:, :contestants, :contestants] += 1.0
    covariance = np.linalg.inv(information[0])[:contestants, :contestants]
    won, tied = predict(fitted)
    told = [
        (1 - tied[0, a, b]) / 4 - ((won[0, a, b] - won[0, b, a]) / 2) ** 2
        for a, b in list_pairs(contestants)
    ]
    return covariance, np.asarray(told)
