"""On drawn data: paired intervals cover the truth, and false alarms stay rare."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.sample_pairs import SENTENCES

from llmbench.metrics.facts import FACTS
from llmbench.metrics.sacrebleu import Bleu
from llmbench.results.paired_tests import (
    corpus_difference,
    difference,
    randomisation_p,
    ratio_difference,
    share_difference,
    tasks_difference,
    welch_difference,
)
from llmbench.stats import block_difference

PAIRS = [(said, wanted) for said, wanted in SENTENCES if wanted]
OTHERS = [
    " ".join(said.split()[:-1]) or said for said, _ in PAIRS
]  # a second system, which forgets each last word


def shares(right):
    return [[float(one), 1.0] for one in right]


def drawn(rng, n, both, only_a, only_b):
    """Two models' answers, right together, apart, or not at all."""
    kind = rng.choice(4, size=n, p=[both, only_a, only_b, 1 - both - only_a - only_b])
    return shares((kind == 0) | (kind == 1)), shares((kind == 0) | (kind == 2))


ROUNDS = 1500


def most(alpha, rounds=ROUNDS):
    """Of false alarms: alpha, and three Monte Carlo errors."""
    return rounds * alpha + 3 * math.sqrt(rounds * alpha * (1 - alpha))


@pytest.mark.slow
def test_on_drawn_bits_intervals_of_differences_cover_and_false_alarms_stay_rare():
    rng, covered, alarms = np.random.default_rng(10), 0, 0
    for _ in range(ROUNDS):
        size = rng.integers(1500, 3000, 30).astype(float)
        hard = size * rng.normal(2.0, 0.3, 30)
        a, b = (np.column_stack([hard + size * rng.normal(0, 0.03, 30), size]) for _ in range(2))
        shifted = a + np.column_stack([0.05 * size, np.zeros(30)])
        found = ratio_difference(shifted, b, flips=1000).interval
        covered += found.low <= 0.05 <= found.high
        alarms += ratio_difference(a, b, flips=1000).p <= 0.05
    assert 0.93 <= covered / ROUNDS <= 0.97
    assert alarms <= most(0.05)


@pytest.mark.slow
def test_on_drawn_answers_intervals_of_differences_cover_and_false_alarms_stay_rare():
    rng, covered, alarms = np.random.default_rng(11), 0, 0
    for _ in range(ROUNDS):
        found = share_difference(*drawn(rng, 200, 0.5, 0.2, 0.1)).interval
        covered += found.low <= 0.1 <= found.high
        alarms += share_difference(*drawn(rng, 200, 0.5, 0.15, 0.15)).p <= 0.05
    assert 0.93 <= covered / ROUNDS <= 0.97
    assert alarms <= most(0.05)


@pytest.mark.slow
def test_on_drawn_means_intervals_of_differences_cover_and_false_alarms_stay_rare():
    """F1 of answers: many are 0 or 1, the rest lies between."""
    rng, covered, alarms = np.random.default_rng(12), 0, 0

    def answers(hard, skill):
        right = rng.random(100) < np.clip(skill - hard, 0, 1)
        return [
            [float(value), 1.0]
            for value in np.where(right, 1.0, rng.random(100) * (rng.random(100) < 0.4))
        ]

    for _ in range(ROUNDS):
        hard = rng.uniform(-0.3, 0.3, 100)
        found = difference(FACTS["f1"], answers(hard, 0.6), answers(hard, 0.5)).interval
        truth = np.mean(np.clip(0.6 - hard, 0, 1) - np.clip(0.5 - hard, 0, 1)) * (
            1 - 0.2
        )  # the mean of what is not right is 0.2
        covered += found.low <= truth <= found.high
        alarms += ratio_difference(answers(hard, 0.5), answers(hard, 0.5), flips=1000).p <= 0.05
    assert 0.93 <= covered / ROUNDS <= 0.97
    assert alarms <= most(0.05)


