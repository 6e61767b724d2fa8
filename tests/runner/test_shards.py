"""A long cell goes on where it was killed. Each test starts real workers."""

from __future__ import annotations

import json
import os

import pytest
from support.run_helpers import llmbench, run_json

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
                os.remove("stop")
                os.kill(os.getppid() if {parent} else os.getpid(), signal.SIGKILL)
                signal.pause()
            n = len(passage.text)
            at = np.arange(n)
            yield Ledger(
                at, at + 1, np.full(n, 2.0), np.full(n, TOKEN, dtype=np.uint8), n, passage.id
            )
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "long.yaml").write_text(SUITE)
    rows = [{"id": f"d{i}", "text": f"{i:03} and so on " * 48} for i in range(DOCUMENTS)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def write_model(place, parent, fingerprint="f" * 64):
    text = MODEL.replace("{parent}", str(parent)).replace("{fingerprint}", fingerprint)
    (place / "long_model.py").write_text(text)


def run(place, out="out"):
    return llmbench("run", "long.yaml", "--model", "long_model.py:Long", "--out", out, cwd=place)


def read_scored(place):
    """The documents that were scored since this was asked last, without those of proofs."""
    file = place / "scored.txt"
    scored = [name for name in file.read_text().splitlines() if name.startswith("d")]
    file.unlink()
    return scored


def read_board(place, out):
    done = llmbench("report", out, "--format", "csv", cwd=place)
    assert done.returncode == 0, done.stderr
    samples = sorted((place / out / "samples").rglob("*.*"))
    return done.stdout, [file.read_bytes() for file in samples]


def test_a_killed_cell_computes_at_most_one_shard_again(place):
    write_model(place, parent=True)
    assert run(place, "whole").returncode == 0
    assert sorted(set(read_scored(place))) == sorted(f"d{i}" for i in range(DOCUMENTS))
    (place / "stop").write_text("d16")
    killed = run(place)
    assert killed.returncode == -9, killed.stderr
    assert len(list((place / "out" / "shards").rglob("*.npz"))) == 5
    before = read_scored(place)
    resumed = run(place)
    assert resumed.returncode == 0, resumed.stderr
    again = set(before) & set(read_scored(place))
    assert again == {"d15", "d16"}
    assert read_board(place, "out") == read_board(place, "whole")
    assert not list((place / "out" / "shards").rglob("*.npz"))


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_goes_on_as_long_as_shards_are_written(place):
    write_model(place, parent=True)
    for document in ("d4", "d10", "d16", "d22"):
        (place / "stop").write_text(document)
        assert run(place).returncode == -9
    done = run(place)
    assert done.returncode == 0, done.stderr
    assert run_json(place / "out")["failures"] == []


@pytest.mark.slow
def test_shards_of_other_weights_are_not_taken(place):
    write_model(place, parent=True)
    (place / "stop").write_text("d16")
    assert run(place).returncode == -9
    read_scored(place)
    write_model(place, parent=True, fingerprint="e" * 64)
    assert run(place).returncode == 0
    assert set(read_scored(place)) == {f"d{i}" for i in range(DOCUMENTS)}


@pytest.mark.slow
def test_a_forged_shard_is_not_believed(place):
    write_model(place, parent=True)
    (place / "stop").write_text("d16")
    assert run(place).returncode == -9
    (file, *_) = sorted((place / "out" / "shards").rglob("*.npz"))
    os.truncate(file, 100)
    assert run(place).returncode == 0
    assert run(place, "whole").returncode == 0
    assert read_board(place, "out") == read_board(place, "whole")
