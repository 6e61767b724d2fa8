"""A long cell is resumed in the middle. Each test starts real workers."""

from __future__ import annotations

import os

import pytest
from support.long_cells import DOCUMENTS, read_board, read_scored, run, write_model, write_suite
from support.run_helpers import run_json


@pytest.fixture
def place(tmp_path):
    write_suite(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_killed_cell_computes_at_most_one_shard_again(place):
    write_model(place, parent=True)
    assert run(place, out="whole").returncode == 0
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
    assert run(place, out="whole").returncode == 0
    assert read_board(place, "out") == read_board(place, "whole")
