"""Answers of a server are whole, in order and within their limits, or refused by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from support import small_checkpoints
from support.fake_servers import FakeServer, Traps

from llmbench.adapter import Request
from llmbench.adapters.servers.patience import Interrupted, Patience
from llmbench.adapters.servers.protocol import Characters, Dialect
from llmbench.errors import ModelError, Unavailable, Unsupported, UsageError

REQUESTS = [
    Request("The kettle", max_bytes=30),
    Request("It had said", max_tokens=7),
    Request("The tap", max_bytes=60, stop=("e",)),
    Request("", max_tokens=3),
]
HELLO = Request("Say it", max_tokens=20)


def listen(adapter, request=HELLO):
    chunks = list(adapter.generate([request]))
    assert [chunk.finish is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    return "".join(chunk.text for chunk in chunks), chunks[-1]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("traps", [Traps(), Traps(refuses_ids=400), Traps(only_chat=True)])
def test_a_server_says_what_its_model_says(tiny, connect, stream, concurrency, traps):
    folder, model = tiny
    with FakeServer(model, traps=traps, context=66) as server:
        adapter = connect(server, tokenizer=str(folder), stream=stream, concurrency=concurrency)
        assert small_checkpoints.said(adapter, REQUESTS) == small_checkpoints.said(model, REQUESTS)


def test_the_way_of_asking_is_in_the_signature_unless_it_is_by_ids(tiny, connect):
    folder, model = tiny
    parts = []
    for traps in (Traps(), Traps(refuses_ids=400), Traps(only_chat=True)):
        with FakeServer(model, traps=traps) as server:
            parts.append(dict(connect(server, tokenizer=str(folder)).prompt_parts))
    assert parts == [{}, {"prompt": "text"}, {"prompt": "chat"}]


def test_a_role_alone_is_no_token_and_no_first_text(connect):
    with FakeServer(says=("a", "b"), traps=Traps(only_chat=True)) as server:
        adapter = connect(server)
        said, last = listen(adapter)
    (times,) = adapter.times.values()
    assert (said, last.tokens) == ("ab", 2)
    assert times.scheduled <= times.sent < times.first <= times.last


def test_characters_cut_by_chunks_tokens_and_escapes_come_whole(connect):
    pieces = ("na\u00efve ", "", "\N{GRINNING FACE}", "\ud83d", "\ude00", "\u4f60")
    for size in (1, 3, None):
        with FakeServer(says=pieces, traps=Traps(write_size=size)) as server:
            said, _ = listen(connect(server))
        assert said == "na\u00efve \N{GRINNING FACE}\N{GRINNING FACE}\u4f60"


def test_half_a_character_at_the_end_is_shown_as_broken():
    characters = Characters()
    assert characters.take("a\ud83d") == b"a"
    assert characters.take("", ended=True).decode() == "\N{REPLACEMENT CHARACTER}"
    assert characters.take("\ude00b").decode() == "\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    ("request_", "want", "finish"),
    [
        (Request("x", max_bytes=9), "one two t", "length"),
        (Request("x", max_bytes=99, stop=("o t",)), "one tw", "stop"),
        (Request("x", max_bytes=99, stop=("three four",)), "one two ", "stop"),
        (Request("x", max_bytes=99, stop=("nine",)), "one two three four", "stop"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_limits_are_ours_whatever_a_server_does(connect, request_, want, finish, stream):
    with FakeServer(says=("one ", "two ", "thr", "ee", " four")) as server:
        said, last = listen(connect(server, stream=stream), request_)
    assert (said, last.finish) == (want, finish)


@pytest.mark.parametrize(
    ("traps", "waits"),
    [
        (Traps(failures=2), [0.5, 1.0]),
        (Traps(resets=2), [0.5, 1.0]),
        (Traps(cuts=1), [0.5]),
        (Traps(errors=1), [0.5]),
        (Traps(stalls=1), [0.5]),
        (Traps(busy=["3", "0"]), [3.0, 0.0]),
        (Traps(busy=["soon"]), [0.5]),
    ],
)
def test_what_passes_is_tried_again_and_said_once(connect, slept, traps, waits):
    with FakeServer(says=("one ", "two ", "three")) as server:
        adapter = connect(server, timeout=1.0)
        server.traps = traps
        assert listen(adapter)[0] == "one two three"
    assert slept == waits


@pytest.mark.parametrize(
    ("traps", "error", "said"),
    [
        (Traps(failures=99), ModelError, "the server answered 500: out of luck, 6 times"),
        (Traps(resets=99), ModelError, "the connection broke: "),
        (Traps(cuts=99), ModelError, "broke off before its end, 6 times"),
        (Traps(errors=99), ModelError, "the engine died, 6 times"),
        (Traps(stalls=99), ModelError, "the server sent nothing for 0.5 s, 6 times"),
        (Traps(busy=["9999"]), ModelError, "slow down, and asks to wait 9999 s"),
        (Traps(redirects="http://elsewhere.example/v1"), ModelError, "elsewhere.example"),
        (Traps(answers_as="large"), ModelError, "'tiny' was asked, and 'large' answers"),
    ],
)
def test_what_does_not_pass_is_named(connect, traps, error, said):
    with FakeServer(says=("one ", "two ")) as server:
        adapter = connect(server, timeout=0.5)
        server.traps = traps
        with pytest.raises(error) as caught:
            listen(adapter)
    assert said in str(caught.value)


def test_waits_double_up_to_a_limit(connect, slept):
    with FakeServer(says=("one",)) as server:
        adapter = connect(server)
        server.traps.failures = 99
        with pytest.raises(ModelError):
            listen(adapter)
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_second_answer_that_differs_is_refused(connect):
    with FakeServer(says=("one ", "two ")) as server:
        adapter = connect(server)
        server.traps.resets = 1
        chunks = adapter.generate([HELLO])
        assert next(chunks).text == "one "
        server.says = ("uno ", "dos ")
        with pytest.raises(ModelError, match="second answer is not its first"):
            list(chunks)


def test_a_server_that_is_absent_is_unavailable_and_one_that_dies_is_an_error(connect):
    with FakeServer(says=("one",)) as server:
        adapter = connect(server)
    with pytest.raises(ModelError, match="nothing answers at this address"):
        listen(adapter)
    with pytest.raises(Unavailable, match="nothing answers at this address"):
        connect(server)


def test_a_model_that_is_not_there_is_named_with_the_nearest(connect):
    with FakeServer(says=("one",)) as server, pytest.raises(UsageError, match="mean 'tiny'"):
        connect(server, model="tinny")


def test_another_name_for_the_same_model_can_be_given(connect):
    with FakeServer(says=("one",), traps=Traps(answers_as="tiny-2026")) as server:
        with pytest.raises(ModelError, match="served_as=NAME"):
            connect(server)
        assert listen(connect(server, served_as="tiny-2026"))[0] == "one"


@pytest.mark.parametrize("traps", [Traps(answers_as="tiny@main"), Traps(lists=False)])
def test_a_revision_of_the_model_and_a_broken_list_are_no_obstacle(connect, traps):
    with FakeServer(says=("one",), traps=traps) as server:
        assert listen(connect(server))[0] == "one"


def test_an_answer_that_is_not_json_is_named(connect):
    with FakeServer(says=("one",)) as server:
        adapter = connect(server, stream=False)
        server.traps.garbage = 1
        with pytest.raises(ModelError, match="not a JSON object: '<html>busy</html>'"):
            listen(adapter)


def test_a_prompt_that_is_cut_without_a_word_is_found_out(tiny, connect):
    folder, model = tiny
    with FakeServer(model, traps=Traps(truncates=12), context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        with pytest.raises(ModelError, match=r"read 12 of \d+ tokens of a prompt: it cuts"):
            listen(adapter, Request("The kettle said nothing. " * 3, max_tokens=4))


def test_a_wrong_count_of_tokens_is_said_and_not_used(tiny, connect, capsys):
    folder, model = tiny
    with FakeServer(model, traps=Traps(), context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        server.traps.usage_off = 4
        _, last = listen(adapter, Request("The kettle", max_tokens=5))
    assert last.tokens <= 5
    assert "usage says completion_tokens 9 for an answer of 5" in capsys.readouterr().err
    assert adapter.info.origin["usage"].startswith("completion_tokens 9")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (-3, "completion_tokens -3 for an answer in 3 pieces"),
        (0, "completion_tokens 0 for an answer in 3 pieces"),
        (10**30, f"completion_tokens {10**30} for an answer of 20"),
        (19, "completion_tokens 19 for an answer of 3 bytes"),
    ],
)
def test_a_count_of_tokens_that_cannot_be_is_not_believed(connect, counts, said):
    with FakeServer(says=("a", "b", "c")) as server:
        adapter = connect(server)
        server.traps.counts = counts
        _, last = listen(adapter)
    assert last.tokens == 3
    assert adapter.info.origin["usage"] == said


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_of_reasoning_alone_is_refused_by_name(connect, stream):
    traps = Traps(only_chat=True, reasons="Let me think.")
    with FakeServer(says=(), traps=traps) as server:
        adapter = connect(server, stream=stream)  # which asks for a few words
        with pytest.raises(ModelError, match=r"only reasoning .*\(turn reasoning off at the"):
            listen(adapter)
        server.says = ("Two", ".")
        assert listen(adapter)[0] == "Two."


@pytest.mark.parametrize("stream", [True, False])
def test_another_choice_than_the_one_that_was_asked_for_is_refused(connect, stream):
    with FakeServer(says=("one ", "two ")) as server:
        adapter = connect(server, stream=stream)
        server.traps.index = 1
        with pytest.raises(ModelError, match="one answer was asked for, and the server gives"):
            listen(adapter)
    dialect = Dialect("completions", "tiny", "tiny", "http://localhost/v1")
    with pytest.raises(ModelError, match="several `choices`"):
        dialect.read({"choices": [{"text": "a"}, {"text": "b"}]})


def test_a_prompt_beyond_the_context_is_refused(tiny, connect):
    folder, model = tiny
    with FakeServer(model, context=66) as server:
        adapter = connect(server, tokenizer=str(folder))
        with pytest.raises(Unsupported, match="does not fit into the server's context of 66"):
            listen(adapter, Request("The kettle said nothing. " * 40, max_tokens=4))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("a", forced_text="b"), "cannot be fed to a model behind a server"),
        (Request("a", max_tokens=2, top_k=5), "top_k is not part of the protocol"),
    ],
)
def test_what_a_server_might_ignore_is_refused(connect, request_, said):
    with FakeServer(says=("one",)) as server, pytest.raises(Unsupported, match=said):
        listen(connect(server), request_)


def test_sampling_is_asked_for_with_its_seed(connect):
    with FakeServer(says=("one",)) as server:
        listen(connect(server), Request("a", max_tokens=2, temperature=0.5, seed=3, top_p=0.9))
    asked = server.asked[-1]
    assert (asked["temperature"], asked["seed"], asked["top_p"]) == (0.5, 3, 0.9)


def test_retry_after_may_be_a_date():
    patience = Patience(now=lambda: datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC))
    assert patience.read_retry_after("Sun, 29 Nov 2026 12:00:07 GMT") == 7.0
    assert patience.read_retry_after("Sun, 29 Nov 2026 11:00:00 GMT") == 0.0
    assert patience.read_retry_after("later") is None
    assert patience.read_retry_after(None) is None


def test_patience_ends_with_the_last_cause():
    tries = []

    def fail():
        tries.append(1)
        raise Interrupted(f"cause {len(tries)}")

    with pytest.raises(ModelError, match="cause 3, 3 times"):
        Patience(3, sleep=lambda seconds: None).run(fail, "here")


def test_bodies_are_what_the_protocol_says(connect):
    with FakeServer(says=("one",)) as server:
        listen(connect(server), Request("Say \N{SNOWMAN}", max_tokens=2))
    asked = json.loads(json.dumps(server.asked[-1]))
    assert asked == {
        "model": "tiny",
        "prompt": "Say \N{SNOWMAN}",
        "max_tokens": 2,
        "temperature": 0.0,
        "seed": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("reason", "finish"),
    [(None, None), ("stop", "stop"), ("eos_token", "stop"), ("length", "length")],
)
def test_an_answer_ends_as_its_server_says(reason, finish):
    dialect = Dialect("completions", "tiny", "tiny", "http://localhost/v1")
    assert dialect.read({"choices": [{"text": "a", "finish_reason": reason}]}).finish == finish


@pytest.mark.parametrize("reason", ["content_filter", "abort", "error", "tool_calls", 7])
def test_an_answer_that_a_server_broke_off_is_not_kept_as_a_whole_one(reason):
    dialect = Dialect("completions", "tiny", "tiny", "http://localhost/v1")
    with pytest.raises(ModelError, match="broke an answer off") as error:
        dialect.read({"choices": [{"text": "a", "finish_reason": reason}]})
    assert str(reason) in error.value.what
