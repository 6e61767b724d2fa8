"""`llmbench check`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from support.run_helpers import llmbench

from llmbench.conformance.kit import CHECKS

ROOT = Path(__file__).parents[2]
NAMES = [check.name for check in CHECKS]


def test_the_command_says_what_was_tried_and_what_is_proven(tmp_path):
    done = llmbench("check", "uniform-bytes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "byte-coverage" in done.stdout
    assert "A1 earned" in done.stdout
    assert "A3 earned" in done.stdout
    told = json.loads(llmbench("check", "uniform-bytes", "--json", cwd=tmp_path).stdout)
    assert [row["name"] for row in told["checks"]] == NAMES
    assert told["certificate"]["levels"]["A3"]["state"] == "earned"
    assert told["certificate"]["fingerprint"] == told["fingerprint"]


def test_the_command_fails_for_a_saboteur_and_shows_the_reason(tmp_path):
    done = llmbench(
        "check", f"{ROOT / 'tests' / 'support' / 'saboteurs.py'}:NatsForBits", cwd=tmp_path
    )
    assert done.returncode == 1
    assert "A1 refused" in done.stdout
    assert "likely cause" in done.stdout
    one = llmbench(
        "check",
        f"{ROOT / 'tests' / 'support' / 'saboteurs.py'}:NatsForBits",
        "--only",
        "limits",
        cwd=tmp_path,
    )
    assert one.returncode == 0
    assert "A1 not tested" in one.stdout
    wrong = llmbench("check", "uniform-bytes", "--only", "limit", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean 'limits'?" in wrong.stderr
