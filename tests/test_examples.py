"""The example of an outside package: built, installed beside llmbench's own wheel, and used as its
README says.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with both packages, installed from wheels."""
    place = tmp_path_factory.mktemp("example")
    for source in (ROOT, ROOT / "examples" / "markov"):
        command = [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(place),
            str(source),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(place / "site"),
    ]
    subprocess.run([*install, *map(str, place.glob("*.whl"))], check=True, capture_output=True)
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


def test_its_own_tests_pass_with_the_kit(site, tmp_path):
    done = run(
        site,
        tmp_path,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(ROOT / "examples" / "markov" / "tests"),
        f"--rootdir={tmp_path}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "failed" not in done.stdout


def test_its_name_is_known_to_every_command(site, tmp_path):
    assert "markov" in run(site, tmp_path, "llmbench.cli.main", "adapters").stdout
    checked = run(site, tmp_path, "llmbench.cli.main", "check", "markov")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "A3 earned" in checked.stdout
    done = run(
        site,
        tmp_path,
        "llmbench.cli.main",
        "run",
        "quick",
        "--model",
        "markov",
        "--only",
        "markov",
        "--only",
        "uniform-bytes",
        "--out",
        "out",
    )
    assert done.returncode == 0, done.stderr
    assert "A1 A2 A3" in done.stdout
