"""The kit: honest adapters fail nothing, each saboteur is caught by the checks meant for it, and
nothing passes for the wrong reason.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import saboteurs, small_checkpoints, zoo
from support import saboteurs_conditioning as saboteurs_of_what_is_given
from support import saboteurs_generation as saboteurs_that_speak
from support.run_helpers import folder, llmbench, run_json

from llmbench import storage, testing
from llmbench.adapter import BuildContext
from llmbench.conformance.certificates import (
    LEVELS,
    merge,
    of_run,
    of_weights,
    read,
    version,
)
from llmbench.conformance.check import Check, Failed, Skip, Subject
from llmbench.conformance.kit import CHECKS, Result, certificate, find_checks, run
from llmbench.data.loading import load
from llmbench.errors import UsageError
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.results import record
from llmbench.runner import assemble

ROOT = Path(__file__).parents[2]
NAMES = [check.name for check in CHECKS]


def byte_ngram():
    return make_adapter(
        resolve_model("byte-ngram"),
        BuildContext(train=load("train", "fables", select={"part": "letters", "split": "valid"})),
    )


HONEST = {**zoo.honest(), "byte-ngram": byte_ngram}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_adapter_fails_nothing_and_earns_everything(name):
    results = list(run(Subject(HONEST[name](), HONEST[name])))
    assert [result.name for result in results] == NAMES
    assert not [(result.name, result.sent, result.came) for result in results if result.bad]
    assert {
        level: row["state"] for level, row in certificate(results, "f")["levels"].items()
    } == dict.fromkeys(LEVELS, "earned")


@pytest.mark.parametrize(
    ("name", "earned"),
    [("gpt2", 3), ("llama", 3), ("bert", 0), ("roberta", 0), ("t5", 0), ("bart", 1)],
)
def test_checkpoints_fail_nothing(folders, name, earned):
    def another():
        return small_checkpoints.load(folders[name])

    results = list(run(Subject(another(), another)))
    assert not [(result.name, result.sent, result.came) for result in results if result.bad]
    states = [row["state"] for row in certificate(results, "f")["levels"].values()]
    assert states == ["earned"] * earned + ["not tested"] * (3 - earned)
    assert next(result for result in results if result.name == "pseudo").state == (
        "passed" if name in ("bert", "roberta") else "skipped"
    )


@pytest.mark.parametrize("name", zoo.ZOO)
def test_a_saboteur_is_caught_by_the_checks_meant_for_it(name):
    cls = zoo.ZOO[name]
    results = list(run(Subject(cls(), cls), find_checks(cls.caught_by)))
    assert {result.name for result in results if result.bad} == set(cls.caught_by)
    for result in results:
        assert result.came
        assert result.cause
    levels = certificate(results, "f")["levels"]
    meant = {check.earns or check.bars for check in CHECKS if check.name in cls.caught_by} - {None}
    for level in meant:
        assert levels[level]["state"] == "refused"


def test_a_module_in_training_mode_is_found():
    model = zoo.Windowed()
    model.net.train()
    (result,) = run(Subject(model), find_checks(["determinism"]))
    assert result.came == "net is in training mode"


def test_the_zoo_has_at_least_a_dozen_animals_and_every_check_catches_one():
    assert len(zoo.ZOO) >= 30
    company = (saboteurs, saboteurs_of_what_is_given, saboteurs_that_speak)
    assert {cls.__module__ for cls in zoo.ZOO.values()} == {module.__name__ for module in company}
    assert all(cls.__doc__ for cls in zoo.ZOO.values())
    assert {check for cls in zoo.ZOO.values() for check in cls.caught_by} >= set(NAMES)


def test_the_table_of_the_docs_is_that_of_the_zoo():
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert rows == [
        (name, " ".join(cls.__doc__.split()), ", ".join(f"`{check}`" for check in cls.caught_by))
        for name, cls in zoo.ZOO.items()
    ]
    listed = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|$", page, re.MULTILINE)
    assert listed == [(check.name, check.rule) for check in CHECKS]


# What must not pass
# -----------------------------------------------------------------------------------------------------


def check(function, **how):
    return Check("byte-coverage", "a rule", function, **how)


def raises(subject):
    raise ValueError("oh")


def skips(subject):
    raise Skip("not here")


def hangs(subject):
    threading.Event().wait(60)


def passes(subject):
    return "nothing"


def fails(subject):
    raise Failed("a", "b", "c")


@pytest.mark.parametrize(
    ("function", "state", "level"),
    [(raises, "error", "refused"), (fails, "failed", "refused"), (skips, "skipped", "not tested")],
)
def test_what_raised_failed_or_was_skipped_earns_nothing(function, state, level):
    honest = Subject(zoo.Windowed())
    results = [
        *run(honest, [check(function)]),
        *run(honest, [one for one in CHECKS if one.name != "byte-coverage"]),
    ]
    assert results[0].state == state
    found = certificate(results, "f")["levels"]
    assert found["A1"]["state"] == level
    assert found["A2"]["state"] != "earned"
    assert found["A3"]["state"] != "earned"


def test_a_check_that_hangs_is_ended_and_proves_nothing_either_way():
    results = list(run(Subject(zoo.Windowed()), [check(hangs), check(passes)], timeout=0.2))
    assert [result.state for result in results] == ["timeout", "passed"]
    assert certificate(results, "f")["levels"]["A1"]["state"] == "not tested"


def test_a_certificate_without_its_checks_is_not_earned():
    assert {row["state"] for row in certificate([], "f")["levels"].values()} == {"not tested"}
    passed = Result("decodable", "rule", "passed", 0.1, tried="much")
    assert certificate([passed], "f")["levels"]["A3"]["state"] == "not tested"


def proofs(*states, fingerprint="f", device="cpu"):
    rows = {
        level: {"state": state, "why": "", "tried": [], "seconds": 0.0}
        for level, state in zip(LEVELS, states, strict=True)
    }
    return {"version": version(), "fingerprint": fingerprint, "device": device, "levels": rows}


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
    file.write_text(json.dumps(proofs("earned", "earned", "earned")))
    assert read(file, "f", "cpu")["levels"]["A3"]["state"] == "earned"
    assert read(file, "g", "cpu") is None
    assert read(file, "f", "cuda") is None
    file.write_text(json.dumps({**proofs("earned", "earned", "earned"), "version": "older"}))
    assert read(file, "f", "cpu") is None
    file.write_text(file.read_text()[:40])
    assert read(file, "f", "cpu") is None


def test_a_model_has_what_its_weights_have_proven_on_its_own_device(tmp_path):
    made = SimpleNamespace(out=tmp_path, options=SimpleNamespace(cache=tmp_path / "cache"))
    found = {"cpu": ("earned", "earned", "not tested"), "cuda": ("refused", "refused", "refused")}
    for device, states in found.items():
        storage.write_json(
            of_weights(tmp_path / "cache", "f", device), proofs(*states, device=device)
        )
    storage.write_json(of_run(tmp_path, "m"), proofs("not tested", "not tested", "not tested"))
    for device, states in found.items():
        row = record.ModelRow(name="m", fingerprint="f", device=device)
        assemble.add_certificate(made, row)
        assert tuple(proof.state for proof in row.certificate.levels.values()) == states


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


# In a project's own tests
# -------------------------------------------------------------------------------------------------

OWN = """\
import sys; sys.path.insert(0, {tests!r})
from support.saboteurs_generation import DeafToStops, Windowed
from llmbench.testing import conformance

