"""Certificates: merged, kept by weights and device, and shown by a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench import storage
from llmbench.conformance.certificates import LEVELS, merge, of_run, of_weights, read, version
from llmbench.results import record
from llmbench.runner import assemble
from llmbench.runner.folder.run_folder import RunFolder

ROOT = Path(__file__).parents[2]


def proofs(*states, fingerprint="f", device="cpu"):
    rows = {
        level: {"state": state, "why": "", "tried": [], "seconds": 0.0}
        for level, state in zip(LEVELS, states, strict=True)
    }
    head = {"version": version(), "fingerprint": fingerprint, "device": device}
    return {**head, "levels": rows, "noise": 0.0}


@pytest.mark.parametrize(
    ("one", "other", "want"),
    [
        (("earned", "earned", "not tested"), ("earned", "earned", "earned"), ["earned"] * 3),
        (("earned", "earned", "earned"), ("refused", "refused", "refused"), ["refused"] * 3),
        (
            ("not tested", "not tested", "not tested"),
            ("earned", "not tested", "not tested"),
            ["earned", "not tested", "not tested"],
        ),
    ],
)
def test_two_certificates_of_the_same_weights_are_joined_and_a_refusal_stays(one, other, want):
    for first, second in ((one, other), (other, one)):
        assert [
            row["state"] for row in merge(proofs(*first), proofs(*second))["levels"].values()
        ] == want
    assert merge(proofs(*one), None) == merge(None, proofs(*one)) == proofs(*one)
    assert merge(None, None) is None


def test_a_certificate_of_other_weights_or_devices_or_other_checks_or_a_torn_one_is_none(tmp_path):
    file = tmp_path / "c.json"
    assert read(file, "f", "cpu") is None
    storage.write_sealed(file, proofs("earned", "earned", "earned"))
    assert read(file, "f", "cpu")["levels"]["A3"]["state"] == "earned"
    assert read(file, "g", "cpu") is None
    assert read(file, "f", "cuda") is None
    storage.write_sealed(file, {**proofs("earned", "earned", "earned"), "version": "older"})
    assert read(file, "f", "cpu") is None
    file.write_text(file.read_text()[:40])
    assert read(file, "f", "cpu") is None


def test_a_model_has_what_its_weights_have_proven_on_its_own_device(tmp_path):
    made = SimpleNamespace(out=tmp_path, options=SimpleNamespace(cache=tmp_path / "cache"))
    found = {"cpu": ("earned", "earned", "not tested"), "cuda": ("refused", "refused", "refused")}
    for device, states in found.items():
        storage.write_sealed(
            of_weights(tmp_path / "cache", "f", device), proofs(*states, device=device)
        )
    storage.write_sealed(of_run(tmp_path, "m"), proofs("not tested", "not tested", "not tested"))
    for device, states in found.items():
        row = record.ModelRow(name="m", fingerprint="f", device=device)
        with (tmp_path / ".lock").open("w") as lock:
            assemble.add_certificate(RunFolder(made, lock), row)
        assert tuple(proof.state for proof in row.certificate.levels.values()) == states


@pytest.mark.slow
def test_a_run_proves_its_models_and_marks_a_saboteur_without_touching_its_cells(tmp_path):
    place = folder(tmp_path)
    for file in ("toys.py", "zoo.py", "saboteurs.py"):
        shutil.copy(ROOT / "tests" / "support" / file, place)
    command = (
        "run",
        "tiny.yaml",
        "--model",
        "saboteurs.py:NatsForBits",
        "--model",
        "my_models.py:Good",
        "--out",
        "out",
    )
    done = llmbench(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    record = run_json(place / "out")
    states = {
        m["name"]: (
            m["certificate"] and [proof["state"] for proof in m["certificate"]["levels"].values()]
        )
        for m in record["models"]
    }
    assert states == {
        "uniform-bytes": ["earned", "earned", "not tested"],
        "byte-ngram": ["earned", "earned", "not tested"],
        "zlib": ["not tested"] * 3,
        "NatsForBits": ["refused"] * 3,
        "Good": ["earned", "earned", "not tested"],
    }
    assert {file.stem for file in (place / "out" / "cells" / "NatsForBits").glob("*.json")} == {
        "likelihood",
        "continuation",
    }
    assert not [failure for failure in record["failures"] if failure["model"] == "NatsForBits"]
    board = (place / "out" / "leaderboard.md").read_text().replace("\\", "")
    assert (
        "NatsForBits failed certificate A1, so its numbers cannot be trusted and it is not ranked: "
        in board
    )
    ranks = {s["model"]: s["rank"] for s in record["scores"] if s["metric"] == "bits_per_byte"}
    assert ranks["NatsForBits"] is None
    assert ranks["Good"] is not None
    assert "| A1 A2 |" in board
    honest = next(m for m in record["models"] if m["name"] == "Good")
    assert honest["certificate"]["fingerprint"] == honest["fingerprint"]
    assert honest["certificate"]["levels"]["A1"]["tried"]
    assert honest["certificate"]["levels"]["A1"]["seconds"] > 0

    assert llmbench("check", "my_models.py:Good", cwd=place).returncode == 0
    assert llmbench("check", "uniform-bytes", cwd=place).returncode == 0
    assert llmbench(*command, cwd=place).returncode == 0
    states = {
        m["name"]: m["certificate"]["levels"]["A3"]["state"]
        for m in run_json(place / "out")["models"]
    }
    assert states["Good"] == states["uniform-bytes"] == "earned"
    assert states["NatsForBits"] == "refused"


@pytest.mark.slow
def test_what_weights_have_proven_is_not_proven_again_in_another_run_on_the_same_device(
    tmp_path, monkeypatch
):
    place = tmp_path / "cache"
    monkeypatch.setenv("LLMBENCH_CACHE", str(place))
    tmp_path = folder(tmp_path)
    assert (
        llmbench(
            "run", "tiny.yaml", "--only", "byte-ngram", "--out", "one", cwd=tmp_path
        ).returncode
        == 0
    )
    (kept,) = (place / "certificates").glob("*.json")
    proof = storage.read_sealed(kept)
    assert {level["state"] for name, level in proof["levels"].items() if name != "A3"} == {"earned"}
    proof["levels"]["A1"]["tried"] = ["in the run before"]
    storage.write_sealed(kept, proof)
    assert (
        llmbench(
            "run", "tiny.yaml", "--only", "byte-ngram", "--out", "two", cwd=tmp_path
        ).returncode
        == 0
    )
    (model,) = run_json(tmp_path / "two")["models"]
    assert model["certificate"]["levels"]["A1"]["tried"] == ["in the run before"]
    proof["device"] = "cuda"
    storage.write_sealed(kept, proof)
    assert (
        llmbench(
            "run", "tiny.yaml", "--only", "byte-ngram", "--out", "three", cwd=tmp_path
        ).returncode
        == 0
    )
    proven = json.loads((tmp_path / "three/certificates/byte-ngram.json").read_text())
    assert proven["levels"]["A1"]["tried"] != ["in the run before"]
