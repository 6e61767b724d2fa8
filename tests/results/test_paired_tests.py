"""Paired tests, against hand counts, scipy and sacrebleu's own; and on drawn data whether they keep
what they promise.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest
from support.sample_pairs import SENTENCES

from llmbench.metrics.facts import FACTS
from llmbench.metrics.sacrebleu import Bleu, Chrf, Ter
from llmbench.results.paired_tests import (
    SEED,
    Difference,
    alpha_of,
    corpus_difference,
    difference,
    items_needed,
    judge,
    mcnemar_p,
    quality_rank_sets,
    randomisation_p,
    share_difference,
    value_of,
    welch_difference,
)
from llmbench.stats import TIE_BITS_PER_BYTE, TIE_RATE, Interval, block_difference, sign_flip_p

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


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 1), (1, 1), (0, 6), (3, 9), (12, 30), (40, 40), (2, 200)]
)
def test_mcnemar_is_the_binomial_test_of_the_items_that_one_alone_got_right(only_a, only_b):
    assert mcnemar_p(only_a, only_b) == pytest.approx(
        scipy.stats.binomtest(only_a, only_a + only_b).pvalue
    )


def test_mcnemar_by_hand():
    assert mcnemar_p(0, 5) == 2 * 0.5**5
    assert mcnemar_p(5, 5) == 1.0
    assert mcnemar_p(0, 0) == 1.0


def test_the_interval_of_a_difference_of_shares_by_hand():
    a, b = (
        shares([1] * 12 + [0] * 88),
        shares([0] * 8 + [1] * 7 + [0] * 85),
    )  # 8 right for A alone, 3 for B alone
    found = share_difference(a, b)
    error = math.sqrt(8 + 3 + 1 - 5**2 / 102) / 102
    assert found.interval.value == pytest.approx(0.05)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (5 / 102 - 1.959964 * error, 5 / 102 + 1.959964 * error)
    )
    assert found.p == pytest.approx(scipy.stats.binomtest(3, 11).pvalue)


def test_models_that_answer_alike_have_an_interval_that_narrows_with_their_number():
    few, many = (share_difference(shares([1] * n), shares([1] * n)).interval for n in (50, 1000))
    assert few.high > 0.01 > many.high > 0


def theirs(metric, said, other, wanted, trials):
    """p by sacrebleu's own program."""
    test = PairedTest(
        [("a", said), ("b", other)], {"m": metric}, [wanted], test_type="ar", n_samples=trials
    )
    return next(results for name, results in test()[1].items() if name != "System")[1].p_value


def statistics(scorer, said):
    return [scorer.measure(text, wanted) for text, (_, wanted) in zip(said, PAIRS, strict=True)]


SAID, WANTED = [said for said, _ in PAIRS], [wanted for _, wanted in PAIRS]


@pytest.mark.parametrize(("scorer", "metric"), [(Bleu(), BLEU()), (Chrf(), CHRF())])
def test_approximate_randomisation_is_sacrebleus_to_the_last_digit(scorer, metric):
    p = theirs(metric, SAID, OTHERS, WANTED, 1000)
    assert (
        randomisation_p(
            statistics(scorer, SAID), statistics(scorer, OTHERS), scorer.total, trials=1000
        )
        == p
    )


def test_trials_of_ter_as_far_apart_as_observed_count_as_sacrebleu_counts_them():
    scorer = Ter()
    a, b = np.array(statistics(scorer, SAID)), np.array(statistics(scorer, OTHERS))

    def distance(one, other):
        return abs(scorer.total(one.sum(axis=0)) - scorer.total(other.sum(axis=0)))

    chosen = np.random.default_rng(12345).integers(2, size=(1000, len(a)), dtype=bool)
    trials = [
        distance(np.where(row[:, None], a, b), np.where(row[:, None], b, a)) for row in chosen
    ]
    equal = sum(abs(trial - distance(a, b)) < 1e-9 for trial in trials)
    assert equal > 0
    p = theirs(TER(), SAID, OTHERS, WANTED, 1000)
    assert randomisation_p(a, b, scorer.total, trials=1000) == pytest.approx(p + equal / 1001)


