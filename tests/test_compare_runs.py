"""The script that compares two runs number by number: it must find what it is there for."""

from __future__ import annotations

import json
from pathlib import Path

import compare_runs
import pytest

SCORE = {
    "model": "m", "task": "letters", "metric": "bits_per_byte", "value": 2.5, "low": 2.0,
    "high": 3.0, "unit": "bits/byte", "better": "lower", "n": 2, "rank": [1, 1],
    "signature": "text=1f;protocol=likelihood/1;limit=none",
}  # fmt: skip
SPEED = {**SCORE, "task": "speed", "signature": "text=1f;protocol=speed/1;prompt=256"}
SAMPLE = {"id": "a", "bytes": 3, "input": "abc", "output": None, "statistics": {"bits": [7.5, 3]}}


def run_folder(place: Path, **changes: object) -> Path:
    task = str(changes.get("task", "letters"))
    score = {**SCORE, **changes}
    model = {"name": "m", "parameters": 3, "training": {"steps": 2, "curve": [[1, 2.0]]}}
    record = {
        "models": [model],
        "scores": [score, {**SPEED, "value": hash(place)}],
        "failures": [],
        "notes": {"cells": {"m": [task, "speed"]}},
    }
    (place / "samples/m").mkdir(parents=True)
    (place / "run.json").write_text(json.dumps(record))
    (place / f"samples/m/{task}.jsonl").write_text(json.dumps(SAMPLE) + "\n")
    return place


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("value", 2.5 + 1e-12, True),
        ("value", 2.5 + 1e-8, False),
        ("value", "inf", False),
        ("high", None, False),
        ("n", 3, False),
        ("rank", [1, 2], False),
        ("charged", {"token": 1.0}, False),
        ("charged", None, True),
        ("signature", SCORE["signature"] + ";words=whitespace", False),
    ],
)
def test_a_score_that_moved_is_found(tmp_path: Path, field: str, value: object, same: bool) -> None:
    old, new = run_folder(tmp_path / "old"), run_folder(tmp_path / "new", **{field: value})
    assert compare_runs.main([str(old), str(new)]) == (0 if same else 1)
    assert compare_runs.main([str(old), str(new), "--ignore", field]) == 0


def test_a_renamed_task_and_protocol_are_the_same(tmp_path: Path) -> None:
    sign = "text=1f;protocol={};limit=none"
    old = run_folder(tmp_path / "old", signature=sign.format("choice/1"))
    new = run_folder(
        tmp_path / "new", task="target-domain", signature=sign.format("multiple-choice/1")
    )
    assert compare_runs.main([str(old), str(new), "--rename", "letters=target-domain"]) == 0
    assert compare_runs.main([str(old), str(new)]) == 1


def test_a_sample_or_a_curve_that_moved_is_found(tmp_path: Path) -> None:
    old, new = run_folder(tmp_path / "old"), run_folder(tmp_path / "new")
    assert list(compare_runs.differences(old, new)) == []
    samples = new / "samples/m/letters.jsonl"
    samples.write_text(json.dumps({**SAMPLE, "statistics": {"bits": [7.6, 3]}}) + "\n")
    (new / "run.json").write_text(
        (new / "run.json").read_text().replace("[[1, 2.0]]", "[[1, 2.1]]")
    )
    found = list(compare_runs.differences(old, new))
    assert len(found) == 2
    assert "curve [[1, 2.0]] -> [[1, 2.1]]" in found[0]
    assert "samples of m letters a: statistics" in found[1]
    samples.unlink()
    assert "only in the old run" in list(compare_runs.differences(old, new))[1]
