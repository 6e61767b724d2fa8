"""`llmbench run --log-to`: the run is exported when it is done, and never lost by that."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from llmbench.cli.main import cli
from llmbench.errors import UsageError

SUITE = """\
name: tiny
version: 1
texts: {test: {source: my.txt}}
tasks: [{task: likelihood}]
models: [uniform-bytes]
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("The king said nothing. " * 20)
    (tmp_path / "tiny.yaml").write_text(SUITE)
    return "tiny.yaml"


def run(*arguments):
    return CliRunner().invoke(cli, ["run", *arguments, "--out", "run"], standalone_mode=False)


def test_a_run_is_exported_to_every_target_when_it_is_done(suite, tmp_path):
    done = run(suite, "--log-to", "model-index", "--log-to", "latex")
    assert (done.exception, done.return_value) == (None, 0)
    card = (tmp_path / "run/exports/model-index/uniform-bytes/README.md").read_text()
    assert "value: 8.0" in card
    assert (tmp_path / "run/exports/latex/likelihood-bits_per_byte.tex").is_file()
    assert "logged to latex: run/exports/latex" in done.stderr


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mlfloww", "unknown target 'mlfloww'"),
        ("latex=http://host", "latex writes files and takes no address"),
        ("hf-eval-results", "does not know the data sets of the tasks"),
    ],
)
def test_a_wrong_target_is_told_before_anything_runs(suite, tmp_path, target, said):
    done = run(suite, "--log-to", target)
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_a_target_that_refuses_leaves_the_run_complete(suite, tmp_path, monkeypatch):
    def refuse(*given, **more):
        raise UsageError("MLflow refuses: no such host")

    monkeypatch.setattr("llmbench.integrations.exports.deliver.deliver", refuse)
    done = run(suite, "--log-to", "latex")
    assert (done.exception, done.return_value) == (None, 1)
    said = " ".join(done.stderr.split())
    assert re.search(r"not logged to latex: MLflow refuses: no such host; .* export run", said)
    assert json.loads((tmp_path / "run/run.json").read_text())["state"]["end"] == "done"
