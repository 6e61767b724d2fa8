"""Cells of a published run are measured again: which, how, and what does not hold."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from support.publications import MODELS, quick_run, seal_again
from support.run_helpers import folder, llmbench

from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.publishing import recompute
from llmbench.publishing.recompute import Request, draw_cells, list_choices
from llmbench.results.record import load


@pytest.fixture
def record(tmp_path):
    return load(quick_run(tmp_path / "run"))


@pytest.fixture
def planned(monkeypatch, record):
    """A runner that gives the record itself again, changed by `alter`; it keeps the plans."""
    made, changes = [], []

    def run(plan, watcher):
        made.append(plan)
        result = record.model_copy(deep=True)
        for change in changes:
            change(result)
        return result, False

    monkeypatch.setattr(recompute.runner_run, "run", run)
    return made, changes


def test_only_cells_that_no_machine_or_other_model_changes_are_drawn(record):
    tasks, models = {"likelihood", "speed"}, {*MODELS}
    wanted = [(model, "likelihood") for model in MODELS]
    assert list_choices(record, tasks, models) == wanted
    assert list_choices(record, tasks, {"zlib"}) == [("zlib", "likelihood")]
    record.models[0].process = "caller"
    assert list_choices(record, tasks, models) == wanted[1:]
    for score in record.scores:
        score.left_out = 1
    assert list_choices(record, tasks, models) == []


def test_the_draw_is_of_the_seed_alone():
    choices = [("m", str(number)) for number in range(30)]
    first = draw_cells(choices, 4, 1)
    assert first == draw_cells(choices, 4, 1)
    assert len(set(first)) == 4
    assert first == sorted(first, key=choices.index)
    assert {tuple(draw_cells(choices, 4, seed)) for seed in range(5)} != {tuple(first)}
    assert draw_cells(choices, 99, 1) == choices


def test_a_drawn_cell_is_planned_alone_with_the_options_of_the_run(record, planned, tmp_path):
    record.seed, record.options["limit"] = 7, 5
    found = recompute.recompute(record, Request(1, seed=3), tmp_path / "again")
    (plan,) = planned[0]
    ((model, task),) = found.cells
    assert found.choices == 2
    assert list(plan.models) == [model]
    assert [settings.name for settings in plan.suite.tasks] == [task] == ["likelihood"]
    assert list(plan.keys) == [(model, task)]
    assert (plan.options.seed, plan.options.limit, plan.options.device) == (7, 5, "cpu")
    assert [figure.metric for figure in found.figures] == ["bits_per_byte", "byte_perplexity"]
    assert all(figure.is_exact for figure in found.figures)


def test_a_figure_that_comes_out_otherwise_does_not_hold(record, planned, tmp_path):
    def worsen(result):
        for score in result.scores:
            score.value *= 1.01

    planned[1].append(worsen)
    found = recompute.recompute(record, Request(1), tmp_path / "again")
    assert [figure.holds for figure in found.figures] == [False] * 2


def test_other_weights_are_told(record, planned, tmp_path):
    def retrain(result):
        for row in result.models:
            row.fingerprint = "0" * 64

    planned[1].append(retrain)
    found = recompute.recompute(record, Request(1), tmp_path / "again")
    assert found.others == (found.cells[0][0],)


def test_a_cell_that_cannot_be_measured_here_does_not_hold(record, planned, tmp_path):
    def lose(result):
        result.scores = []
        result.notes.absent = dict.fromkeys(MODELS, "its weights are not here")

    planned[1].append(lose)
    found = recompute.recompute(record, Request(1), tmp_path / "again")
    assert {figure.why for figure in found.figures} == {"its weights are not here"}
    assert not any(figure.holds for figure in found.figures)


def test_a_suite_that_is_not_here_or_another_one_is_refused(record, tmp_path):
    record.suite.name = "nowhere"
    with pytest.raises(UsageError, match="did not come with llmbench"):
        recompute.recompute(record, Request(1), tmp_path)
    record.suite.name, record.suite.sha256 = "quick", "0" * 64
    with pytest.raises(UsageError, match="another suite 'quick'"):
        recompute.recompute(record, Request(1), tmp_path)


def test_a_suite_in_the_published_folder_is_not_run_by_itself(tmp_path, record):
    record.suite.name = "mine"
    out = tmp_path / "out"
    record.write(out)
    shutil.copy(recompute.registry.suite_path("quick"), out / "mine.yaml")
    with pytest.raises(UsageError, match="--suite FILE"):
        recompute.recompute(record, Request(1), tmp_path / "again")


def test_models_that_nobody_names_are_not_drawn(record, tmp_path):
    for row in [*record.models, *record.scores]:
        name = "name" if hasattr(row, "name") else "model"
        setattr(row, name, f"my-{getattr(row, name)}")
    with pytest.raises(UsageError, match="--model NAME=SPEC"):
        recompute.recompute(record, Request(1), tmp_path)


@pytest.mark.slow
def test_a_published_run_is_verified_from_its_folder_to_its_last_digit(tmp_path, monkeypatch):
    place = folder(tmp_path)
    run = ("run", "tiny.yaml", "--model", "my_models.py:Good", "--out", "out")
    assert llmbench(*run, cwd=place).returncode == 0
    assert llmbench("publish", "out", "--out", "pub", cwd=place).returncode == 0
    verify = ("verify", "pub", "--suite", "tiny.yaml", "--recompute", "9", "--model")
    named = (*verify, "Good=my_models.py:Good")
    done = llmbench(*named, "--json", cwd=place)
    found = json.loads(done.stdout)
    assert (done.returncode, found["holds"]) == (0, True), done.stderr
    cells = found["recomputed"]["cells"]
    assert {model for model, _ in cells} == {"uniform-bytes", "byte-ngram", "zlib", "Good"}
    assert all(row["here"] == row["published"] for row in found["recomputed"]["figures"])
    forge(place / "pub")
    done = llmbench(*named, cwd=place)
    assert done.returncode == 1
    assert "does not hold" in done.stdout


def forge(out):
    """Better a compressor's bits and interval, in record and samples alike, and seal all again."""
    from llmbench import storage

    file = out / "samples/zlib/likelihood.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        for values in row["statistics"].values():
            values[0] *= 0.9
    storage.write_lines(file, rows)
    file.with_suffix(".parquet").unlink(missing_ok=True)
    record = load(out)
    record.notes.files.pop("samples/zlib/likelihood.parquet", None)
    record.notes.files["samples/zlib/likelihood.jsonl"] = storage.digest_file(file)
    for score in record.scores:
        if (score.model, score.metric) == ("zlib", "bits_per_byte"):
            for name in ("value", "low", "high"):
                setattr(score, name, getattr(score, name) * 0.9)
        if (score.model, score.metric) == ("zlib", "byte_perplexity"):
            for name in ("value", "low", "high"):
                setattr(score, name, getattr(score, name) ** 0.9)
    record.write(out)
    seal_again(out)
    assert CliRunner().invoke(cli, ["verify", str(out)], standalone_mode=False).return_value == 0
