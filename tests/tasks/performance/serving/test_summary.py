"""The numbers of a load, from hand-made times."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from llmbench.data.text import Document, Text
from llmbench.inference.serving.load import ClientCost, Exchange, Level, LoadRun
from llmbench.tasks.performance.serving import quantiles, schedule
from llmbench.tasks.performance.serving.summary import find_rate, summarise_load

MS = 1_000_000
COST = ClientCost(0.1, 0.01, (0.001,))
TEXT = Text("test", (Document("0", "The kettle sang of the sea. " * 40),))


def answer(at, first=20, step=5, tokens=5, **more):
    """Sent at `at` ms: a token after `first` ms, the others `step` ms apart."""
    times = [at + first + step * i for i in range(tokens)]
    pieces = tuple((time * MS, "a") for time in times)
    return Exchange(at * MS, at * MS, pieces, times[-1] * MS, "length", tokens, **more)


def summarise(exchanges, rate=50.0, limits=None):
    due = [one.scheduled / 1e9 for one in exchanges]
    level = Level("constant", rate)
    return summarise_load(level, LoadRun(exchanges, COST), due, 5, limits or {})


def test_numbers_of_a_constant_server_are_its_own():
    found = summarise([answer(20 * i) for i in range(100)])
    assert found.times["serving_ttft"][50].value == pytest.approx(0.020)
    assert found.times["serving_tpot"][90].value == pytest.approx(0.005)
    assert found.times["serving_itl"][95].value == pytest.approx(0.005)
    assert found.times["serving_latency"][50].value == pytest.approx(0.040)
    assert found.seconds == pytest.approx(1.98 + 0.040)
    assert found.rates["serving_tokens_per_second"].value == pytest.approx(500 / 2.02)
    assert found.rates["serving_requests_per_second"].value == pytest.approx(100 / 2.02)
    assert not found.is_overloaded


def test_a_quantile_needs_ten_samples_beyond_it():
    assert [quantiles.samples_needed(q) for q in (50, 90, 95, 99)] == [20, 100, 200, 1000]
    assert set(quantiles.find_quantiles([[1.0]] * 19)) == set()
    assert set(quantiles.find_quantiles([[1.0]] * 199)) == {50, 90}
    assert set(quantiles.find_quantiles([[1.0]] * 999)) == {50, 90, 95}
    assert set(quantiles.find_quantiles([[1.0]] * 1000)) == {50, 90, 95, 99}


def test_too_few_answers_have_no_quantile_and_a_reason():
    found = summarise([answer(20 * i) for i in range(19)])
    assert "serving_ttft" not in found.times
    assert found.absent["serving_ttft"] == "19 samples of 20"


def test_quantiles_are_numpys_and_lie_in_their_intervals():
    draw = np.random.default_rng(1).gamma(2.0, 0.1, 1500)
    found = quantiles.find_quantiles([[value] for value in draw])
    for percent, one in found.items():
        assert one.value == pytest.approx(np.quantile(draw, percent / 100))
        assert one.low <= one.value <= one.high


def test_slow_stretches_widen_the_interval():
    draw = np.random.default_rng(2).exponential(1.0, 1000)
    mixed, slow = [[value] for value in draw], [[value] for value in sorted(draw)]
    widths = [one.high - one.low for x in (slow, mixed) if (one := quantiles.find_quantiles(x)[50])]
    assert widths[0] > 3 * widths[1]


def test_intervals_cover_the_median_of_independent_times():
    hits = 0
    for seed in range(60):
        draw = np.random.default_rng(seed).exponential(1.0, 200)
        one = quantiles.find_quantiles([[value] for value in draw])[50]
        hits += one.low <= np.log(2) <= one.high
    assert 50 <= hits <= 60


def test_goodput_counts_the_answers_within_all_limits():
    slow = [answer(20 * i, first=600) for i in range(30)]
    fast = [answer(20 * i) for i in range(30, 100)]
    found = summarise([*slow, *fast], limits={"ttft": 0.5, "tpot": 0.05})
    assert found.attained == pytest.approx(0.7)
    assert found.rates["serving_goodput"].value == pytest.approx(70 / found.seconds)
    tight = summarise([*slow, *fast], limits={"ttft": 0.5, "tpot": 0.004})
    assert tight.attained == 0
    assert tight.rates["serving_goodput"].value == 0


def test_errors_are_counted_and_keep_to_no_limit():
    failed = [Exchange(20 * i * MS, 20 * i * MS, error="status 503: busy") for i in range(5)]
    empty = Exchange(2000 * MS, 2000 * MS, (), 2001 * MS, "stop", 1)
    rest = [answer(20 * i) for i in range(5, 100)]
    found = summarise([*failed, *rest, empty], limits={"ttft": 0.5})
    assert found.errors == {"status 503: busy": 5, "an answer without text": 1}
    assert (found.requests, found.answered) == (101, 95)
    assert found.attained == pytest.approx(95 / 101)


def test_a_wrong_count_takes_the_tokens_away_and_says_so():
    wrong = [answer(20 * i, tokens=4) for i in range(50)]
    found = summarise(wrong)
    assert found.doubt == "completion_tokens is 4 in an answer of 5"
    assert found.absent["serving_tokens_per_second"] == "the tokens of some answers are not known"
    assert "serving_tpot" not in found.times
    assert "serving_itl" not in found.times
    assert found.times["serving_chunk_gap"][50].value == pytest.approx(0.005)


def test_several_tokens_in_a_message_are_chunk_gaps():
    one = [(at * MS, "ab") for at in (20, 30, 40)]
    said = [
        Exchange(
            i * 20 * MS,
            i * 20 * MS,
            tuple((at + i * 20 * MS, text) for at, text in one),
            (40 + i * 20) * MS,
            "length",
            5,
        )
        for i in range(100)
    ]
    found = summarise(said)
    assert found.absent["serving_itl"] == "messages are not single tokens"
    assert found.times["serving_chunk_gap"][50].value == pytest.approx(0.010)
    assert found.times["serving_tpot"][50].value == pytest.approx(0.020 / 4)
    assert found.several == 100


def test_a_server_that_falls_behind_is_said_to():
    queued = [answer(20 * i, first=20 + 30 * i) for i in range(100)]
    assert summarise(queued).is_overloaded


def test_a_rate_is_the_sum_over_the_time_with_blocks_for_its_interval():
    found = find_rate([(i * MS, 1.0) for i in range(1, 1001)], 0, 1000 * MS)
    assert found.value == pytest.approx(1000.0)
    assert found.low <= 1000 <= found.high
    assert found.high - found.low < 20


def test_arrivals_are_seeded_and_keep_their_rate():
    level = Level("poisson", 50)
    due = schedule.draw_due(level, 4000, 7)
    assert due == schedule.draw_due(level, 4000, 7)
    assert due != schedule.draw_due(level, 4000, 8)
    gaps = np.diff(due)
    assert gaps.mean() == pytest.approx(0.02, rel=0.05)
    assert gaps.std() == pytest.approx(0.02, rel=0.08)  # exponential: as large as the mean
    assert schedule.draw_due(Level("constant", 4), 3, 7) == [0.0, 0.25, 0.5]
    assert schedule.draw_due(Level("closed", 4), 3, 7) is None


def test_prompts_share_no_beginning():
    prompts = schedule.cut_prompts(TEXT, 100, 50, 3, "nonce")
    assert len({prompt[:8] for prompt in prompts}) == 50
    assert len({prompt[10:] for prompt in prompts}) > 20
    assert all(len(prompt.encode()) == 100 for prompt in prompts)
    again = schedule.cut_prompts(TEXT, 100, 50, 3, "another run")
    shared = [
        a[:8] == b[:8] for a, b in itertools.product(prompts, again)
    ]  # of another run, neither
    assert not any(shared)
