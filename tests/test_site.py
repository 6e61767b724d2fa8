"""The documentation site is built with every warning an error, and holds what it promises."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path

import click
import pytest

import llmbench
from llmbench.cli.main import cli
from llmbench.config.model_card import Card, Recipe
from llmbench.config.server_settings import ServerSettings
from llmbench.metrics.facts import FACTS
from llmbench.plan.suite import schema

ROOT = Path(__file__).parents[1]

LOADED = r"<(?:link|script|img|iframe)[^>]+(?:href|src)=\"?(https?:[^\"\s>]+)"

pytestmark = pytest.mark.skipif(
    not all(util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
    reason="the extra `docs` is not installed",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", place],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return place


def read(site, page):
    return (site / page / "index.html").read_text(encoding="utf-8")


def test_the_reference_has_every_command(site):
    page = read(site, "reference/cli")
    for name, command in cli.commands.items():
        assert f"Usage: llmbench {name}" in page
        if isinstance(command, click.Group):
            for inner in command.commands:
                assert f"Usage: llmbench {name} {inner}" in page


def test_the_reference_has_every_public_name(site):
    page = read(site, "reference/api")
    for name in llmbench.__all__:
        if not name.startswith("_"):
            assert f'id="{name.lower()}"' in page


def test_the_reference_has_every_metric_and_every_key_of_a_suite(site):
    metrics, keys = read(site, "reference/metric-table"), read(site, "reference/suite-keys")
    assert all(f"<code>{name}</code>" in metrics for name in FACTS)
    assert all(f"<code>{name}</code>" in keys for name in schema()["properties"])


def test_the_reference_says_what_each_key_of_a_card_and_of_adapters_means(site):
    page = html.unescape(read(site, "reference/card-keys"))
    for settings in (Card, Recipe, ServerSettings):
        for name, field in settings.model_fields.items():
            assert f"<code>{field.alias or name}</code>" in page


def test_the_example_board_is_part_of_the_site(site):
    shown = (site / "example/leaderboard.html").read_bytes()
    assert shown == (ROOT / "reports/example/leaderboard.html").read_bytes()


def test_every_page_of_the_docs_is_in_the_site(site):
    for path in (ROOT / "docs").glob("*.md"):
        page = site / (path.stem if path.stem != "index" else "") / "index.html"
        assert page.is_file(), path.name


def test_the_site_asks_no_other_host_for_anything(site):
    for page in site.rglob("*.html"):
        if page.parent.name == "example":
            continue
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:link|script|img|iframe)[^>]+(?:href|src)=\"?(https?:[^\"\s>]+)", text
        )
        assert not loaded, (page, loaded)
