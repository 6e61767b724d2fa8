"""A class behaves the same under its name and as `module:Class`, and is planned by what it says."""

from __future__ import annotations

import json

import pytest
from support.run_helpers import MODELS, folder, llmbench, run_json

from llmbench.adapter import AdapterFacts
from llmbench.plan import registry
from llmbench.plan.resolved_model import ResolvedModel, resolve_model
from llmbench.runner import session

CARDS = {"by-name": "byte-ngram", "by-class": "llmbench.adapters.ngram:ByteNgram"}


def write_cards(place):
    """Two cards of the byte n-gram; gives the options that add them to a run."""
    for name, adapter in CARDS.items():
        (place / f"{name}.yaml").write_text(
            f"name: {name}\nadapter: {adapter}\narguments: {{order: 3}}\n"
            "estimate: {seconds_per_megabyte: 5}\n"
        )
    return [f"--model={name}.yaml" for name in CARDS] + [f"--only={name}" for name in CARDS]


@pytest.mark.parametrize("name", registry.ADAPTERS)
def test_the_registry_says_of_a_class_what_the_class_says(name):
    cls = registry.adapter_class(name)
    assert registry.FACTS[registry.ADAPTERS[name]] == AdapterFacts.of(cls)


@pytest.mark.parametrize("name", ["nano-gpt2-finetuned", "lstm", "byte-ngram"])
def test_what_is_known_of_a_model_survives_the_way_to_a_worker(name):
    model = resolve_model(name)
    assert ResolvedModel.from_json(json.loads(json.dumps(model.to_json()))) == model


@pytest.mark.slow
def test_name_and_class_are_the_same_in_a_run(tmp_path):
    place = folder(tmp_path)
    options = write_cards(place)
    plan = llmbench("run", "tiny.yaml", *options, "--dry-run", "--out", "out", cwd=place)
    assert plan.returncode == 0, plan.stderr
    rows = [line.split()[1:] for line in plan.stdout.splitlines() if " by-" in line]
    assert len(rows) == 4
    assert rows[:2] == rows[2:]
    done = llmbench("run", "tiny.yaml", *options, "--out", "out", "--offline", cwd=place)
    assert done.returncode == 0, done.stderr
    record = run_json(place / "out")
    one, other = ({**row, "name": ""} for row in record["models"])
    assert one == other
    assert one["overlap"] is not None
    assert one["certificate"]["levels"]["A1"]["state"] == "earned"
    scores = {name: [] for name in CARDS}
    for score in record["scores"]:
        scores[score["model"]].append({**score, "model": "", "rank": None, "seconds": None})
    assert scores["by-name"] == scores["by-class"]
    again = llmbench("run", "tiny.yaml", *options, "--out", "out", "--offline", cwd=place)
    assert again.stderr.count("done before") == 4


@pytest.mark.slow
def test_name_and_class_are_refused_alike_without_a_training_text(tmp_path):
    place = folder(tmp_path)
    options = write_cards(place)
    (place / "tiny.yaml").write_text(
        "name: tiny\nversion: 1\ntexts: {test: {source: test.jsonl}}\n"
        "tasks: [{task: likelihood, text: test}]\nmodels: [uniform-bytes]\n"
    )
    said = []
    for name in CARDS:
        chosen = [option for option in options if name in option]
        done = llmbench("run", "tiny.yaml", *chosen, "--dry-run", cwd=place)
        assert done.returncode == 2
        said.append(done.stderr.replace(name, "it"))
    assert "learns from a training text" in said[0]
    assert said[0] == said[1]


@pytest.mark.slow
def test_name_and_class_are_unavailable_alike_if_the_text_is_missing(tmp_path):
    place = folder(tmp_path)
    options = write_cards(place)
    suite = (place / "tiny.yaml").read_text()
    (place / "tiny.yaml").write_text(
        suite.replace("{source: train.txt}", '{source: "hub:me/learn"}')
    )
    done = llmbench("run", "tiny.yaml", *options, "--out", "out", "--offline", cwd=place)
    failures = run_json(place / "out")["failures"]
    assert {row["reason"] for row in failures} == {"unavailable"}, done.stderr
    rows = {
        name: [{**row, "model": ""} for row in failures if row["model"] == name] for name in CARDS
    }
    assert len(rows["by-name"]) == 2
    assert rows["by-name"] == rows["by-class"]


OWN = """
from llmbench.adapters.trivial import UniformBytes

class Counts(UniformBytes):
    needs_torch = False
    learns_from_text = True

    @classmethod
    def build(cls, arguments, build_context):
        build_context.require_text("train")
        return cls()
"""


@pytest.mark.slow
def test_a_class_of_ones_own_is_planned_by_its_attributes(tmp_path):
    place = folder(tmp_path)
    (place / "own.py").write_text(OWN)
    options = ("--model=own.py:Counts", "--only=Counts", "--offline")
    done = llmbench("run", "tiny.yaml", *options, "--out", "out", cwd=place)
    assert done.returncode == 0, done.stderr
    (row,) = run_json(place / "out")["models"]
    assert row["overlap"] is not None
    (place / "bare.yaml").write_text(
        "name: tiny\nversion: 1\ntexts: {test: {source: test.jsonl}}\n"
        "tasks: [{task: likelihood, text: test}]\nmodels: [uniform-bytes]\n"
    )
    done = llmbench("run", "bare.yaml", *options, "--dry-run", cwd=place)
    assert done.returncode == 2
    assert "learns from a training text" in done.stderr


def test_models_of_one_file_with_the_same_weights_have_fingerprints_of_their_own(tmp_path):
    """Certificates are kept by fingerprint: one must not have what another has earned."""
    (tmp_path / "my_models.py").write_text(MODELS)
    found = {
        name: session.load_model(f"{tmp_path / 'my_models.py'}:{name}")[1].info.fingerprint
        for name in ("Good", "Raises", "Nan")
    }
    assert len(set(found.values())) == 3
