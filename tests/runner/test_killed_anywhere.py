"""A run that is killed at any instant, with all its processes, ends as one that was not killed.

A model in which a run dies twice without a new cell is left out, so that one that kills the machine
does not stop all others: every other kill waits for a cell.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.run_helpers import MODELS, llmbench, with_support

pytest.importorskip("lm_eval")
from support.lm_eval_tasks import WORDS, write_tasks

KILLS = 20
SUITE = {
    "name": "ten",
    "version": 1,
    "texts": {
        "train": {"source": "train.txt"},
        "test": {"source": "test.jsonl"},
        "questions": {"source": "questions.jsonl"},
        "pairs": {"source": "pairs.jsonl"},
    },
    "tasks": [
        {"task": "likelihood", "text": "test"},
        {"task": "likelihood", "name": "rolling", "text": "test", "window": "rolling"},
        {"task": "multiple-choice", "text": "questions", "group": "subject"},
        {
            "task": "multiple-choice",
            "name": "letters",
            "text": "questions",
            "candidates": "letters",
        },
        {"task": "last-word", "text": "test"},
        {"task": "answer", "text": "pairs", "metrics": ["exact_match", "f1"], "max_bytes": 12},
        {"task": "translation", "text": "pairs", "metrics": ["chrf"], "max_bytes": 12},
        {"task": "continuation", "text": None, "prompts": ["The "], "max_bytes": 20},
        {"task": "lm-eval", "include_path": "tasks", "tasks": ["my_choice"]},
        {"task": "conditional", "text": "pairs"},
    ],
    "models": ["uniform-bytes", "byte-ngram", "zlib", "bz2", "lzma", "my_models.py:Good"],
}


def write_rows(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The suite and its data, made here."""
    folder, draw = tmp_path_factory.mktemp("killed"), random.Random(5)
    say = lambda count: " ".join(draw.choice(WORDS) for _ in range(count))  # noqa: E731
    (folder / "ten.yaml").write_text(yaml.safe_dump(SUITE))
    (folder / "train.txt").write_text("\n".join(say(9) for _ in range(60)))
    (folder / "my_models.py").write_text(MODELS)
    write_rows(folder / "test.jsonl", ({"id": f"d{n}", "text": say(12)} for n in range(12)))
    questions = [{"id": f"q{n}", "given": say(4), "subject": WORDS[n % 3]} for n in range(15)]
    for row in questions:
        row |= {"choices": draw.sample(WORDS, 3), "gold": draw.randrange(3)}
    write_rows(folder / "questions.jsonl", questions)
    pairs = ({"id": f"p{n}", "given": say(4), "text": say(2)} for n in range(8))
    write_rows(folder / "pairs.jsonl", pairs)
    write_tasks(folder / "tasks")
    return folder


def run_whole(place: Path, out: str) -> float:
    """Run to the end, and return the seconds that it took."""
    began = time.monotonic()
    done = llmbench("run", "ten.yaml", "--out", out, cwd=place, timeout=900)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def count_cells(place: Path, out: str) -> int:
    return len(list((place / out / "cells").glob("*/*.json")))


def kill_within(place: Path, out: str, seconds: float, waits_for_cell: bool) -> bool:
    """Start or resume the run, and kill all its processes after so long, or so long after the next
    cell; return whether it was at work.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "llmbench", "run", "ten.yaml", "--out", out],
        cwd=place,
        env=with_support(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = count_cells(place, out)
    while waits_for_cell and count_cells(place, out) == before and process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    is_at_work = process.poll() is None
    if is_at_work:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return is_at_work


def read_board(place: Path, out: str) -> str:
    """The Markdown board without what tells one run from another: its time, and checks' seconds."""
    text = (place / out / "leaderboard.md").read_text()
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d [A-Z]+", "TIME", text)
    return re.sub(r"\d+\.\d s\b", "SECONDS", text)


def read_samples(place: Path, out: str) -> dict[str, bytes]:
    """The bytes of all samples."""
    folder = place / out / "samples"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.slow  # as many runs as kills
@pytest.mark.timeout(3600)
def test_a_run_killed_at_twenty_instants_ends_as_one_that_was_never_killed(place):
    seconds = run_whole(place, "whole")
    assert len(read_samples(place, "whole")) > 40
    draw, outs, kills = random.Random(20), ["killed-0"], 0
    for _ in range(3 * KILLS):  # one that ends by itself is no kill
        waits_for_cell = kills % 2 == 1
        share = draw.uniform(0.0, 0.03) if waits_for_cell else draw.uniform(0.0, 0.25)
        if kill_within(place, outs[-1], share * seconds, waits_for_cell):
            kills += 1
        else:
            outs.append(f"killed-{len(outs)}")
        if kills == KILLS:
            break
    assert kills == KILLS
    for out in outs:
        run_whole(place, out)
        assert read_board(place, out) == read_board(place, "whole"), out
        assert read_samples(place, out) == read_samples(place, "whole"), out
