"""Ratings: means with intervals over prompts and raters, and ranks that they prove."""

import numpy as np
import pytest

from llmbench.stats import ratio_interval
from llmbench.votes.kinds import Rating
from llmbench.votes.strengths.ratings import rank_ratings


def rate(*rows, criterion="sense"):
    """Ratings from (model, prompt, rater, value)."""
    facts = "2026-01-31T12:00:00Z"
    return [
        Rating(
            f"r{n}", facts, rater, "continuation", str(prompt), model, criterion, value, "0" * 64
        )
        for n, (model, prompt, rater, value) in enumerate(rows)
    ]


def draw(seed, raters, rater_sd, means=(3.2, 3.0), prompts=30):
    """Each rater rates each model on each prompt; raters, prompts and single ratings vary."""
    rng = np.random.default_rng(seed)
    by_rater = rng.normal(0, rater_sd, (raters, len(means)))
    by_prompt = rng.normal(0, 0.5, (prompts, len(means)))
    rows = []
    for prompt in range(prompts):
        for rater in range(raters):
            own = np.asarray(means) + by_prompt[prompt] + by_rater[rater]
            seen = np.clip(np.rint(own + rng.normal(0, 0.6, len(means))), 1, 5).astype(int)
            names = [f"model-{number}" for number in range(len(means))]
            rows += [(n, prompt, f"r{rater}", int(v)) for n, v in zip(names, seen, strict=True)]
    return rate(*rows)


def test_a_mean_of_one_rater_has_the_interval_of_a_mean_over_prompts():
    values = [1, 2, 2, 3, 5, 4, 4, 2, 3, 3, 1, 5]
    found = rank_ratings(rate(*(("a", n, "ada", v) for n, v in enumerate(values))), trials=20_000)
    mean, expected = found["sense"]["a"].mean, ratio_interval(values, [1] * len(values))
    assert (mean.value, mean.n) == (pytest.approx(35 / 12), 12)
    assert (mean.low, mean.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_raters_who_differ_widen_the_interval():
    calm, torn = (rank_ratings(draw(1, 4, sd))["sense"]["model-0"].mean for sd in (0.0, 1.0))
    assert torn.high - torn.low > 2 * (calm.high - calm.low)


def test_equal_ratings_and_a_single_prompt_have_no_interval():
    rows = [
        ("same", 0, "ada", 4),
        ("same", 1, "ada", 4),
        ("once", 0, "ada", 2),
        ("once", 0, "b", 3),
    ]
    found = rank_ratings(rate(*rows))["sense"]
    assert {(one.mean.low, one.mean.high) for one in found.values()} == {(None, None)}
    assert {one.rank for one in found.values()} == {(1, 2)}


def test_ranks_are_told_apart_only_if_ratings_prove_it():
    apart = rank_ratings(draw(2, 3, 0.0, means=(4.5, 3.0, 2.9)))["sense"]
    assert (next(iter(apart)), apart["model-0"].rank) == ("model-0", (1, 1))
    assert {apart["model-1"].rank, apart["model-2"].rank} == {(2, 3)}
    few = rank_ratings(
        rate(*((name, n, "ada", v) for n in range(3) for name, v in (("a", 5), ("b", 1))))
    )
    assert {one.rank for one in few["sense"].values()} == {(1, 2)}
    many = rank_ratings(
        rate(*((name, n, "ada", v) for n in range(9) for name, v in (("a", 5), ("b", 1))))
    )
    assert [one.rank for one in many["sense"].values()] == [(1, 1), (2, 2)]


def test_criteria_are_apart_and_means_stay_on_the_scale():
    rows = [("a", n, "ada", 5 if n else 4) for n in range(8)]
    found = rank_ratings([*rate(*rows), *rate(("a", 0, "ada", 1), criterion="fluency")])
    assert found["sense"]["a"].mean.high == 5
    assert found["fluency"]["a"].mean.value == 1


@pytest.mark.slow
@pytest.mark.parametrize(("raters", "rater_sd"), [(1, 0.0), (4, 0.0), (4, 0.4), (10, 0.4)])
def test_intervals_of_ratings_cover_the_truth_as_often_as_they_say(raters, rater_sd):
    truth = np.mean([one.value for one in draw(99, 300, rater_sd, (3.2,), 300)])
    hits = []
    for seed in range(400):
        mean = rank_ratings(draw(seed, raters, rater_sd, (3.2,)), trials=300)["sense"][
            "model-0"
        ].mean
        hits.append(mean.low <= truth <= mean.high)
    assert 0.92 <= np.mean(hits) <= 0.98, np.mean(hits)
