"""What a server answered is kept, item by item, and never asked again by a run that goes on."""

from __future__ import annotations

import json

import pytest
from support import small_checkpoints
from support.fake_servers import FakeServer
from support.run_helpers import llmbench
from support.served_answers import free_port, read_prompts, serve

from llmbench.adapter import Passage, Request
from llmbench.adapters.servers.kept_answers import KeptAnswers
from llmbench.conformance.check import Subject
from llmbench.errors import LlmbenchError

SUITE = """\
name: tiny
version: 1
texts: {test: {source: pairs.jsonl}}
tasks: [{task: answer, text: test}]
models: [uniform-bytes]
"""
PAIRS = 20


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tiny.yaml").write_text(SUITE)
    rows = [{"given": f"{i} to the tap", "text": f"tap the to {i}"} for i in range(PAIRS)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(place, port, out):
    spec = f"openai:tiny@http://127.0.0.1:{port}/v1?tries=1&concurrency=1"
    given = ("--model", spec, "--only", "tiny", "--out", out)
    return llmbench("run", "tiny.yaml", *given, cwd=place)


def scores(out):
    record = json.loads((out / "run.json").read_text())
    return [{**row, "seconds": None} for row in record["scores"]], record["failures"]


def test_a_killed_server_costs_no_answer_and_no_item_is_asked_twice(place):
    port, log, calm = free_port(), place / "log", place / "calm"
    with serve(port, log, dies=8) as process:
        done = run(place, port, "out")
        assert process.wait(20) == -9
    assert done.returncode == 1
    assert len(scores(place / "out")[1]) == 1
    answered = read_prompts(log)[:-1]  # it died of the last
    with serve(port, log):
        assert run(place, port, "out").returncode == 0
    asked = read_prompts(log)
    assert len(answered) == 6
    assert sorted(asked) == sorted([*{f"{i} to the tap" for i in range(PAIRS)}, asked[6]])
    assert not set(answered) & set(asked[6:])
    with serve(port, calm):
        assert run(place, port, "undisturbed").returncode == 0
    assert scores(place / "out") == scores(place / "undisturbed")
    assert len(read_prompts(calm)) == PAIRS
    markdown = [(place / out / "leaderboard.csv").read_text() for out in ("out", "undisturbed")]
    assert markdown[0] == markdown[1]


FORGES = '''\
from pathlib import Path
from llmbench.adapters.trivial import UniformBytes


class Forges(UniformBytes):
    """Writes the answers of a server that will be asked after it."""
    def __init__(self):
        Path("out/answers").mkdir(exist_ok=True)
        Path("out/answers/tiny.jsonl").write_text(Path("stolen.jsonl").read_text())
'''


@pytest.mark.slow
def test_answers_that_another_model_s_code_wrote_are_asked_for_all_the_same(place):
    port, log = free_port(), place / "log"
    (place / "forges.py").write_text(FORGES)
    with serve(port, log):
        assert run(place, port, "honest").returncode == 0
        before = len(read_prompts(log))
        (place / "stolen.jsonl").write_bytes((place / "honest/answers/tiny.jsonl").read_bytes())
        spec = f"openai:tiny@http://127.0.0.1:{port}/v1?tries=1&concurrency=1"
        given = ("--model", "forges.py:Forges", "--model", spec, "--only", "tiny", "--out", "out")
        done = llmbench("run", "tiny.yaml", *given, cwd=place)
        assert "removed answers/tiny.jsonl" in done.stderr
        assert len(read_prompts(log)) == before + PAIRS
        again = llmbench("run", "tiny.yaml", *given[2:], cwd=place)
        assert "removed" not in again.stderr
        assert len(read_prompts(log)) == before + PAIRS


@pytest.mark.slow
def test_a_run_that_is_complete_asks_nothing(place):
    port, log = free_port(), place / "log"
    with serve(port, log):
        assert run(place, port, "out").returncode == 0
        before = read_prompts(log)
        again = run(place, port, "out")
    assert "done before" in again.stderr
    assert read_prompts(log) == before


def test_windows_that_were_scored_are_not_asked_again(tiny, connect, tmp_path):
    folder, model = tiny
    passages = [Passage(text) for text in small_checkpoints.TEXTS]
    with FakeServer(model, context=66) as server:
        first = connect(server, tmp_path / "kept.jsonl", tokenizer=str(folder))
        want = list(first.score(passages[:2]))
        first.close()
        second = connect(server, tmp_path / "kept.jsonl", tokenizer=str(folder))
        count = len(server.asked)
        got = list(second.score(passages[:2]))
        assert len(server.asked) == count
        list(second.score(passages))
        assert len(server.asked) > count
    assert [ledger.bits.tolist() for ledger in got] == [ledger.bits.tolist() for ledger in want]


def test_checks_are_never_answered_from_what_is_kept(tiny, connect, tmp_path):
    folder, model = tiny
    path = tmp_path / "kept.jsonl"
    with FakeServer(model, context=66) as server:
        adapter = connect(server, path, tokenizer=str(folder))
        list(adapter.score([Passage("The tap")]))
        size = path.stat().st_size
        Subject(adapter)
        count = len(server.asked)
        for number in (1, 2):
            list(adapter.score([Passage("The tap")]))
            assert len(server.asked) == count + number
    assert path.stat().st_size == size


def test_another_question_is_asked(connect, tmp_path):
    path = tmp_path / "kept.jsonl"
    asked = [
        Request("a", max_tokens=3),
        Request("b", max_tokens=3),
        Request("a", max_tokens=4),
        Request("a", max_tokens=3, stop=("x",)),
        Request("a", max_tokens=3, temperature=1.0),
        Request("a", max_tokens=3, temperature=1.0, seed=1),
    ]
    with FakeServer(says=("one",)) as server:
        for _ in range(2):
            adapter = connect(server, path)
            begun = len(server.asked)
            for request in asked:
                list(adapter.generate([request]))
            found = len(server.asked) - begun
            adapter.close()
            assert found == (len(asked) if begun == 1 else 0)


def test_answers_before_a_failure_are_kept(connect, tmp_path):
    path = tmp_path / "kept.jsonl"
    requests = [Request(f"{i}", max_tokens=3) for i in range(6)]
    with FakeServer(says=("one",)) as server:
        adapter = connect(server, path, concurrency=1)
        server.says = lambda body: 1 / 0 if body["prompt"] == "4" else ["one"]
        with pytest.raises(LlmbenchError):
            list(adapter.generate(requests))
        adapter.close()
        server.says = ("two",)
        again = connect(server, path, concurrency=1)
        said = small_checkpoints.said(again, requests)
    assert said == ["one"] * 4 + ["two"] * 2


def test_a_line_that_is_torn_or_changed_is_not_believed(tmp_path):
    path = tmp_path / "kept.jsonl"
    kept = KeptAnswers(path)
    for number in range(3):
        kept.keep(f"{number}", {"text": f"answer {number}"})
    kept.close()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace("answer 0", "answer 9"), lines[1], lines[2][:-9]]))
    again = KeptAnswers(path)
    assert [again.find(f"{number}") for number in range(3)] == [None, {"text": "answer 1"}, None]
    again.keep("2", {"text": "answer 2"})
    again.close()
    assert KeptAnswers(path).find("2") == {"text": "answer 2"}
