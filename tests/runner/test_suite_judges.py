"""Judges that a suite names, at the end of its run."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from support.fake_servers import FakeServer

import llmbench
from llmbench.errors import UsageError
from llmbench.plan import suite as plan_suite
from llmbench.votes.judges import judgements

SUITE = """\
name: judged
version: 1
tasks:
  - {{task: continuation, prompts: ["It was", "The fox"], max_bytes: 20, seeds: 2}}
judges:
  - {judge}
"""


def write(folder, judge):
    path = folder / "judged.yaml"
    path.write_text(SUITE.format(judge=judge), encoding="utf-8")
    return path


MODEL = """
from llmbench.adapter import Chunk
from llmbench.testing import MockAdapter


class Writer(MockAdapter):
    def __init__(self):
        super().__init__(lambda prompt: f" and so on {len(prompt)}", name="writer")


class Other(MockAdapter):
    def __init__(self):
        super().__init__(lambda prompt: f" but not {len(prompt)} times", name="other")


class Judge(MockAdapter):
    def __init__(self):
        super().__init__(lambda prompt: "A", name="judge")


class Broken(MockAdapter):
    def __init__(self):
        raise RuntimeError("the judge is ill")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models.py").write_text(MODEL, encoding="utf-8")
    return tmp_path


def list_models(folder):
    return [f"{folder / 'models.py'}:{name}" for name in ("Writer", "Other")]


@pytest.mark.slow
def test_a_suites_judges_judge_at_the_end_and_stand_on_the_board(folder, capfd):
    path = write(folder, "{model: 'models.py:Judge', kind: pairwise, rubric: The shorter one.}")
    run = llmbench.run(path, models=list_models(folder), out=str(folder / "out"))
    said = judgements.read_judgements(run.folder)
    assert {(one.left, one.right) for one in said} == {("Other", "Writer")}
    assert all(one.choices == ("first", "first") for one in said if one.asked)
    (table,) = run.board.votes
    assert table.parts[0].heading == "Judge Judge (pairwise): continuation"
    assert "Judge Judge" in (run.folder / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_judge_that_fails_is_told_and_the_board_is_there(folder, capfd):
    path = write(folder, "{model: 'models.py:Broken'}")
    run = llmbench.run(path, models=list_models(folder), out=str(folder / "out"))
    assert "the judge models.py:Broken failed:" in capfd.readouterr().err
    assert run.board.votes == []
    assert (run.folder / "leaderboard.md").is_file()


@pytest.mark.slow
def test_ctrl_c_while_a_judge_is_at_work_leaves_the_boards_and_it_goes_on_later(folder):
    asked, waiting, gate = [], threading.Semaphore(0), threading.Event()

    def answer(body):
        if "Answer A:" in body["messages"][-1]["content"]:
            asked.append(body["messages"][-1]["content"])
            if len(asked) > 3:
                waiting.release()
                gate.wait(60)
        return ["A"]

    with FakeServer(says=answer) as server:
        spec = f"openai:tiny@{server.url}?api=chat&concurrency=1"
        path = write(folder, f"{{model: '{spec}', kind: pairwise}}")
        models = [word for name in list_models(folder) for word in ("--model", name)]
        out = folder / "out"
        command = [sys.executable, "-m", "llmbench", "run", str(path), *models, "--out", str(out)]
        child = subprocess.Popen(command, env=os.environ, start_new_session=True)
        assert waiting.acquire(timeout=120)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(60) == 130
        assert (out / "leaderboard.md").is_file()
        gate.set()
        before = asked[:3]
        assert subprocess.run(command, env=os.environ, check=False).returncode == 0
    assert not set(before) & set(asked[4:])
    assert "Judge tiny" in (out / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("{model: no-such-model}", r"judged\.yaml:6:\d+: .*no-such-model"),
        ("{model: byte-ngram, of: translation}", r"judged\.yaml:6:\d+: no task is called"),
        ("{model: byte-ngram, rubric: short}", r"judged\.yaml:6:\d+: .*reads no rubric"),
        ("{model: byte-ngram, kind: guess}", r"judged\.yaml:6:\d+: "),
        ("{model: byte-ngram, pairs: 0}", r"judged\.yaml:6:\d+: "),
    ],
)
def test_a_wrong_judge_is_told_with_its_place(tmp_path, judge, said):
    with pytest.raises(UsageError, match=said):
        plan_suite.read(str(write(tmp_path, judge)))