@conformance({model}, expected_failures={expected!r})
def test_mine(check):
    check()
"""


def own_tests(tmp_path, model, expected):
    (tmp_path / "test_mine.py").write_text(
        OWN.format(tests=str(ROOT / "tests"), model=model, expected=expected)
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-rsxf",
        "test_mine.py",
    ]
    return subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )


def test_the_kit_runs_in_a_projects_own_tests_and_an_expected_failure_keeps_its_reason(tmp_path):
    done = own_tests(tmp_path, "DeafToStops", {"limits": "it has no ears"})
    assert done.returncode == 0, done.stdout
    assert f"{len(NAMES) - 2} passed, 1 skipped, 1 xfailed" in done.stdout
    assert "it has no ears" in done.stdout


def test_a_failure_says_the_rule_what_was_sent_what_came_and_why(tmp_path):
    done = own_tests(tmp_path, "DeafToStops", {})
    assert done.returncode == 1
    assert "limits: length limits and stop strings are respected" in done.stdout
    assert "sent: max_bytes=7" in done.stdout
    assert "likely cause: characters or tokens are counted instead of bytes" in done.stdout


def test_an_expected_failure_that_does_not_come_is_one(tmp_path):
    done = own_tests(tmp_path, "Windowed", {"limits": "it has no ears", "pseudo": "it does not"})
    assert done.returncode == 1
    assert "limits was expected to fail (it has no ears) and passed" in done.stdout
    assert "pseudo was expected to fail (it does not) and is skipped" in done.stdout


def test_a_misspelt_check_and_a_failure_without_a_reason_are_errors():
    with pytest.raises(UsageError, match=r"no check 'limit'.*did you mean 'limits'"):
        testing.conformance(zoo.Windowed, expected_failures={"limit": "why"})
    with pytest.raises(UsageError, match="needs a reason"):
        testing.conformance(zoo.Windowed, expected_failures={"limits": " "})
    with pytest.raises(UsageError, match="no check 'til'"):
        find_checks(["til"])


@testing.conformance("uniform-bytes")
def test_a_spec_will_do_for_the_decorator(check):
    check()


# The command
# --------------------------------------------------------------------------------------------------------------


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
    proof = json.loads(kept.read_text())
    assert {level["state"] for name, level in proof["levels"].items() if name != "A3"} == {"earned"}
    proof["levels"]["A1"]["tried"] = ["in the run before"]
    kept.write_text(json.dumps(proof))
    assert (
        llmbench(
            "run", "tiny.yaml", "--only", "byte-ngram", "--out", "two", cwd=tmp_path
        ).returncode
        == 0
    )
    (model,) = run_json(tmp_path / "two")["models"]
    assert model["certificate"]["levels"]["A1"]["tried"] == ["in the run before"]
    proof["device"] = "cuda"
    kept.write_text(json.dumps(proof))
    assert (
        llmbench(
            "run", "tiny.yaml", "--only", "byte-ngram", "--out", "three", cwd=tmp_path
        ).returncode
        == 0
    )
    proven = json.loads((tmp_path / "three/certificates/byte-ngram.json").read_text())
    assert proven["levels"]["A1"]["tried"] != ["in the run before"]