@pytest.mark.parametrize("held", [1, 50, 700, 4_000_000])
def test_swaps_that_are_drawn_in_portions_are_those_of_one_draw(monkeypatch, held):
    monkeypatch.setattr("llmbench.results.paired_tests.AT_ONCE", held)
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 9, (2, 23, 2)) + 0.0
    swaps = np.random.default_rng(SEED).integers(2, size=(1003, 23), dtype=bool)

    def total(sums):
        return sums[0] - 2 * sums[1]

    far = abs(total(x.sum(axis=0)) - total(y.sum(axis=0)))
    mixed = [
        (np.where(row[:, None], x, y).sum(0), np.where(row[:, None], y, x).sum(0)) for row in swaps
    ]
    reached = sum(abs(total(one) - total(other)) >= far for one, other in mixed)
    assert randomisation_p(x, y, total, 1003) == (reached + 1) / 1004


@pytest.mark.parametrize("turned", [3, 4])
def test_it_is_sacrebleus_for_differences_that_prove_nothing(turned):
    """Two systems of which each forgets last words, in turn."""
    said, other = (
        [OTHERS[i] if (i % turned > 1) == first else SAID[i] for i in range(len(PAIRS))]
        for first in (True, False)
    )
    p = theirs(CHRF(), said, other, WANTED, 2000)
    assert 0.02 < p < 0.99
    assert (
        randomisation_p(
            statistics(Chrf(), said), statistics(Chrf(), other), Chrf().total, trials=2000
        )
        == p
    )


def test_one_sentence_proves_nothing_where_sacrebleu_calls_it_significant():
    other = [*SAID[:-1], "nothing of the kind"]
    assert theirs(BLEU(), SAID, other, WANTED, 1000) < 0.01
    a, b = statistics(Bleu(), SAID), statistics(Bleu(), other)
    assert randomisation_p(a, b, Bleu().total, trials=1000) == 1.0
    assert randomisation_p(a, a, Bleu().total, trials=100) == 1.0


def test_the_trials_of_a_long_text_are_those_of_one_matrix(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (40, 2)), rng.integers(0, 9, (40, 2))
    whole = randomisation_p(a, b, lambda sums: sums[0] / sums[1], trials=500)
    monkeypatch.setattr("llmbench.results.paired_tests.AT_ONCE", 100)
    assert randomisation_p(a, b, lambda sums: sums[0] / sums[1], trials=500) == whole


def test_the_interval_of_a_corpus_difference_holds_it_and_is_tighter_than_two_apart():
    scorer = Chrf()
    a, b = statistics(scorer, SAID), statistics(scorer, OTHERS)
    found = corpus_difference(a, b, scorer.total, trials=200).interval
    alone = scorer.value(a)
    assert found.value == pytest.approx(alone.value - scorer.value(b).value)
    assert found.low < found.value < found.high
    assert found.high - found.low < alone.high - alone.low


def test_few_samples_have_no_corpus_interval():
    rows = [[3.0, 4.0], [1.0, 5.0], [2.0, 2.0]]
    assert (
        corpus_difference(rows, rows[::-1], lambda sums: sums[0] / sums[1], 50).interval.low is None
    )


def test_means_are_compared_by_sign_flips_with_students_interval():
    rng = np.random.default_rng(3)
    a, b = rng.uniform(0, 1, 40), rng.uniform(0, 1, 40)
    found = difference(FACTS["f1"], [[x, 1.0] for x in a], [[x, 1.0] for x in b])
    low, high = scipy.stats.t.interval(0.95, 39, loc=np.mean(a - b), scale=scipy.stats.sem(a - b))
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.p == sign_flip_p(a, b)
    assert found.test == "sign flips"


