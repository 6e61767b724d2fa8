"""The wheel: built, installed elsewhere, and the quick suite run from it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.run_helpers import run_json

from llmbench.leaderboard.renderers.page import embed

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    place = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(place),
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(place.glob("*.whl"))


def test_the_wheel_holds_suites_baselines_texts_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("suites", "baselines"):
        here = {f"llmbench/{folder}/{file.name}" for file in (ROOT / folder).glob("*.yaml")}
        assert here
        assert here <= names
    assert {
        "llmbench/py.typed",
        "llmbench/data/texts/fables.jsonl",
        "llmbench/cli/templates/adapter.py.txt",
    } <= names
    assets = {
        *(f"{name}.css" for name in embed.STYLES),
        *(f"{name}.js" for name in embed.SCRIPTS),
    }
    place = ROOT / "llmbench/leaderboard/renderers/page/assets"
    assert {file.name for file in place.iterdir()} == assets  # each is part of the page
    for folder in (place, ROOT / "llmbench/leaderboard/renderers/templates"):
        assert {file.relative_to(ROOT).as_posix() for file in folder.iterdir()} <= names
    weights = [file for file in (ROOT / "llmbench" / "weights").rglob("*") if file.is_file()]
    assert {file.relative_to(ROOT).as_posix() for file in weights} <= names
    assert not [name for name in names if name.startswith(("tests/", "reports/"))]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_quick_suite_runs_from_an_installed_wheel(wheel, tmp_path):
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "LLMBENCH_CACHE": str(tmp_path / "cache")}
    probe = "import llmbench; print(llmbench.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    command = [sys.executable, "-m", "llmbench.cli.main", "run", "quick", "--out", "out"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    record = run_json(tmp_path / "out")
    values = {
        row["model"]: row["value"] for row in record["scores"] if row["metric"] == "bits_per_byte"
    }
    assert len(values) == 10
    assert values["uniform-bytes"] == 8.0
    assert 2.1 < values["byte-ngram"] < 2.3
    assert all(1.5 < values[name] < 4.5 for name in values if name != "uniform-bytes")
    assert {row["reason"] for row in record["failures"]} == {"unsupported"}
