"""Strengths of the greatest likelihood: by hand, and against independent fits."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from llmbench.votes.strengths import davidson
from llmbench.votes.strengths.davidson import average_shares, fit, inform, predict, refit


def minimise_directly(counts, contestants):
    """Davidson's likelihood as his paper writes it, maximised by a general optimiser."""
    pairs = davidson.list_pairs(contestants)

    def lose(parameters):
        logs = np.append(parameters[:-1], -parameters[:-1].sum())
        worth, v, total = np.exp(logs), np.exp(parameters[-1]), 0.0
        for (a, b), (won, lost, tied) in zip(pairs, counts, strict=True):
            both = v * math.sqrt(worth[a] * worth[b])
            whole = worth[a] + worth[b] + both
            total -= won * math.log(worth[a] / whole) + lost * math.log(worth[b] / whole)
            total -= tied * math.log(both / whole)
        return total

    found = minimize(lose, np.zeros(contestants), method="L-BFGS-B", options={"ftol": 1e-16})
    found = minimize(lose, found.x, method="BFGS", options={"gtol": 1e-8})
    return np.append(found.x[:-1], -found.x[:-1].sum()), found.x[-1]


@pytest.mark.parametrize("seed", range(5))
def test_strengths_with_ties_are_those_of_direct_optimisation(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 12, size=(10, 3)).astype(float)
    found = fit(counts, 5)
    strengths, ties = minimise_directly(counts, 5)
    assert found.strengths[0] == pytest.approx(strengths, abs=1e-6)
    assert found.tie_logits[0] == pytest.approx(ties, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_strengths_without_ties_are_those_of_choix(seed):
    choix = pytest.importorskip("choix", reason="choix is an independent fit: pip install choix")
    counts = np.random.default_rng(seed).integers(1, 12, size=(10, 3)).astype(float)
    counts[:, 2] = 0
    data = []
    for (a, b), (won, lost, _) in zip(davidson.list_pairs(5), counts, strict=True):
        data += [(a, b)] * int(won) + [(b, a)] * int(lost)
    reference = choix.opt_pairwise(5, data, alpha=0, method="Newton-CG", tol=1e-12)
    assert fit(counts, 5).strengths[0] == pytest.approx(reference - reference.mean(), abs=1e-6)


def test_strengths_without_ties_solve_the_equations_of_bradley_and_terry():
    counts = np.random.default_rng(3).integers(1, 12, size=(10, 3)).astype(float)
    counts[:, 2] = 0
    found = fit(counts, 5)
    won, tied = predict(found)
    assert not tied.any()
    for name in range(5):
        seen = expected = 0.0
        for (a, b), row in zip(davidson.list_pairs(5), counts, strict=True):
            if name in (a, b):
                other = b if name == a else a
                seen += row[0] if name == a else row[1]
                expected += row[:2].sum() * won[0, name, other]
        assert expected == pytest.approx(seen, abs=1e-8)


def test_two_contestants_have_the_strengths_of_the_formula():
    found = fit(np.asarray([[6.0, 2.0, 4.0]]), 2)
    # fitted shares are the observed ones: exp(d) = 6 / 2, and v = 4 / sqrt(6 * 2)
    assert found.strengths[0] == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    assert math.exp(found.tie_logits[0]) == pytest.approx(4 / math.sqrt(12))
    assert average_shares(found)[0] == pytest.approx([8 / 12, 4 / 12])


def test_counts_without_a_finite_optimum_are_refused():
    with pytest.raises(ValueError, match="no finite strengths"):
        fit(np.asarray([[5.0, 0.0, 0.0]]), 2)


def test_fits_of_resamples_are_finite_and_hardly_moved_by_the_prior():
    counts = np.random.default_rng(1).integers(5, 40, size=(6, 3)).astype(float)
    found = fit(counts, 4)
    lost = counts.copy()
    lost[:3, 1:] = 0  # the first contestant loses nothing
    again = refit(np.stack([counts, lost]), found)
    assert again.strengths[0] == pytest.approx(found.strengths[0], abs=1e-9)
    assert np.isfinite(again.strengths).all()
    assert again.strengths[1, 0] > found.strengths[0, 0] + 1


def test_the_covariance_is_that_of_the_likelihood_of_two_contestants():
    counts = np.asarray([[30.0, 10.0, 0.0]])
    found = fit(counts, 2)
    covariance, told = inform(found, counts, 0.0)
    # d = log(p / (1 - p)) has the variance 1 / (n p (1 - p))
    spread = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert spread == pytest.approx(1 / (40 * 0.75 * 0.25))
    assert told == pytest.approx([0.75 * 0.25])
