"""Loads on a server: what is sent, what is kept, what is counted as an error."""

from __future__ import annotations

import threading

import pytest
from support.fake_servers import FakeServer, Traps
from support.paced_server import PacedServer

from llmbench.adapter import Request
from llmbench.adapters.servers.load.reading import split_lines
from llmbench.adapters.servers.load.response import Broken, Response
from llmbench.inference.serving.load import Load


def load(count, due=None, streams=1, most_tokens=3, most_seconds=30.0, **extra):
    requests = [Request(f"{number:04d} kettle", max_tokens=most_tokens) for number in range(count)]
    return Load(requests, due, streams, most_seconds, extra)


def run(adapter, asked):
    return adapter.run_load(asked, lambda ended: None)


def test_a_closed_loop_sends_a_streams_next_request_after_its_answer(connect):
    with PacedServer(first=0.002, step=0.001) as server:
        adapter = connect(server)
        before, connections = len(server.served), server.connections
        found = run(adapter, load(12, streams=3)).exchanges
        assert server.connections == connections + 3  # which are kept
    assert len(server.served) - before == 12
    assert [one.error for one in found] == [""] * 12
    assert [one.usage for one in found] == [3] * 12
    assert [[text for _, text in one.pieces] for one in found] == [[" a"] * 3] * 12
    assert all(
        one.scheduled <= one.started <= one.pieces[0][0] <= one.pieces[-1][0] == one.ended
        for one in found
    )
    spans = sorted((one.started, one.ended) for one in found)
    assert all(sum(a <= at < b for a, b in spans) <= 3 for at, _ in spans)


def test_an_open_loop_sends_when_requests_are_due_however_slow_answers_are(connect):
    with PacedServer(first=0.2, step=0.001) as server:
        adapter = connect(server)
        found = run(adapter, load(6, due=[0.01 * i for i in range(6)])).exchanges
    gaps = [(one.scheduled - found[0].scheduled) / 1e9 for one in found]
    assert gaps == pytest.approx([0.01 * i for i in range(6)], abs=1e-6)
    assert all(one.scheduled <= one.started for one in found)
    assert max(one.started for one in found) < min(one.pieces[0][0] for one in found)


def test_a_message_without_text_is_no_piece(connect):
    with PacedServer(first=0.01, step=0.001, has_role=True) as server:
        found = run(connect(server), load(2)).exchanges
        truth = [one.written[0] for one in server.served[-2:]]
    assert [len(one.pieces) for one in found] == [3, 3]
    assert all(one.pieces[0][0] > written for one, written in zip(found, truth, strict=True))


def test_errors_are_kept_and_nothing_is_asked_again(connect):
    with PacedServer(first=0.001, step=0.0) as server:
        adapter = connect(server)
        server.busy, before = 2, len(server.served)
        found = run(adapter, load(10)).exchanges
        assert len(server.served) - before == 10
    assert [one.error for one in found].count("status 503: busy") == 5
    assert [one.error for one in found].count("") == 5


def test_reasoning_before_an_answer_is_an_error_of_its_request(connect):
    traps = Traps(only_chat=True, reasons="Let me think.")
    with FakeServer(says=("one", "two"), traps=traps) as server:
        found = run(connect(server), load(2)).exchanges
    assert {one.error for one in found} == {
        "it reasons before it answers (`reasoning_content`): turn that off"
    }


def test_an_answer_that_breaks_off_is_an_error(connect):
    with PacedServer(first=0.001, step=0.0) as server:
        adapter = connect(server)
        server.breaks_after = 2
        found = run(adapter, load(2)).exchanges
    assert [one.error for one in found] == ["the connection broke"] * 2


def test_a_response_that_does_not_end_after_its_last_line_is_an_answer(connect):
    with PacedServer(first=0.001, step=0.0, keeps_open=True) as server:
        adapter = connect(server)
        found = run(adapter, load(2)).exchanges
    assert [(one.error, len(one.pieces)) for one in found] == [("", 3)] * 2


def test_a_load_ends_when_its_time_is_over(connect):
    with PacedServer(first=0.001, step=0.0) as server:
        adapter = connect(server)
        server.first = 60.0
        found = run(adapter, load(5, streams=2, most_seconds=0.1)).exchanges
    assert [one.error for one in found] == ["no whole answer after 0.1 s of the load"] * 2


def test_nothing_there_is_an_error_of_each_request(connect):
    with PacedServer(first=0.001, step=0.0) as server:
        adapter = connect(server)
    found = run(adapter, load(3)).exchanges
    assert all("connection" in one.error for one in found)


def test_fields_besides_the_protocols_are_sent(connect):
    sent = []
    with PacedServer(first=0.001, step=0.0) as server:
        adapter = connect(server)
        answer = server._answer

        async def note(head, body, came, writer):
            sent.append(body)
            await answer(head, body, came, writer)

        server._answer = note
        run(adapter, load(1, ignore_eos=True))
    assert sent[0]["ignore_eos"] is True
    assert sent[0]["max_tokens"] == 3
    assert sent[0]["stream_options"] == {"include_usage": True}


def test_the_client_says_what_it_took_itself(connect):
    with PacedServer(first=0.02, step=0.001) as server:
        cost = run(connect(server), load(4)).cost
    assert 0 < cost.handling < cost.cpu < 1.5
    assert len(cost.lags) >= 4
    assert threading.active_count() < 10


WHOLE = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: {}\n\r\n10;x=y\r\n\ndata: [DONE]\n\r\n\r\n0\r\nTrailer: x\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_chunks_are_joined_however_the_bytes_come(size):
    response = Response()
    for at in range(0, len(WHOLE), size):
        assert not response.is_done
        response.feed(WHOLE[at : at + size], at)
    assert response.is_done
    assert response.keeps
    body = b"".join(data for _, data in response.pieces)
    assert body == b"data: {}\n\ndata: [DONE]\n\r\n"


def test_a_line_has_the_time_at_which_it_was_whole():
    pieces = [(1, b"data: "), (2, b"a\nda"), (5, b"ta: b\r\n\n")]
    assert list(split_lines(pieces)) == [(2, b"data: a"), (5, b"data: b"), (5, b"")]


def test_a_body_may_have_a_length_or_end_with_the_connection():
    response = Response()
    response.feed(b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbu", 1)
    assert not response.is_done
    response.feed(b"sy", 2)
    assert response.is_done
    assert response.status == 503
    plain = Response()
    plain.feed(b"HTTP/1.0 200 OK\r\n\r\nhello", 1)
    assert not plain.is_done
    assert plain.close()
    assert not plain.keeps


@pytest.mark.parametrize("data", [b"SSH-2.0\r\n\r\n", b"x" * 70_000])
def test_what_is_no_http_is_refused(data):
    with pytest.raises(Broken):
        Response().feed(data, 1)


def test_a_chunk_without_a_size_is_refused():
    with pytest.raises(Broken, match="size"):
        Response().feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 1)
