"""`llmbench view`, and what `run`, `report` and `leaderboard` show in a terminal."""

from __future__ import annotations

import json
import os
import webbrowser

import click
import pytest
from support import hand_record
from support.hand_record import data, record

from llmbench.cli import show
from llmbench.cli.main import cli
from llmbench.errors import UsageError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    record().write(hand_record.samples(tmp_path / "reports/by-hand/one"))
    return tmp_path / "reports/by-hand/one"


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was given."""
    found = []
    monkeypatch.setenv("BROWSER", "a browser")
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(found.append(address)) or True)
    return found


def call(*arguments):
    return cli.main([*map(str, arguments)], prog_name="llmbench", standalone_mode=False)


def test_the_page_of_a_run_is_written_and_opened(run, opened, capsys):
    assert call("view", run) == 0
    page = run / "leaderboard.html"
    assert opened == [page.as_uri()]
    assert "nothing, and the tap" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().out == ""


def test_without_a_run_it_is_the_newest_one(run, opened):
    record().write(run.parent / "two")
    os.utime(run / "run.json", (1, 1))
    assert call("view") == 0
    assert opened == [(run.parent / "two/leaderboard.html").as_uri()]


def test_without_a_browser_the_path_is_printed(run, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(show.sys, "platform", "linux")
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("a browser was asked for"))
    assert call("view", run) == 0
    assert capsys.readouterr().out == f"{run.resolve() / 'leaderboard.html'}\n"


def test_a_browser_that_cannot_be_started_leaves_the_path(run, monkeypatch, capsys):
    def refuse(address):
        raise webbrowser.Error("no runnable browser")

    monkeypatch.setenv("BROWSER", "none")
    monkeypatch.setattr(webbrowser, "open", refuse)
    assert call("view", run) == 0
    assert capsys.readouterr().out.strip().endswith("leaderboard.html")


def test_several_runs_are_merged_and_no_run_is_touched(run, opened, tmp_path):
    record(suite={**data()["suite"], "name": "other"}).write(run.parent / "two")
    before = sorted(tmp_path.glob("reports/**/*"))
    assert call("view", run, run.parent / "two") == 0
    assert sorted(tmp_path.glob("reports/**/*")) == before
    (address,) = opened
    assert address.startswith((tmp_path / "cache/pages").as_uri())
    assert "llmbench: 2 runs" in (tmp_path / address.removeprefix("file://")).read_text("utf-8")


def test_where_there_is_no_run_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no run"):
        call("view")
    with pytest.raises(UsageError, match="cannot read the record"):
        call("view", tmp_path)


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("command", ["report", "leaderboard"])
def test_boards_are_as_wide_as_the_terminal(run, monkeypatch, capsys, command, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert call(command, run) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sum("transformer-decoder" in line for line in lines if "±" in line) == 1


def test_a_report_ends_with_the_address_of_its_page(run, capsys):
    call("report", run)
    err = capsys.readouterr().err.splitlines()
    assert err[-1] == (run.resolve() / "leaderboard.html").as_uri()


def test_by_stage_has_headings(run, capsys):
    call("report", run, "--by", "stage")
    assert "Stage 3: recurrent" in capsys.readouterr().out
    call("report", run)
    assert "Stage 3: recurrent" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "key", "name"),
    [
        ("models", "model", "lstm"),
        ("suites", "suite", "quick"),
        ("metrics", "metric", "bits_per_byte"),
        ("tasks", "task", "likelihood"),
        ("adapters", "adapter", "huggingface"),
        ("texts", "text", "fables"),
    ],
)
def test_what_there_is_can_be_had_as_json(capsys, command, key, name):
    assert call(command, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert name in [row[key] for row in rows]
    assert len({row[key] for row in rows}) == len(rows)
    assert call(command) == 0
    table = capsys.readouterr().out
    assert all(row[key] in table for row in rows)


def test_what_is_listed_is_what_there_is():
    from llmbench.data.loading import SOURCES
    from llmbench.plan import registry, shipped, suite, task_registry

    cards = {name: registry.resolve(name) for name in registry.names("baselines")}
    assert {row["model"]: (row["stage"], row["about"]) for row in shipped.list_models()} == {
        card.name: (card.stage, card.about) for card in cards.values()
    }
    suites = [suite.read(name) for name in registry.names("suites")]
    assert {row["suite"]: (row["version"], row["tasks"]) for row in shipped.list_suites()} == {
        one.name: (one.version, [task.name for task in one.tasks]) for one in suites
    }
    assert {row["text"] for row in shipped.list_texts() if row["is_built_in"]} == {*SOURCES}
    assert {row["task"] for row in shipped.list_classes("task")} == {*task_registry.tasks()}


def test_a_table_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    call("metrics")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80  # the column `about` has at least 20 cells


def test_help_knows_the_new_commands():
    assert {"view", "texts"} <= {*cli.list_commands(click.Context(cli))}
