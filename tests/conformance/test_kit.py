"""The kit: honest adapters fail nothing, each saboteur is caught by the checks meant for it, and
nothing passes for the wrong reason.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from support import saboteurs, small_checkpoints, zoo
from support import saboteurs_conditioning as saboteurs_of_what_is_given
from support import saboteurs_engines as broken_engines
from support import saboteurs_generation as saboteurs_that_speak
from support import saboteurs_sources as saboteurs_that_read

from llmbench.adapter import BuildContext
from llmbench.conformance.certificates import (
    LEVELS,
)
from llmbench.conformance.check import Check, Failed, Skip, Subject
from llmbench.conformance.checks import reproducibility
from llmbench.conformance.kit import CHECKS, Result, certificate, find_checks, run
from llmbench.data.loading import load
from llmbench.plan.resolved_model import make_adapter, resolve_model

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


def test_an_honest_reader_of_sources_fails_nothing():
    reader = saboteurs_that_read.Reader
    results = list(run(Subject(reader(), reader)))
    assert not [(result.name, result.sent, result.came) for result in results if result.bad]
    passed = {result.name for result in results if result.state == "passed"}
    assert passed >= {"target-encoding", "own-loss", "source-text"}


@pytest.mark.parametrize("cls", [zoo.OnMacsGpu, broken_engines.WrongOnAMacsGpu])
def test_a_model_on_the_processor_is_asked_on_a_macs_gpu_too(cls, monkeypatch):
    monkeypatch.setattr(reproducibility, "has_cuda", lambda: False)
    monkeypatch.setattr(reproducibility, "has_mps", lambda: True)

    def another():
        return cls("cpu")

    (result,) = run(Subject(another(), another), find_checks(["elsewhere"]))
    if cls is zoo.OnMacsGpu:
        assert result.tried == "float64 on cpu, float32 on mps"
    else:
        assert result.bad
        assert "bits in float32 on mps" in result.came


def test_a_module_in_training_mode_is_found():
    model = zoo.Windowed()
    model.net.train()
    (result,) = run(Subject(model), find_checks(["determinism"]))
    assert result.came == "net is in training mode"


def test_the_zoo_has_at_least_a_dozen_animals_and_every_check_catches_one():
    assert len(zoo.ZOO) >= 30
    company = (
        saboteurs,
        saboteurs_of_what_is_given,
        saboteurs_that_speak,
        saboteurs_that_read,
        broken_engines,
    )
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
# --------------------------------------------------------------------------------------------------


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
