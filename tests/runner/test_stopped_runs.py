"""A run that is stopped, by Ctrl-C, SIGTERM or kill -9, and the end of it once it is resumed: what
the board says each time, as golden files.

They are written anew with LLMBENCH_WRITE_GOLDEN=1; read the difference before keeping it.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from support.run_helpers import folder, llmbench, run_json

GOLDEN = Path(__file__).parents[1] / "golden" / "stopped"
SUITE = """\
name: ladder
version: 1
texts:
  train: {source: train.txt}
  test: {source: test.jsonl}
  again: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
  - {task: likelihood, name: other-domain, text: again}
  - {task: continuation, prompts: ["The "], max_bytes: 20}
models: [uniform-bytes, byte-ngram, "stops.py:Stops", zlib, bz2]
"""
STOPS = '''\
import os, time
from llmbench import TokenAdapter, Tokens
from llmbench.adapters.trivial import UniformBytes


class Stops(UniformBytes):
    """A model whose loading stops the run, the first time."""

    @classmethod
    def build(cls, parameters, build_context):
        if os.path.exists("stop") and "LLMBENCH_STOP" in os.environ:
            os.remove("stop")
            run = int(os.environ.get("LLMBENCH_TESTS_RUN", os.getppid()))
            os.kill(run, int(os.environ["LLMBENCH_STOP"]))
            time.sleep(100)
        return super().build(parameters, build_context)
'''


@pytest.fixture
def place(tmp_path):
    folder(tmp_path)
    (tmp_path / "ladder.yaml").write_text(SUITE)
    (tmp_path / "stops.py").write_text(STOPS)
    return tmp_path


def plain(text):
    """A board without what differs from run to run and from machine to machine."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d [A-Z]+", "TIME", text)
    text = re.sub(r"(\*\*machine:\*\*) .*", r"\1 MACHINE", text)
    text = re.sub(r"(\*\*llmbench:\*\*) .*", r"\1 VERSION", text)
    text = re.sub(r'"[^"\n]* cores, [^"\n]*"', "MACHINE", text)
    text = re.sub(r"[0-9a-f]{16}", "TEXT", text)
    text = text.partition("\n## Certificates")[0]  # what was checked is no matter here
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def check(name, text):
    file = GOLDEN / name
    if os.environ.get("LLMBENCH_WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(plain(text), encoding="utf-8")
    assert plain(text) == file.read_text(encoding="utf-8"), f"{name} differs"


def boards(place, form):
    done = llmbench("report", "out", "--format", form, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("sent", "end", "code"),
    [
        pytest.param(signal.SIGINT, "interrupted", 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, "interrupted", 130, id="sigterm", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "unfinished", -9, id="kill-9", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_says_so_and_its_resumed_end_is_whole(place, monkeypatch, sent, end, code):
    monkeypatch.setenv("COLUMNS", "100")
    (place / "stop").touch()
    monkeypatch.setenv("LLMBENCH_STOP", str(int(sent)))
    stopped = llmbench("run", "ladder.yaml", "--out", "out", cwd=place)
    assert stopped.returncode == code, stopped.stderr
    record = run_json(place / "out")
    assert record["state"]["end"] == end
    assert list(record["state"]["not_reached"]) == ["Stops", "zlib", "bz2"]
    for form in ("table", "md", "csv"):
        check(f"{end}.{form}", boards(place, form))

    resumed = llmbench("run", "ladder.yaml", "--out", "out", cwd=place)
    assert resumed.returncode == 0, resumed.stderr
    record = run_json(place / "out")
    assert record["state"] == {"end": "done", "not_reached": {}, "not_asked": []}
    for form in ("table", "md", "csv"):
        check(f"resumed.{form}", boards(place, form))


@pytest.mark.slow
def test_a_run_that_finds_everything_done_leaves_the_record_as_it_was(place):
    first = llmbench("run", "ladder.yaml", "--out", "out", cwd=place)
    assert first.returncode == 0, first.stderr
    before = (place / "out/run.json").read_bytes()
    os.utime(place / "out/run.json", (1, 1))
    again = llmbench("run", "ladder.yaml", "--out", "out", cwd=place)
    assert again.returncode == 0, again.stderr
    assert (place / "out/run.json").read_bytes() == before
    more = llmbench("run", "ladder.yaml", "--out", "out", "--model", "lzma", cwd=place)
    assert more.returncode == 0, more.stderr
    assert (place / "out/run.json").read_bytes() != before


@pytest.mark.slow
def test_a_part_of_a_suite_says_what_was_not_asked(place):
    done = llmbench("run", "ladder.yaml", "--out", "out", "--only", "zlib", cwd=place)
    assert done.returncode == 0, done.stderr
    said = "Partial: 1 model; not asked, 4 of the suite's models: uniform-bytes, byte-ngram, Stops"
    assert said in " ".join(done.stdout.split())
    assert llmbench("record", "promote", "out", "--out", "r.json", cwd=place).returncode == 0
    rest = llmbench("run", "ladder.yaml", "--out", "out", cwd=place)
    assert rest.returncode == 0, rest.stderr
    assert "Partial" not in rest.stdout


@pytest.mark.slow
def test_a_merged_board_says_which_of_its_runs_is_not_whole(place, monkeypatch):
    whole = llmbench("run", "ladder.yaml", "--out", "whole", "--only", "bz2", cwd=place)
    assert whole.returncode == 0, whole.stderr
    (place / "stop").touch()
    monkeypatch.setenv("LLMBENCH_STOP", str(int(signal.SIGKILL)))
    llmbench("run", "ladder.yaml", "--out", "killed", cwd=place)
    done = llmbench("leaderboard", "whole", "killed", "--format", "md", cwd=place)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "killed: Unfinished, as the run is still at work or was killed: 2 of 5 models" in said
    assert "whole: Partial: 1 model" in said
    rows = llmbench("leaderboard", "whole", "killed", "--format", "csv", cwd=place).stdout
    open_cells = [line for line in rows.splitlines() if line.endswith(",not reached")]
    assert {line.split(",")[1] for line in open_cells} == {"Stops", "zlib", "bz2"}
    of_bz2 = [line.split(",")[0] for line in open_cells if line.split(",")[1] == "bz2"]
    assert "likelihood" not in of_bz2  # the other run has it


@pytest.mark.slow
def test_an_interrupted_run_is_no_record_to_promote(place, monkeypatch):
    (place / "stop").touch()
    monkeypatch.setenv("LLMBENCH_STOP", str(int(signal.SIGINT)))
    llmbench("run", "ladder.yaml", "--out", "out", cwd=place)
    done = llmbench("record", "promote", "out", "--out", "r.json", cwd=place)
    assert done.returncode == 2
    assert "is not done: the run was interrupted" in done.stderr
