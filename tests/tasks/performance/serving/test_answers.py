"""Numbers of single answers, from hand-made times."""

from __future__ import annotations

import pytest

from llmbench.inference.serving.load import Exchange, Level
from llmbench.tasks.performance.serving.answers import check_sends, count_tokens, derive
from llmbench.tasks.performance.serving.summary import meets

MS = 1_000_000
OPEN, CLOSED = Level("poisson", 50), Level("closed", 8)


def exchange(times, scheduled=0, started=0, ended=None, finish="length", **more):
    """An answer with a piece at each of these times, in ms."""
    pieces = tuple((at * MS, "a") for at in times)
    end = (times[-1] if ended is None else ended) * MS
    return Exchange(scheduled * MS, started * MS, pieces, end, finish, **more)


def test_an_open_loop_counts_from_when_a_request_was_due():
    said = exchange([150, 160, 170], scheduled=0, started=100, usage=3)
    assert derive(said, OPEN, 3).first == pytest.approx(0.150)
    assert derive(said, OPEN, 3).latency == pytest.approx(0.170)


def test_a_closed_loop_counts_from_when_a_request_was_sent():
    said = exchange([150, 160, 170], scheduled=0, started=100, usage=3)
    assert derive(said, CLOSED, 3).first == pytest.approx(0.050)
    assert derive(said, CLOSED, 3).latency == pytest.approx(0.070)


def test_time_per_output_token_is_over_the_tokens_after_the_first():
    assert derive(exchange([20, 25, 30, 35], usage=4), OPEN, 4).per_token == pytest.approx(0.005)


def test_several_tokens_in_a_message_make_gaps_no_token_latencies():
    answer = derive(exchange([20, 40], usage=4), OPEN, 4)
    assert not answer.is_by_token
    assert answer.tokens == 4
    assert answer.per_token == pytest.approx(0.020 / 3)
    assert answer.gaps == pytest.approx((0.020,))


def test_an_end_symbol_is_a_token_without_a_message():
    assert derive(exchange([20, 25], finish="stop", usage=3), OPEN, 9).is_by_token
    assert not derive(exchange([20, 25], finish="length", usage=3), OPEN, 3).is_by_token


def test_the_end_of_an_answer_may_come_after_its_last_text():
    assert derive(exchange([20, 25], ended=40, usage=2), OPEN, 2).latency == pytest.approx(0.040)


def test_an_answer_of_one_token_has_no_time_per_token_and_meets_its_limit():
    answer = derive(exchange([20], usage=1), OPEN, 1)
    assert answer.per_token is None
    assert meets(answer, {"tpot": 0.001})
    assert not meets(answer, {"ttft": 0.019})


def test_an_error_and_an_answer_without_text_have_no_numbers():
    assert derive(Exchange(0, 0, error="status 503"), OPEN, 4) is None
    assert derive(Exchange(0, 0, (), 5 * MS, "stop"), OPEN, 4) is None


@pytest.mark.parametrize(
    ("said", "tokens", "is_believed"),
    [
        (exchange([1, 2, 3], usage=3), 3, True),
        (exchange([1, 2, 3], usage=7), 3, False),  # more than were asked for
        (exchange([1, 2, 3], usage=2), 3, False),  # it ended at its limit, and says less
        (exchange([1, 2], finish="stop", usage=1), None, False),  # fewer tokens than messages
        (exchange([1, 2], finish="stop", usage=3, own=3), 3, True),
        (exchange([1, 2], finish="stop", usage=2, own=2), 2, True),
        (exchange([1], finish="stop", usage=-1, own=1), 1, False),  # none has fewer than one
        (exchange([1, 2], finish="stop", usage=None, own=2), 2, True),
        (exchange([1, 2], finish="stop", usage=None), None, True),
    ],
)
def test_the_servers_count_is_believed_if_it_can_be(said, tokens, is_believed):
    found, doubt = count_tokens(said, 3)
    assert found == tokens
    assert bool(doubt) != is_believed


def test_a_count_far_from_the_tokenizers_is_not_believed():
    said = exchange(range(1, 31), finish="stop", usage=60, own=30)
    assert count_tokens(said, 99) == (
        30,
        "completion_tokens is 60, and the model's tokenizer counts 30",
    )
    near = exchange(range(1, 31), finish="stop", usage=34, own=30)
    assert count_tokens(near, 99) == (34, "")


def sends(delays):
    """Requests that were due every 20 ms and sent so many ms later."""
    due = [0.02 * i for i in range(len(delays))]
    found = [
        Exchange(20 * MS * i, 20 * MS * i + round(delay * MS)) for i, delay in enumerate(delays)
    ]
    return check_sends(found, due)


def test_one_late_send_in_a_hundred_is_borne_and_two_are_not():
    assert sends([0.5] * 99 + [10.1]).refusal == ""
    refused = sends([0.5] * 98 + [10.1, 30])
    assert (refused.late, refused.sent) == (2, 100)
    assert refused.refusal == (
        "the client could not keep up: 2 of 100 requests were sent more than 10 ms late, the worst"
        " 30 ms"
    )


def test_a_send_may_be_late_by_a_twentieth_of_long_intervals():
    found = [Exchange(1000 * MS * i, (1000 * i + 45) * MS) for i in range(100)]
    assert check_sends(found, [float(i) for i in range(100)]).late == 0
    assert check_sends(found, None).late == 100
