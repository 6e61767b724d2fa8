"""Workers that start before their turn."""

from __future__ import annotations

import shutil

import pytest
from support import checkpoints

from llmbench.plan.plan import Options
from llmbench.runner.engine import ahead
from llmbench.runner.engine.ahead import Ahead, start_first

QUESTIONS = """\
name: questions
version: 1
texts:
  test: {source: questions.jsonl}
tasks:
  - {task: multiple-choice}
"""
THEIRS = QUESTIONS + "  - {task: lm-eval, tasks: [questions], include_path: tasks}\n"
OF_CHECKPOINT = ["llmbench.models.pretrained.loading", "transformers"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    place = tmp_path_factory.mktemp("checkpoint") / "gpt2-a"
    checkpoints.gpt2_5m(place, "a b c")
    return place


@pytest.fixture
def started(monkeypatch):
    """(threads, modules) of the workers that are started, none of which is."""
    found = []

    class Fake:
        def __init__(self, log, options, arguments):
            found.append((options.threads, list(arguments)))

        def kill(self):
            found.append("ended")

    monkeypatch.setattr(ahead, "Child", Fake)
    monkeypatch.setattr("llmbench.hardware.machine.cores", lambda: 2)
    return found


def start(place, suite, **options):
    (place / "suite.yaml").write_text(suite)
    with start_first(str(place / "suite.yaml"), Options(threads=1, **options)) as found:
        return list(found._waiting)


def test_the_worker_of_a_checkpoint_imports_while_the_run_is_planned(tmp_path, checkpoint, started):
    names = start(tmp_path, QUESTIONS, models=(f"hf:{checkpoint}",))
    assert names == ["gpt2-a"]
    (threads, modules), end = started
    assert threads == 1
    assert modules[-2:] == OF_CHECKPOINT
    assert end == "ended"  # as the run did not take it


def test_the_first_model_of_a_suite_comes_before_those_of_the_command_line(
    tmp_path, checkpoint, started
):
    own = f"models: ['hf:{checkpoint}']\n"
    assert start(tmp_path, QUESTIONS + own, models=("zlib",)) == ["gpt2-a"]


def test_a_worker_that_is_to_ask_tasks_of_lm_eval_imports_it_too(tmp_path, checkpoint, started):
    start(tmp_path, THEIRS, models=(f"hf:{checkpoint}",))
    assert started[0][1][-2:] == ["datasets", "lm_eval.tasks._factory"]


@pytest.mark.parametrize(
    "suite",
    [
        QUESTIONS + "  - {task: speed}\n",
        QUESTIONS + "  - {task: memory}\n",
        QUESTIONS + "  - {task: 'mine.py:Task'}\n",
        QUESTIONS + "  - {task: nonsense}\n",
        "tasks: 7\n",
        "[",
        "",
    ],
    ids=["timed", "measured", "code", "unknown", "wrong", "no yaml", "empty"],
)
def test_no_worker_starts_early_where_that_could_change_a_number_or_run_code(
    tmp_path, checkpoint, started, suite
):
    assert start(tmp_path, suite, models=(f"hf:{checkpoint}",)) == []
    assert started == []


@pytest.mark.parametrize("options", [{"workers": 2}, {"engine": "ray"}, {}])
def test_no_worker_starts_early_for_another_engine_or_without_a_model(
    tmp_path, checkpoint, started, options
):
    given = {"models": (f"hf:{checkpoint}",) if options else (), **options}
    assert start(tmp_path, QUESTIONS, **given) == []


def test_no_worker_starts_early_for_a_folder_that_is_there_or_on_one_core(
    tmp_path, checkpoint, started, monkeypatch
):
    models = (f"hf:{checkpoint}",)
    assert start(tmp_path, QUESTIONS, models=models, out=tmp_path) == []
    monkeypatch.setattr("llmbench.hardware.machine.cores", lambda: 1)
    assert start(tmp_path, QUESTIONS, models=models) == []


def test_of_a_trainings_checkpoints_the_worker_of_the_first_starts(tmp_path, checkpoint, started):
    for step in (20, 10):
        shutil.copytree(checkpoint, tmp_path / f"checkpoint-{step}")
    names = start(tmp_path, QUESTIONS, models=(f"hf:{tmp_path}/checkpoint-*",))
    assert [name.endswith("checkpoint-10") for name in names] == [True]


def test_a_worker_without_a_turn_left_ends(started, tmp_path):
    waiting = Ahead(Options())
    for name in ("one", "two"):
        waiting.start(name, tmp_path / f"{name}.log", [])
    waiting.keep(["two"])
    assert (waiting.has("one"), waiting.has("two")) == (False, True)
    assert started.count("ended") == 1


def test_what_a_worker_prints_from_its_job_on_goes_to_the_file_that_it_is_told(tmp_path):
    before, log = tmp_path / "before.log", tmp_path / "cells" / "worker.log"
    waiting = Ahead(Options())
    waiting.start("model", before, ["json"])
    child = waiting.take("model", log)
    assert child is not None
    try:
        child.send({"model": {}})
        assert list(child.events(60)) == []
        child.wait()
    finally:
        child.kill()
    assert "validation error" in log.read_text()
    assert before.read_text() == ""
    assert child.explain_end(60)[0] == "crashed"
