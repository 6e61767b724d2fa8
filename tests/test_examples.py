"""The example of an outside package: built, installed beside llmbench's own wheel, and used as its
README says.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "llmbench-extras"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with both packages, installed from wheels."""
    place = tmp_path_factory.mktemp("example")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place)]
    for source in (ROOT, EXAMPLE):
        done = subprocess.run([*build, str(source)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    wheels = map(str, place.glob("*.whl"))
    subprocess.run(
        [*pip, "--target", str(place / "site"), *wheels], check=True, capture_output=True
    )
    return place / "site"


def run(site, cwd, *command):
    environment = {**os.environ, "PYTHONPATH": str(site), "LLMBENCH_CACHE": str(cwd / "cache")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.mark.slow
def test_its_own_tests_pass(site, tmp_path):
    tests = [str(EXAMPLE / "tests"), f"--rootdir={tmp_path}"]
    done = run(site, tmp_path, "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "failed" not in done.stdout


@pytest.mark.slow
def test_its_model_is_certified(site, tmp_path):
    assert "markov" in run(site, tmp_path, "llmbench", "adapters").stdout
    checked = run(site, tmp_path, "llmbench", "check", "markov")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "A3 earned" in checked.stdout


@pytest.mark.slow
def test_all_it_adds_is_seen_on_one_board(site, tmp_path):
    suite = str(EXAMPLE / "extras.yaml")
    done = run(site, tmp_path, "llmbench", "run", suite, "--out", "out")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out" / "run.json").read_text())["scores"]
    found = {(score["model"], score["metric"]) for score in scores}
    for metric in ("bits_per_byte", "word_order", "lively_ends"):
        assert {("markov", metric), ("byte-ngram", metric)} <= found, metric
    (row,) = [s for s in scores if (s["model"], s["metric"]) == ("byte-ngram", "word_order")]
    assert 0.5 < row["value"] <= 1.0  # it has learnt from tales, and the test is of tales
    drawn = run(site, tmp_path, "llmbench", "leaderboard", "out", "--format", "jsonl")
    assert drawn.returncode == 0, drawn.stderr
    rows = [json.loads(line) for line in drawn.stdout.splitlines()]
    assert {row["model"] for row in rows} == {"markov", "byte-ngram"}
    for ending in ("md", "csv", "html"):
        board = (tmp_path / "out" / f"leaderboard.{ending}").read_text()
        assert "lively_ends" in board, ending
        assert "word_order" in board, ending
    compared = run(site, tmp_path, "llmbench", "compare", "out", "out", "--format", "json")
    assert compared.returncode == 0, compared.stderr
    assert "word_order" in compared.stdout


def test_it_imports_only_what_is_public():
    for file in EXAMPLE.rglob("*.py"):
        found = re.findall(r"^ *(?:from|import) (llmbench[\w.]*)", file.read_text(), re.MULTILINE)
        own = {name for name in found if name.startswith("llmbench_extras")}
        assert set(found) - own <= {"llmbench", "llmbench.testing"}, file


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_types_hold_in_strict_mypy():
    command = [sys.executable, "-m", "mypy", "--strict", str(EXAMPLE / "src")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
