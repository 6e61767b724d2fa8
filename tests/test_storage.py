"""Files are written whole or not at all, and a changed one is noticed."""

from __future__ import annotations

import json
import random

import pytest

from llmbench import storage

DATA = {"name": "größe", "bits": [1.5, float("inf")], "deep": {"a": None, "b": "\\x"}}


def test_a_sealed_file_gives_back_what_was_written(tmp_path):
    storage.write_sealed(tmp_path / "a.json", DATA)
    assert storage.read_sealed(tmp_path / "a.json") == {**DATA, "bits": [1.5, "inf"]}
    storage.write_sealed(tmp_path / "b.json", storage.read_sealed(tmp_path / "a.json"))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_sealed_file_is_json_for_everybody(tmp_path):
    storage.write_sealed(tmp_path / "a.json", DATA)
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert list(found) == [*DATA, "digest"]


def test_every_flipped_bit_of_a_sealed_file_is_noticed(tmp_path):
    storage.write_sealed(tmp_path / "a.json", DATA)
    raw = (tmp_path / "a.json").read_bytes()
    for at in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(storage.Damaged):
            storage.check_seal(bytes(damaged), "a.json")


@pytest.mark.parametrize("cut", [0, 1, 2, 40, 90])
def test_a_sealed_file_that_was_cut_is_noticed(tmp_path, cut):
    raw = storage.seal(DATA).encode()
    with pytest.raises(storage.Damaged, match="does not end with its digest"):
        storage.check_seal(raw[: len(raw) - cut - 1], "a.json")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "kept"
    (place / "deep").mkdir(parents=True)
    (place / "weights").write_bytes(random.Random(0).randbytes(5000))
    (place / "deep" / "config.json").write_text('{"width": 64}')
    storage.seal_folder(place)
    return place


def test_a_sealed_folder_is_intact_until_a_file_changes(folder):
    storage.check_folder(folder)
    rng = random.Random(1)
    for name in ("weights", "deep/config.json", storage.SEAL):
        raw = (folder / name).read_bytes()
        for _ in range(100):
            damaged = bytearray(raw)
            damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            (folder / name).write_bytes(damaged)
            with pytest.raises(storage.Damaged):
                storage.check_folder(folder)
        (folder / name).write_bytes(raw)
    storage.check_folder(folder)


@pytest.mark.parametrize("change", ["added", "missing"])
def test_a_file_more_or_less_in_a_sealed_folder_is_noticed(folder, change):
    if change == "added":
        (folder / "more").write_text("")
    else:
        (folder / "weights").unlink()
    with pytest.raises(storage.Damaged, match="added or are missing"):
        storage.check_folder(folder)


def test_a_file_is_written_beside_its_place_and_never_elsewhere(tmp_path, monkeypatch):
    """A rename from another file system would not be atomic."""
    (tmp_path / "out").mkdir()
    seen = []
    real = storage.os.fsync
    monkeypatch.setattr(
        storage.os,
        "fsync",
        lambda handle: seen.append([f.name for f in (tmp_path / "out").iterdir()]) or real(handle),
    )
    storage.write_json(tmp_path / "out" / "a.json", {})
    assert len(seen) == 1
    assert seen[0][0].startswith(".a.json-")
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["a.json"]
