"""A suite with one long cell, and a model that can be told to die in the middle of it."""

from __future__ import annotations

import json
import re

from support.run_helpers import llmbench

DOCUMENTS = 24

SUITE = """\
name: long
version: 1
texts:
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
models: []
"""

# so many parameters that a shard has 2,048 bytes: three documents; each byte costs 2 bits
MODEL = """\
import os, signal
import numpy as np
from llmbench.adapter import Adapter, ModelInfo
from llmbench.ledger import TOKEN, Ledger


class Long(Adapter):
    @property
    def info(self):
        return ModelInfo("long", "", "bytes", 10**13, None, None, "cpu", "{fingerprint}")

    def score(self, passages, window=None):
        for passage in passages:
            with open("scored.txt", "a") as file:
                file.write(passage.id + "\\n")
            if os.path.exists("stop") and passage.id == open("stop").read():
                {again} or os.remove("stop")
                run = int(os.environ.get("LLMBENCH_TESTS_RUN", os.getppid()))
                os.kill(run if {parent} else os.getpid(), signal.SIGKILL)
                signal.pause()
            n = len(passage.text)
            at = np.arange(n)
            yield Ledger(
                at, at + 1, np.full(n, 2.0), np.full(n, TOKEN, dtype=np.uint8), n, passage.id
            )
"""


def write_suite(place):
    (place / "long.yaml").write_text(SUITE)
    rows = [{"id": f"d{i}", "text": f"{i:03} and so on " * 48} for i in range(DOCUMENTS)]
    (place / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_model(place, parent, fingerprint="f" * 64, again=False):
    """A model that kills the run, if `parent`, or itself, once or `again` and again, where it comes
    to the document that the file `stop` names.
    """
    text = MODEL.replace("{parent}", str(parent)).replace("{fingerprint}", fingerprint)
    text = text.replace("{again}", str(again))
    (place / "long_model.py").write_text(text)


def run(place, *more, out="out"):
    model = ("--model", "long_model.py:Long")
    return llmbench("run", "long.yaml", *model, "--out", out, *more, cwd=place)


def read_scored(place):
    """The documents that were scored since this was asked last, without those of proofs."""
    file = place / "scored.txt"
    scored = [name for name in file.read_text().splitlines() if name.startswith("d")]
    file.unlink()
    return scored


def read_proof(place):
    """The passages of proofs that were scored since documents were asked for last, sorted."""
    lines = (place / "scored.txt").read_text().splitlines()
    return sorted(name for name in lines if not name.startswith("d"))


def read_board(place, out):
    """The board, whatever number of threads it was computed with, and all files of samples."""
    done = llmbench("report", out, "--format", "csv", cwd=place)
    assert done.returncode == 0, done.stderr
    board = re.sub(r"\d+ threads", "N threads", done.stdout)
    samples = sorted((place / out / "samples").rglob("*.*"))
    return board, [file.read_bytes() for file in samples]
