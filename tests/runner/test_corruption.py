"""What is read back is what was written: a flipped bit or digit is refused or computed again."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench.errors import UsageError
from llmbench.results.samples import open_results

MODEL = """\
name: small
adapter: network
network: {class: "llmbench.models.networks.recurrent:RNN", arguments: {embedding: 8, width: 8}}
recipe: {steps: 4, batch: 2, length: 8, evaluations: 1}
"""
NOT_READ = {"worker.log", ".lock", "leaderboard.html", "leaderboard.md", "leaderboard.csv"}
NOT_READ |= {"leaderboard.svg"}
ARGUMENTS = ("run", "tiny.yaml", "--only", "byte-ngram", "--model", "small.yaml")


def prepare(place: Path) -> Path:
    """A folder with a run that has trained a network, its cache within."""
    folder(place)
    (place / "small.yaml").write_text(MODEL)
    done = llmbench(*ARGUMENTS, "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    return place


def find_files(*roots: Path) -> list[Path]:
    """Every file that is read back."""
    return sorted(
        f for root in roots for f in root.rglob("*") if f.is_file() if f.name not in NOT_READ
    )


def flip(raw: bytes, rng: random.Random) -> bytes:
    """The bytes with a bit flipped, or, of a text, sometimes a digit changed."""
    damaged = bytearray(raw)
    digits = [i for i, byte in enumerate(raw) if 48 <= byte < 58]
    if rng.random() < 0.5 and digits:
        at = rng.choice(digits)
        damaged[at] = 48 + (damaged[at] - 48 + rng.randrange(1, 10)) % 10
    else:
        damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


@pytest.mark.slow
def test_a_changed_cell_is_filled_again_and_a_board_of_it_refused(tmp_path):
    place = folder(tmp_path)
    arguments = ("run", "tiny.yaml", "--only", "uniform-bytes", "--only", "zlib", "--out", "out")
    assert llmbench(*arguments, cwd=place).returncode == 0
    whole = run_json(place / "out")["scores"]
    samples, columns, charges, cell = (
        place / "out" / name
        for name in (
            "samples/uniform-bytes/likelihood.jsonl",
            "samples/uniform-bytes/likelihood.parquet",
            "charges/uniform-bytes/likelihood.parquet",
            "cells/zlib/likelihood.json",
        )
    )
    for file in (samples, columns, charges):
        raw = file.read_bytes()
        file.write_bytes(flip(raw, random.Random(0)))
        with pytest.raises(UsageError, match=f"{file.name}: changed since the run wrote it"):
            open_results(place / "out")
        file.write_bytes(raw)
    for file in (columns, cell):
        file.write_bytes(flip(file.read_bytes(), random.Random(0)))
    done = llmbench(*arguments, cwd=place)
    assert done.returncode == 0
    assert done.stderr.count("likelihood: done\n") == 2
    assert run_json(place / "out")["scores"] == whole
    open_results(place / "out")


@pytest.mark.slow
def test_four_hundred_flips_over_every_kind_of_file_are_all_noticed(tmp_path, monkeypatch):
    """Of each file that is read back: the readers refuse it, or do as if it were not there."""
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    place = prepare(tmp_path)
    files = find_files(place / "out", place / "cache")
    kinds = {f.relative_to(place).parts[:2] for f in files}
    assert len(kinds) >= 8, kinds
    rng, missed = random.Random(0), []
    for _ in range(400):
        file = rng.choice(files)
        raw = file.read_bytes()
        file.write_bytes(flip(raw, rng))
        if is_accepted(place, file):
            missed.append(file.relative_to(place).as_posix())
        file.write_bytes(raw)
    assert missed == []
    assert all(is_accepted(place, file) for file in files)


def is_accepted(place: Path, file: Path) -> bool:
    """Whether what reads this file back takes it for what was written."""
    from llmbench import storage
    from llmbench.results.cell import read_cell
    from llmbench.storage import is_intact

    part, name, *_ = file.relative_to(place).parts
    if (part, name) == ("out", "cells"):
        return read_cell(file) is not None
    if part == "cache" and name in ("networks", "checkpoints"):
        folder = file.parent
        copy = place / "copy"
        shutil.copytree(folder, copy)
        try:
            return is_intact(copy)  # which removes a damaged one
        finally:
            shutil.rmtree(copy, ignore_errors=True)
    if part == "out" and name in ("samples", "charges", "events", "run.json"):
        try:
            open_results(place / "out")
        except UsageError:
            return False
        return True
    try:
        storage.read_sealed(file)
    except storage.Damaged:
        return False
    return True
