"""`llmbench new` writes code that runs as it stands."""

from __future__ import annotations

import os
import re

import pytest
from support import forks
from support.run_helpers import folder, llmbench, run_json

KINDS = ("adapter", "task", "metric")


@pytest.fixture(params=KINDS)
def written(request, tmp_path):
    """(folder, kind) of a plugin that was just written."""
    place = folder(tmp_path)
    done = llmbench("new", request.param, "fresh_one", cwd=place)
    assert done.returncode == 0, done.stderr
    return place, request.param


def test_its_own_test_passes(written):
    place, _ = written
    command = ["pytest", "-q", "-p", "no:cacheprovider", "test_fresh_one.py"]
    done = forks.run(command, cwd=place, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_it_imports_only_what_is_public(written):
    place, _ = written
    for file in place.glob("*fresh_one.py"):
        found = re.findall(r"from (llmbench[\w.]*) import", file.read_text())
        assert set(found) <= {"llmbench", "llmbench.testing"}, file


def test_its_suite_runs(written):
    place, kind = written
    if kind == "adapter":
        assert not (place / "fresh_one.yaml").exists()
        return
    done = llmbench("run", "fresh_one.yaml", "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    metrics = {score["metric"] for score in run_json(place / "out")["scores"]}
    assert {"task": "fresh_one_share", "metric": "fresh_one"}[kind] in metrics


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_the_way_is_kept(tmp_path, kind):
    (tmp_path / "test_fresh_one.py").write_text("mine")
    done = llmbench("new", kind, "fresh_one", cwd=tmp_path)
    assert done.returncode == 2
    assert "test_fresh_one.py: the file already exists" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["test_fresh_one.py"]
