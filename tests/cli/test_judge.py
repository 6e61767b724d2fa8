"""`llmbench judge`, as a shell runs it."""

import json
import os
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from support.fake_servers import FakeServer
from support.polls import make_run, write_texts

from llmbench.cli.main import cli
from llmbench.errors import LlmbenchError
from llmbench.votes.judges import judgements


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, write_texts(4))


@pytest.mark.slow
def test_a_likelihood_judge_prints_a_ranking_and_that_nobody_validated_it(run):
    done = CliRunner().invoke(cli, ["judge", str(run), "--with", "byte-ngram"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "byte-ngram (likelihood) on continuation, 12 pairs of answers"
    assert lines[1].split() == ["rank", "model", "share", "of", "wins", "wins", "losses", "ties"]
    assert "Not validated: no person voted" in done.stdout
    assert lines[-1].startswith("Cost: ")
    assert len(judgements.read_judgements(run)) == 12


def test_a_pairwise_judge_prints_a_ranking_and_what_to_think_of_it(run):
    with FakeServer(says=["A"]) as server:
        spec = f"openai:tiny@{server.url}?api=chat"
        done = CliRunner().invoke(cli, ["judge", str(run), "--with", spec, "--kind", "pairwise"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny (pairwise) on continuation, 12 pairs of answers"
    assert lines[1].split() == ["rank", "model", "share", "of", "wins", "wins", "losses", "ties"]
    for text in (
        "Not validated: no person voted",
        "100 % of its verdicts are ties",
        "chose the first answer in 100 % of 24 replies (95 % interval 86 to 100 %)",
        "It prefers the first answer",
        "with the order of the answers on 100 % of 12 pairs",
    ):
        assert text in done.stdout
    assert lines[-1].startswith("Cost: ")


def test_a_judge_behind_a_server_is_asked_in_its_chat_and_only_once(run):
    with FakeServer(says=["A"]) as server:
        spec = f"openai:tiny@{server.url}?api=chat"
        command = ["judge", str(run), "--with", spec, "--kind", "pairwise", "--json"]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        asked = [body for body in server.asked if "Answer A:" in body["messages"][-1]["content"]]
        assert len(asked) == 24
        again = CliRunner().invoke(cli, command)
        assert json.loads(again.stdout)["replies"] == 24
        assert len([b for b in server.asked if "Answer A:" in b["messages"][-1]["content"]]) == 24
    assert (found["first"]["value"], found["flips"]["value"]) == (1.0, 1.0)
    assert found["ranking"]["tie_share"]["value"] == 1.0


def write_card(folder, server, **more):
    """The card of a judge behind a server that asks for its tokens."""
    path = folder / "paid.yaml"
    arguments = {"model": "tiny", "url": server.url, "api": "chat", "concurrency": 2}
    card = {"name": "paid", "adapter": "openai", "arguments": arguments, **more}
    path.write_text(json.dumps(card))
    return path


def test_the_price_of_a_judge_behind_a_server_is_counted_by_its_card(run, tmp_path):
    with FakeServer(says=["A"]) as server:
        card = write_card(tmp_path, server, price={"read": 2.0, "written": 1_000_000})
        command = ["judge", str(run), "--with", str(card), "--kind", "pairwise"]
        found = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
        again = CliRunner().invoke(cli, command)
    assert (found["requests"], found["written_tokens"]) == (24, 24)
    assert found["read_tokens"] == 24
    assert found["price"] == pytest.approx(24 + 2e-6 * found["read_tokens"])
    cost = again.stdout.splitlines()[-1]
    assert cost.startswith("Cost: 12 pairs of answers: 24 requests, ")
    assert cost.endswith(", a price of 24.")
    assert not (run / "judging").exists()


def list_questions(server):
    asked = [body["messages"][-1]["content"] for body in server.asked]
    return [question for question in asked if "Answer A:" in question]


@pytest.mark.slow
def test_a_judge_that_is_killed_asks_nothing_twice_that_was_answered(run, tmp_path):
    answered, waiting, gate = [], threading.Semaphore(0), threading.Event()

    def answer(body):
        question = body["messages"][-1]["content"]
        if "Answer A:" in question and not gate.is_set():
            if len(answered) < 9:
                answered.append(question)
            else:
                waiting.release()
                gate.wait(60)
        return ["A"]

    with FakeServer(says=answer) as server:
        command = ["judge", str(run), "--with", str(write_card(tmp_path, server))]
        command += ["--kind", "pairwise", "--json"]
        child = subprocess.Popen([sys.executable, "-m", "llmbench", *command], env=os.environ)
        assert waiting.acquire(timeout=60)
        assert waiting.acquire(timeout=60)  # both threads have kept what they were told before
        child.kill()
        child.wait()
        gate.set()
        asked = len(list_questions(server))
        done = CliRunner().invoke(cli, command)
        rest = list_questions(server)[asked:]
    assert (asked, len(answered), len(rest)) == (11, 9, 24 - 9)
    assert not set(answered) & set(rest)
    assert json.loads(done.stdout)["replies"] == 24


def test_a_judge_without_a_usable_reply_ends_with_1(run, tmp_path):
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("The shorter answer is better.", encoding="utf-8")
    with FakeServer(says=["What", " a", " choice!"]) as server:
        command = ["judge", str(run), "--with", f"openai:tiny@{server.url}?api=chat"]
        command += ["--kind", "pairwise", "--rubric", str(rubric)]
        done = CliRunner().invoke(cli, command, standalone_mode=False)
        assert any("shorter answer" in body["messages"][-1]["content"] for body in server.asked)
    assert done.return_value == 1, done.output
    assert "It gave no usable verdict at all." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--with", "no-such-model"], "no-such-model"),
        (["--with", "byte-ngram", "--task", "translation"], "the run has no task 'translation'"),
        (["--with", "byte-ngram", "--rubric", "r.txt"], "--rubric is for --kind pairwise"),
        (["--with", "byte-ngram", "--kind", "pairwise", "--rubric", "none.txt"], "cannot read"),
        (["--with", "uniform-bytes", "--kind", "pairwise"], "does not generate text"),
    ],
)
def test_wrong_use_is_told_and_nothing_is_written(run, arguments, said):
    done = CliRunner().invoke(cli, ["judge", str(run), *arguments])
    assert isinstance(done.exception, LlmbenchError)
    assert said in str(done.exception)
    assert not (run / judgements.FILE).exists()
