"""Renderers of other packages and files draw boards, and each mistake is one clear error."""

from __future__ import annotations

from importlib import metadata

import pytest
from click.testing import CliRunner
from support.hand_record import record

from llmbench.cli.main import cli
from llmbench.errors import UsageError
from llmbench.leaderboard import board as leaderboard_board
from llmbench.leaderboard.renderers import markdown, registry
from llmbench.leaderboard.renderers.renderer import Renderer

GOOD = """
class Names:
    ending = "names"

    def render(self, board):
        return "\\n".join(line.model for line in board.tables[0].lines)
"""
DRAWN = "byte-ngram\nzlib\nuniform-bytes\nlstm\ntransformer-decoder\nmine"


@pytest.fixture
def board():
    return leaderboard_board.build(record())


@pytest.fixture
def write(tmp_path):
    """Writes a renderer's file and gives file.py:Class."""

    def write(code, name="Names"):
        (tmp_path / "drawing.py").write_text(code)
        return f"{tmp_path}/drawing.py:{name}"

    return write


def test_a_class_of_a_file_draws_without_subclassing(write, board):
    assert registry.draw(write(GOOD), board) == DRAWN
    assert isinstance(registry.load_renderer(write(GOOD)), Renderer)


def test_an_object_of_a_file_draws_too(write, board):
    assert registry.draw(write(GOOD + "\nnames = Names()\n", "names"), board) == DRAWN


def test_an_entry_point_adds_a_format_and_hides_no_built_in_one(write, board, monkeypatch):
    points = [
        metadata.EntryPoint(name, write(GOOD), registry.ENTRY_POINTS) for name in ("names", "md")
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    assert registry.draw("names", board) == DRAWN
    assert registry.draw("md", board) == markdown.render(board)
    assert set(registry.list_formats()) == {"table", "md", "csv", "html", "names"}


def test_every_built_in_format_is_a_renderer(board):
    for name in registry.BUILT_IN:
        assert isinstance(registry.load_renderer(name), Renderer)
        assert registry.draw(name, board)


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("class Names:\n    ending = 'x'\n", "Names", "'Names' is not a renderer"),
        ("class Names:\n    def render(self, board): ...\n", "Names", "'Names' is not a renderer"),
        ("Names = 3\n", "Names", "'Names' is not a renderer"),
        (GOOD, "Name", "did you mean 'Names'?"),
        (GOOD.replace('"names"', '"../x"'), "Names", "the renderer's ending is '../x'"),
        (GOOD.replace('"names"', "7"), "Names", "the renderer's ending is 7"),
        (GOOD + "\n    def __init__(self, x): ...\n", "Names", "without arguments"),
        ("class Names(\n", "Names", "syntax error"),
        ("import no_such_module_at_all\n", "Names", "there is no module 'no_such_module_at_all'"),
        ("1 / 0\n", "Names", "importing raised ZeroDivisionError"),
    ],
)
def test_what_is_no_renderer_is_one_clear_error(write, code, name, said):
    with pytest.raises(UsageError) as error:
        registry.load_renderer(write(code, name))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("htlm", "unknown format 'htlm' (did you mean 'html'?)"),
        ("", "unknown format ''"),
        (":", "unknown format ':'"),
        ("x.py", "a renderer's file needs its class (x.py:ClassName)"),
        ("/nowhere/x.py:X", "there is no file /nowhere/x.py"),
        ("no_such_package:X", "there is no module 'no_such_package'"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_clear_error(name, said):
    with pytest.raises(UsageError) as error:
        registry.load_renderer(name)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [("1 / 0", "the renderer raised ZeroDivisionError"), ("7", "a value of type int, not str")],
)
def test_a_renderer_that_fails_is_one_clear_error(write, board, body, said):
    code = f"class Names:\n    ending = 'x'\n    def render(self, board): return {body}\n"
    with pytest.raises(UsageError, match=said):
        registry.draw(write(code), board)


def test_report_prints_an_outside_format_and_writes_nothing(tmp_path, write):
    record().write(tmp_path / "run")
    before = sorted((tmp_path / "run").iterdir())
    done = CliRunner().invoke(cli, ["report", str(tmp_path / "run"), "--format", write(GOOD)])
    assert done.output == DRAWN
    assert sorted((tmp_path / "run").iterdir()) == before


def test_leaderboard_writes_an_outside_format_beside_its_own(tmp_path, write):
    record().write(tmp_path / "run")
    command = ["leaderboard", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*command, "--format", write(GOOD)])
    assert done.stdout == DRAWN
    assert (tmp_path / "out" / "leaderboard.names").read_text() == DRAWN
    assert (tmp_path / "out" / "leaderboard.html").exists()


def test_an_outside_format_overwrites_none_of_our_files(tmp_path, write):
    record().write(tmp_path / "run")
    command = ["leaderboard", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    spec = write(GOOD.replace('"names"', '"html"'))
    done = CliRunner().invoke(cli, [*command, "--format", spec])
    assert isinstance(done.exception, UsageError)
    assert "leaderboard.html is written by llmbench itself" in str(done.exception)
    assert not (tmp_path / "out").exists()
