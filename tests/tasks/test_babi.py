"""Questions about little stories, real ones (bAbI, Weston et al. 2015): what a transformer of stage
4 learns from a thousand of them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.run_helpers import llmbench, run_json

SHARED = Path(__file__).parents[3] / "shared" / "data" / "babi"
ROOT = Path(__file__).parents[2]


def program() -> str:
    """The one that docs/recipes.md has for bAbI's files."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    return next(
        code
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        if "def questions" in code
    )


def test_the_files_become_pairs_of_which_the_questions_answer_ends_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    story = [
        "1 Mary moved to the bathroom.",
        "2 John went to the hallway.",
        "3 Where is Mary? \tbathroom\t1",
    ]
    lines = [*story, "1 Sandra went to the office.", "2 Where is Sandra? |office|1"]
    for part in ("train", "test"):
        (tmp_path / f"qa1_{part}.txt").write_text("\n".join(lines) + "\n")
    exec(compile(program(), "recipe", "exec"), {"FILES": str(tmp_path / "qa1_{}.txt")})
    asked = [json.loads(line) for line in (tmp_path / "babi-test.jsonl").read_text().splitlines()]
    assert asked == [
        {
            "given": "Mary moved to the bathroom. John went to the hallway. Where is Mary?",
            "text": " bathroom\n",
        },
        {"given": "Sandra went to the office. Where is Sandra?", "text": " office\n"},
    ]
    learnt = [json.loads(line) for line in (tmp_path / "babi-train.jsonl").read_text().splitlines()]
    assert len(learnt) == 40
    person = re.compile(r"(\w+) (?:moved|went) to the (\w+)\.")
    for row in learnt:  # renamed, and still true
        places = dict(person.findall(row["given"]))
        asked_about = re.search(r"Where is (\w+)", row["given"])[1]
        assert row["text"] == f" {places[asked_about]}\n"
    assert len({row["given"] for row in learnt}) > 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_a_transformer_answers_nearly_all_of_a_thousand_new_questions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(
        compile(program(), "recipe", "exec"),
        {"FILES": str(SHARED / "qa1_single-supporting-fact_{}.txt")},
    )
    files = ("--data", "babi=babi-train.jsonl", "--data", "babi_test=babi-test.jsonl")
    done = llmbench(
        "run",
        str(ROOT / "suites" / "babi.yaml"),
        "--only",
        "transformer-decoder",
        *files,
        "--out",
        "out",
        cwd=tmp_path,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    (score,) = [
        row for row in run_json(tmp_path / "out")["scores"] if row["metric"] == "exact_match"
    ]
    assert score["n"] == 1000
    assert score["value"] >= 0.95
