"""The server of a poll: asked by this machine's page alone, and nothing is lost when it dies."""

import http.client
import json
import os
import random
import signal
import threading
from contextlib import contextmanager, suppress

import pytest
from support.polls import FORK, MODELS, make_run, run_server, write_answers, write_texts

from llmbench.votes import ballots, opening
from llmbench.votes.server import PollServer


@contextmanager
def serve(folder, **settings):
    with PollServer(opening.open_poll(folder, **settings), token="secret") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def send(server, method="POST", path="/secret/next", body=None, **headers):
    """Status and answer of one request; in a header's name, _ is a hyphen."""
    port = server if isinstance(server, int) else server.server_port
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    raw = json.dumps(body).encode() if body is not None else None
    head = {"Content-Type": "application/json", **headers}
    head = {name.replace("_", "-"): value for name, value in head.items() if value}
    try:
        link.request(method, path, raw, head)
        found = link.getresponse()
        text = found.read().decode()
        is_json = found.headers.get_content_type() == "application/json"
        return found.status, json.loads(text) if is_json else text, found.headers
    finally:
        link.close()


def reply_to(question, identity, verdict="left"):
    return {"identity": identity, "ticket": question["ticket"], "verdict": verdict, "seconds": 1.5}


def test_a_vote_is_on_the_disk_before_it_is_answered(tmp_path):
    with serve(make_run(tmp_path)) as server:
        _, first, _ = send(server, body={"rater": "ada"})
        assert (first["counted"], len(first["question"]["answers"])) == (0, 2)
        asked = {"rater": "ada", "reply": reply_to(first["question"], "vote-00000001")}
        status, second, _ = send(server, body=asked)
        (vote,) = ballots.read_votes(tmp_path)
        assert (status, second["counted"], vote.identity) == (200, 1, "vote-00000001")
        assert second["question"]["ticket"] != first["question"]["ticket"]
        assert send(server, body=asked)[1]["counted"] == 1  # sent again: not counted twice
        undone = send(server, body={"rater": "ada", "undo": "undo-00000001"})[1]
        assert undone["counted"] == 0
        assert undone["question"] == first["question"]


def test_the_page_names_no_model_and_lets_no_other_script_run(tmp_path):
    with serve(make_run(tmp_path)) as server:
        status, page, headers = send(server, "GET", "/secret/")
        _, answer, _ = send(server, body={"rater": "ada"})
    assert status == 200
    assert not any(name in page for name in MODELS)
    assert not any(name in json.dumps(answer["question"]["ticket"]) for name in MODELS)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"path": "/wrong/next"}, 404),
        ({"path": "/secret"}, 404),
        ({"path": "/"}, 404),
        ({"path": "/secret/../next"}, 404),
        ({"method": "GET"}, 404),
        ({"method": "PUT"}, 501),
        ({"Content_Type": "text/plain"}, 415),
        ({"body": {"rater": "x" * 70_000}}, 413),
        ({"body": {"rater": ""}}, 400),
        ({"body": {"rater": "ada", "colour": "red"}}, 400),
        ({"body": ["ada"]}, 400),
        ({"body": {"rater": "ada", "undo": "../../x"}}, 400),
        ({"Content_Length": "-1"}, 413),
        ({"Content_Length": "many"}, 413),
    ],
)
def test_what_is_not_the_page_of_this_machine_is_refused(tmp_path, request_, status):
    with serve(make_run(tmp_path)) as server:
        found = send(server, **{"body": {"rater": "ada"}, **request_})
        assert found[0] == status
        assert "question" not in found[1]
    assert not (tmp_path / "votes.jsonl").exists()


def test_a_reply_to_a_pair_of_another_run_is_refused_with_a_reason(tmp_path):
    with serve(make_run(tmp_path)) as server:
        question = send(server, body={"rater": "ada"})[1]["question"]
        reply = reply_to(question, "vote-00000001")
        reply["ticket"]["item"] = "0" * 24
        status, said, _ = send(server, body={"rater": "ada", "reply": reply})
    assert (status, "none of this run" in said["problem"]) == (409, True)


def test_a_vote_that_cannot_be_written_is_not_counted(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with serve(make_run(tmp_path)) as server:
        question = send(server, body={"rater": "ada"})[1]["question"]
        monkeypatch.setattr(ballots, "append", fail)
        asked = {"rater": "ada", "reply": reply_to(question, "vote-00000001")}
        status, said, _ = send(server, body=asked)
        assert (status, "could not be written" in said["problem"]) == (500, True)
        monkeypatch.undo()
        assert send(server, body=asked)[1]["counted"] == 1


def test_no_vote_is_taken_once_a_model_was_run_again(tmp_path):
    run = make_run(tmp_path)
    with serve(run) as server:
        question = send(server, body={"rater": "ada"})[1]["question"]
        write_answers(run, {**write_texts(), "caracal": ["quite new"] * 8})
        asked = {"rater": "ada", "reply": reply_to(question, "vote-00000001")}
        for body in (asked, {"rater": "bob"}):
            status, said, _ = send(server, body=body)
            assert (status, "the answers have changed" in said["problem"]) == (409, True)
            assert "start it again" in said["problem"]
    assert not (run / "votes.jsonl").exists()


def read_text(run):
    file = run / "votes.jsonl"
    return file.read_text() if file.exists() else ""


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=pytest.mark.slow)])
def test_kill_9_loses_no_vote_that_was_counted_and_doubles_none(tmp_path, kills):
    """As the page does: a vote without an answer is sent again to the next server."""
    run, rng = make_run(tmp_path, write_texts(300)), random.Random(7)
    counted, waiting, sent, cut_off, written = set(), None, 0, 0, 0
    patience = 0.02  # seconds until the kill, at most: as long as half of the votes get through
    for _ in range(kills):
        ours, its = FORK.Pipe()
        child = FORK.Process(target=run_server, args=(run, its), daemon=True)
        child.start()
        port = ours.recv()
        question = send(port, body={"rater": "ada"})[1]["question"]
        if waiting is None:
            sent += 1
            waiting = {"rater": "ada", "reply": reply_to(question, f"vote-{sent:08d}")}
        killer = threading.Timer(rng.random() * patience, os.kill, (child.pid, signal.SIGKILL))
        killer.start()
        answer = None
        with suppress(OSError, http.client.HTTPException, ValueError):
            answer = send(port, body=waiting)
        if answer is not None and answer[0] == 200:
            counted.add(waiting["reply"]["identity"])
            assert answer[1]["counted"] == len(counted)
            waiting, patience = None, patience / 1.15
        else:
            cut_off, patience = cut_off + 1, patience * 1.15
            child.join()
            written += waiting["reply"]["identity"] in read_text(run)
        killer.join()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    names = [vote.identity for vote in ballots.read_votes(run) if vote.shown]
    assert len(names) == len(set(names))
    assert counted <= set(names)
    assert set(names) - counted <= ({waiting["reply"]["identity"]} if waiting else set())
    # kills came before a vote was written, between that and the answer, and after
    assert kills < 100 or (20 <= cut_off <= kills - 20 and 0 < written < cut_off)