@pytest.mark.slow
def test_on_drawn_rates_intervals_of_differences_cover_and_false_alarms_stay_rare():
    """Blocks in which the machine is slower for both, in turns; and in sessions of their own."""
    rng, covered, alarms, apart = np.random.default_rng(13), 0, 0, 0
    for _ in range(ROUNDS):
        machine = rng.normal(0, 0.2, 16)
        a, b = (np.exp(7 + machine + rng.normal(0, 0.05, 16)) for _ in range(2))
        found, _ = block_difference(a * 1.1, b)
        covered += found.low <= math.log(1.1) <= found.high
        alarms += block_difference(a, b)[1] <= 0.01
        alone = np.exp(rng.normal(7, 0.2, (2, 16)))
        apart += welch_difference(*alone).p <= 0.01
    assert 0.93 <= covered / ROUNDS <= 0.97
    assert alarms <= most(0.01)
    assert apart <= most(0.01)


@pytest.mark.slow
def test_on_drawn_translations_intervals_of_bleu_differences_cover_and_false_alarms_stay_rare():
    """Statistics as BLEU has them, of sentences of uneven length and difficulty; the truth is that
    of very many.
    """
    rng, total, rounds, covered, alarms = np.random.default_rng(14), Bleu().total, 400, 0, 0

    def translations(sizes, hard, skill):
        counts = np.maximum(sizes[:, None] - np.arange(4), 1)
        right = rng.binomial(
            counts, np.clip(skill - hard[:, None], 0.02, 1) ** (1 + 0.6 * np.arange(4))
        )
        return np.column_stack([sizes, sizes, right, counts]).astype(float)

    def texts(n):
        return rng.integers(8, 25, n), rng.uniform(0, 0.4, n)

    many = texts(200_000)
    truth = total(translations(*many, 0.8).sum(axis=0)) - total(
        translations(*many, 0.75).sum(axis=0)
    )
    for _ in range(rounds):
        asked = texts(100)
        a, b, other = (
            translations(*asked, 0.8),
            translations(*asked, 0.75),
            translations(*asked, 0.8),
        )
        found = corpus_difference(a, b, total, trials=1).interval
        covered += found.low <= truth <= found.high
        alarms += randomisation_p(a, other, total, trials=300) <= 0.05
    error = math.sqrt(0.05 * 0.95 / rounds)
    assert 0.95 - 3 * error <= covered / rounds <= 0.95 + 3 * error
    assert alarms <= most(0.05, rounds)


def task_rows(hits, baselines, texts):
    """The statistics of tables/means.py for the answers of several tasks, an array each."""
    count, most_of = sum(map(len, hits)), dict.fromkeys(texts, 0.0)
    weights = [
        count / (len(one) * len(hits)) / (1 - b) for one, b in zip(hits, baselines, strict=True)
    ]
    for text, weight in zip(texts, weights, strict=True):
        most_of[text] += weight
    rows = []
    for one, base, text, weight in zip(hits, baselines, texts, weights, strict=True):
        ids = 1000 * text + np.arange(len(one))
        values = weight * (one - base)
        rows.append(
            np.column_stack([values, one * 0 + 1, one * 0 + text, ids, one * 0 + most_of[text]])
        )
    found = np.concatenate(rows)
    found[:, 3] = np.unique(found[:, 3], return_inverse=True)[1]
    return found


@pytest.mark.slow
def test_on_drawn_tasks_intervals_of_differences_cover_and_false_alarms_stay_rare():
    """Tasks of several sizes, two of which ask the same questions."""
    rng, covered, alarms = np.random.default_rng(13), 0, 0
    sizes, baselines, texts = (30, 200, 400, 400), (0.0, 0.25, 0.5, 0.5), (0, 1, 2, 2)

    def answer(skill):
        """Two models that mostly agree; the first is right more often by `skill`."""
        hard = {text: rng.random((2, max(sizes))) for text in texts}
        pairs = []
        for n, text in zip(sizes, texts, strict=True):
            lots = hard[text][0][:n]
            apart = rng.random((2, n)) < 0.2
            sides = [np.where(own, rng.random(n), lots) for own in apart]
            pairs.append([(sides[0] < 0.5 + skill) * 1.0, (sides[1] < 0.5) * 1.0])
        return [task_rows([pair[side] for pair in pairs], baselines, texts) for side in (0, 1)]

    scale = sum(1 / (1 - base) for base in baselines) / len(baselines)
    for _ in range(ROUNDS):
        found = tasks_difference(*answer(0.05), flips=1000).interval
        covered += found.low <= 0.05 * scale <= found.high
        alarms += tasks_difference(*answer(0.0), flips=1000).p <= 0.05
    assert 0.93 <= covered / ROUNDS <= 0.97
    assert alarms <= most(0.05)
