"""Pages that do not show the record of a published run are named."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner
from support.publications import seal_again

from llmbench.cli.main import cli
from llmbench.publishing.publish import draw_files
from llmbench.results.record import load


def verify(*arguments):
    return CliRunner().invoke(cli, ["verify", *map(str, arguments)], standalone_mode=False)


@pytest.mark.parametrize("name", ["index.html", "leaderboard.csv", "README.md", "badge.svg"])
def test_a_page_that_shows_something_else_is_named(out, name):
    page = out / name
    page.write_text(page.read_text().replace("2 models", "3 models").replace("zlib", "zlip"))
    page.write_text(page.read_text() + "\n")
    seal_again(out)
    done = verify(out)
    assert done.return_value == 0  # another version may draw otherwise
    assert f"this llmbench draws {name} otherwise" in " ".join(done.stdout.split())
    assert json.loads(verify(out, "--json").stdout)["drawn_otherwise"] == [name]


@pytest.fixture
def elsewhere(monkeypatch):
    """Another time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def test_times_of_another_zone_are_no_difference(out, elsewhere):
    assert draw_files(out, load(out))["index.html"] != (out / "index.html").read_text()
    assert "pages: all show this record" in verify(out).stdout
