"""Optional models of a suite: on the board if they are on this machine, else one quiet line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from support.run_helpers import folder

from llmbench import api
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.leaderboard import board
from llmbench.leaderboard.renderers import registry as renderers
from llmbench.plan import plan, suite
from llmbench.results import record

SUITE = """\
name: tiny
version: 1
texts:
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
models:
  - uniform-bytes
  - {model: smollm2-135m, optional: true}
"""
LINE = (
    "smollm2-135m: fetch:smollm2: the weights are not on this machine"
    " (run `llmbench fetch smollm2`)"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with such a suite, and a cache without weights."""
    monkeypatch.chdir(folder(tmp_path))
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.yaml").write_text(SUITE)
    return tmp_path


def test_an_absent_optional_model_is_a_line_and_no_failure(place):
    done = CliRunner().invoke(cli, ["run", "tiny.yaml", "--out", "out"], standalone_mode=False)
    assert done.return_value == 0
    assert "smollm2-135m is optional and left out: fetch:smollm2: the weights" in done.stderr
    found = record.load(place / "out")
    assert [model.name for model in found.models] == ["uniform-bytes"]
    assert found.failures == []
    assert ("left out", LINE) in board.build(found).facts
    for form in ("md", "html"):
        assert renderers.draw(form, board.build(found)).count("llmbench fetch smollm2") == 1


def test_a_dry_run_shows_it(place):
    done = CliRunner().invoke(cli, ["run", "tiny.yaml", "--dry-run"], standalone_mode=False)
    assert done.return_value == 0
    row = next(line for line in done.output.splitlines() if "smollm2-135m" in line)
    assert "left out" in row


def test_asked_for_by_name_it_is_unavailable(place):
    made = plan.plan("tiny.yaml", plan.Options(only=("smollm2-135m",)))
    assert made.absent == {}
    (lack,) = made.lacks.values()
    assert lack.hint == "run `llmbench fetch smollm2`"


def test_of_models_that_are_not_asked_nothing_is_said(place):
    made = plan.plan("tiny.yaml", plan.Options(only=("uniform-bytes",)))
    assert (made.absent, list(made.models)) == ({}, ["uniform-bytes"])


def test_an_optional_model_that_is_there_is_a_model_like_others(place):
    (place / "tiny.yaml").write_text(SUITE.replace("smollm2-135m", "zlib"))
    made = plan.plan("tiny.yaml", plan.Options())
    assert (made.absent, list(made.models)) == ({}, ["uniform-bytes", "zlib"])


def test_a_suite_of_absent_models_alone_has_nothing_to_run(place):
    (place / "tiny.yaml").write_text(SUITE.replace("  - uniform-bytes\n", ""))
    with pytest.raises(UsageError, match=r"none is on this machine .*llmbench fetch smollm2"):
        plan.plan("tiny.yaml", plan.Options())


def test_a_wrong_value_is_placed(place):
    (place / "tiny.yaml").write_text(SUITE.replace("optional: true", "optional: maybe"))
    with pytest.raises(UsageError, match=r"tiny.yaml:9:37: optional: expected true or false"):
        suite.read("tiny.yaml")


@pytest.mark.slow
def test_a_model_that_was_measured_before_is_not_called_absent(place):
    """Its cells stay on the board of a run that is resumed without its weights."""
    (place / "tiny.yaml").write_text(SUITE.replace("smollm2-135m", "zlib"))
    api.run("tiny.yaml", out="out")
    made = plan.plan("tiny.yaml", plan.Options(out=place / "out", only=("uniform-bytes",)))
    result, _ = api.runner_run.run(made.__class__(**{**vars(made), "absent": {"zlib": "why"}}))
    assert result.notes.absent == {}
    assert {score.model for score in result.scores} >= {"zlib"}