def test_rates_in_turns_are_paired_and_others_welchs():
    rng = np.random.default_rng(4)
    a, b = np.exp(rng.normal(1, 0.1, 16)), np.exp(rng.normal(1.2, 0.1, 12))
    found = welch_difference(a, b)
    expected = scipy.stats.ttest_ind(np.log(a), np.log(b), equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval.low < found.interval.value < found.interval.high
    rows = [[[x, 1.0] for x in side] for side in (a[:12], b)]
    assert difference(FACTS["decode_bytes_per_second"], *rows) == Difference(
        *block_difference(a[:12], b), "paired t"
    )
    assert difference(FACTS["decode_bytes_per_second"], *rows, in_turns=False).test == "Welch"


def test_one_block_proves_nothing_in_turns_or_not():
    assert welch_difference([2.0], [1.0]) == Difference(
        Interval(math.log(2), None, None, 1), 1.0, "Welch"
    )
    assert difference(FACTS["decode_bytes_per_second"], [[2.0, 1.0]], [[1.0, 1.0]]).p == 1.0


def test_totals_are_those_of_the_metrics():
    assert value_of(FACTS["bits_per_byte"], [[10.0, 4], [2.0, 2]]) == 2.0
    assert value_of(FACTS["accuracy"], shares([1, 0, 1, 1])) == 0.75
    assert value_of(FACTS["word_perplexity"], [[3.0, 1.0], [5.0, 1.0]]) == 16.0
    assert value_of(FACTS["word_perplexity"], [[5000.0, 1.0]]) == math.inf
    assert value_of(FACTS["time_to_first_token"], [[0.2, 1], [0.9, 1], [0.3, 1]]) == 0.3
    rows = [Bleu().measure(*pair) for pair in PAIRS]
    assert value_of(FACTS["bleu"], rows) == Bleu().value(rows).value


@pytest.mark.parametrize(
    ("metric", "better", "interval", "p", "said"),
    [
        ("bits_per_byte", "lower", (-0.1, -0.2, -0.02), 0.01, "better"),
        ("bits_per_byte", "lower", (0.004, 0.001, 0.008), 0.0001, "tie"),
        ("accuracy", "higher", (0.1, 0.05, 0.15), 0.01, "better"),
        ("accuracy", "higher", (-0.1, -0.15, -0.05), 0.01, "worse"),
        ("accuracy", "higher", (0.0, -0.009, 0.009), 1.0, "tie"),
        ("accuracy", "higher", (0.05, -0.01, 0.11), 0.2, "unclear"),
        ("ter", "lower", (-3.0, -5.0, -1.0), 0.01, "better"),
        ("bleu", "higher", (0.1, -0.3, 0.49), 0.5, "tie"),
        ("decode_bytes_per_second", "higher", (0.3, 0.2, 0.4), 0.001, "better"),
        (
            "decode_bytes_per_second",
            "higher",
            (0.3, 0.2, 0.4),
            0.02,
            "unclear",
        ),  # a rate's level is 1 %
        ("decode_bytes_per_second", "higher", (0.01, -0.02, math.log(1.05) - 1e-9), 0.001, "tie"),
        ("time_to_first_token", "lower", (0.3, 0.2, 0.4), 0.001, "worse"),
        (
            "word_perplexity",
            "lower",
            (0.0, 0.0, 0.0),
            1.0,
            "unclear",
        ),  # without a margin nothing is a tie
        ("f1", None, (0.1, 0.05, 0.15), 0.001, "unclear"),
        ("bits_per_byte", "lower", (-1.0, None, None), 1.0, "unclear"),
    ],
)
def test_verdicts_of_every_kind(metric, better, interval, p, said):
    value, low, high = interval
    assert (
        judge(FACTS[metric], better, Difference(Interval(value, low, high, 30), p, "a test"), p)
        == said
    )


def test_every_metric_has_a_known_test_and_tie():
    assert {metric.test for metric in FACTS.values()} == {
        *("bits", "share", "mean", "corpus", "rate", "items", "tasks", "")
    }
    assert (FACTS["bits_per_byte"].test, FACTS["bits_per_byte"].tie) == ("bits", TIE_BITS_PER_BYTE)
    assert {metric.tie for metric in FACTS.values() if metric.test == "rate"} == {TIE_RATE}
    assert (alpha_of(FACTS["accuracy"]), alpha_of(FACTS["time_to_first_token"])) == pytest.approx(
        (0.05, 0.01)
    )


def test_ranks_by_accuracy_are_sets_and_the_smallest_visible_difference_is_stated():
    rng = np.random.default_rng(6)
    good, poor = rng.random(200) < 0.8, rng.random(200) < 0.4
    near = good.copy()
    near[:6] ^= True
    found = quality_rank_sets(
        FACTS["accuracy"], {"good": shares(good), "poor": shares(poor), "near": shares(near)}
    )
    assert found.rank == {"good": (1, 2), "near": (1, 2), "poor": (3, 3)}
    assert found.better_than["near"] == {"poor"}
    assert 0.01 < found.smallest_visible < 0.2
    assert found.items_needed == items_needed(3) == 7


def test_ranks_by_bleu_come_from_the_corpus_test():
    rows = {
        name: statistics(Bleu(), said)
        for name, said in {"good": WANTED, "poor": OTHERS, "copy": WANTED}.items()
    }
    found = quality_rank_sets(FACTS["bleu"], rows)
    assert found.rank == {"good": (1, 2), "copy": (1, 2), "poor": (3, 3)}
    assert found.smallest_visible is None


def test_six_questions_cannot_rank_two_of_three_models():
    found = quality_rank_sets(
        FACTS["accuracy"], {"a": shares([1] * 6), "b": shares([0] * 6), "c": shares([0] * 6)}
    )
    assert not any(found.better_than.values())
    assert found.smallest_visible is None


def test_trials_and_flips_grow_with_the_number_of_tests(monkeypatch):
    """The smallest p that can come out is 1 / (trials + 1): Holm multiplies it by the tests."""
    from llmbench.results import paired_tests

    asked = {}
    monkeypatch.setattr(
        paired_tests, "sign_flip_p", lambda a, b, flips: asked.update(flips=flips) or 1.0
    )
    monkeypatch.setattr(
        paired_tests, "randomisation_p", lambda a, b, total, trials: asked.update(trials=trials)
    )
    rows = [[1.0, 1.0], [0.5, 1.0], [0.2, 1.0]]
    sums = [[1.0] * 11] * 3
    for tests, flips, trials in (
        (1, 10_000, 10_000),
        (100, 80_000, 10_000),
        (200, 160_000, 20_000),
    ):
        difference(FACTS["bits_per_byte"], rows, rows, tests)
        difference(FACTS["rouge1"], rows, rows, tests)
        assert asked["flips"] == flips
        asked.clear()
        corpus = FACTS["bleu"]
        monkeypatch.setattr(paired_tests, "_total_of", lambda metric: lambda sums: sums[0])
        difference(corpus, sums, sums, tests)
        assert asked == {"trials": trials}


def test_the_margin_of_a_rate_is_a_share_taken_in_logs():
    """Within 5 % is a tie: log(1.05) = 0.0488, not 0.05."""
    rate = next(metric for metric in FACTS.values() if metric.test == "rate")
    assert rate.tie == TIE_RATE == 0.05
    said = {
        half: judge(rate, "higher", Difference(Interval(0.0, -half, half, 9), 1.0, "t"), 1.0)
        for half in (0.0487, 0.0489)
    }
    assert said == {0.0487: "tie", 0.0489: "unclear"}


def test_the_smallest_visible_difference_is_corrected_for_the_number_of_pairs():
    rng = np.random.default_rng(0)
    items = {name: shares(rng.random(60) < 0.5) for name in "abcd"}
    found = quality_rank_sets(FACTS["accuracy"], items)
    halves = [
        (one.interval.high - one.interval.low) / 2
        for one in (
            share_difference(items[a], items[b], 1 - 0.05 / 6)
            for a, b in ("ab", "ac", "ad", "bc", "bd", "cd")
        )
    ]
    assert found.smallest_visible == pytest.approx(float(np.median(halves)))
    alone = quality_rank_sets(FACTS["accuracy"], {name: items[name] for name in "ab"})
    one = share_difference(items["a"], items["b"]).interval
    assert alone.smallest_visible == pytest.approx((one.high - one.low) / 2)
