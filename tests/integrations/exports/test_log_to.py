"""`llmbench run --log-to`: the run is exported when it is done, and never lost by that."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from support import exported_runs

from llmbench.cli.exports.log_to import Log, log_run
from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.integrations.exports.registry import find_target

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


def test_a_target_that_refuses_is_told_with_the_command_that_tries_again(monkeypatch, capsys):
    """And the others are written; the run is complete on the disk by then."""
    asked = []

    def deliver(target, source, uri, say):
        asked.append(target.name)
        if target.name == "latex":
            raise UsageError("no space left")
        return "there"

    monkeypatch.setattr("llmbench.integrations.exports.deliver.deliver", deliver)
    logs = [Log(find_target(name), None) for name in ("latex", "parquet")]
    assert not log_run(exported_runs.example().opened.record, Path("run"), logs)
    said = " ".join(capsys.readouterr().err.split())
    assert "not logged to latex: no space left; the run is complete:" in said
    assert "llmbench export run --to latex" in said
    assert "logged to parquet: there" in said
    assert asked == ["latex", "parquet"]
