"""A network that one machine has trained is brought to another, and trained where that fails."""

from __future__ import annotations

from uuid import uuid4

import pytest
from support.run_helpers import folder, llmbench, run_json

from llmbench import storage
from llmbench.adapter import BuildContext
from llmbench.data.text import Document, Text
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.runner.engine import sharing
from llmbench.runner.engine.sharing import list_places, make_shared
from llmbench.training.shared_cache import SharedCache

pytest.importorskip("fsspec", reason="fsspec is not installed")

CARD = """\
name: small
adapter: network
network: {class: "llmbench.models.networks.recurrent:RNN", arguments: {embedding: 8, width: 8}}
recipe: {steps: 4, batch: 2, length: 8, evaluations: 1}
"""
TRAIN = Text("train", (Document("train", "the tap dripped and the kettle counted. " * 20),))


class Machines:
    """Machines with caches of their own, and what each had of the model before it was made."""

    def __init__(self, place, monkeypatch):
        (place / "small.yaml").write_text(CARD)
        self.place, self.model = place, resolve_model(str(place / "small.yaml"))
        self.url, self.had, self.said = f"memory://{uuid4().hex}", [], []
        monkeypatch.setattr(sharing, "make_adapter", self.make)

    def describe(self, name, since=None):
        return BuildContext(train=TRAIN, cache=self.place / name, retrain_since=since)

    def find(self, name):
        (place,) = list_places(self.model, self.describe(name))
        return place

    def make(self, model, build_context):
        (place,) = list_places(model, build_context)
        self.had.append(place.is_kept())
        return make_adapter(model, build_context)

    def ask(self, name, since=None):
        """The fingerprint of the model, as this machine has it."""
        made = make_shared(self.model, self.describe(name, since), self.url, self.said.append)
        return made.info.fingerprint


@pytest.fixture
def machines(tmp_path, monkeypatch):
    return Machines(tmp_path, monkeypatch)


def test_the_second_machine_trains_nothing(machines):
    assert machines.ask("one") == machines.ask("two")
    assert machines.had == [False, True]
    assert machines.said == []


def test_weights_that_were_tampered_with_are_trained_anew_and_replaced(machines):
    fingerprint = machines.ask("one")
    shared = SharedCache(machines.url)
    for name in shared._files.find(shared._root):
        if "/objects/" in name:
            shared._files.pipe_file(name, b"other weights")
    assert machines.ask("two") == fingerprint
    assert machines.ask("three") == fingerprint
    assert machines.had == [False, False, True]
    (line,) = machines.said
    assert line.startswith("the shared cache has damaged weights, and the model is trained: ")


def test_a_store_that_fails_costs_nothing_but_a_line(machines, monkeypatch):
    def fail(*arguments, **more):
        raise ConnectionError("no way\nthere")

    monkeypatch.setattr(SharedCache, "pull", fail)
    monkeypatch.setattr(SharedCache, "push", fail)
    assert machines.ask("one")
    assert machines.said == [
        "the shared cache cannot be read: ConnectionError: no way there",
        "the shared cache cannot be written: ConnectionError: no way there",
    ]


def test_what_is_to_be_trained_anew_is_not_brought_and_replaces_what_is_there(machines):
    machines.ask("one")
    made = (machines.find("one").folder / storage.SEAL).stat().st_mtime
    machines.ask("two", since=made + 0.001)
    assert machines.had == [False, False]
    machines.ask("three", since=made + 0.001)
    assert machines.had == [False, False, True]


def test_what_is_in_a_machines_own_cache_is_shared_without_a_training(machines):
    make_adapter(machines.model, machines.describe("one"))
    machines.ask("one")
    machines.ask("two")
    assert machines.had == [True, True]


@pytest.mark.slow
def test_runs_with_caches_of_their_own_train_once_and_name_what_is_damaged(tmp_path, monkeypatch):
    place = folder(tmp_path)
    (place / "small.yaml").write_text(CARD)
    url = f"file://{place}/shared"
    arguments = ("run", "tiny.yaml", "--only", "byte-ngram", "--model", "small.yaml")
    boards = []
    for number in range(3):
        if number == 2:
            for file in (place / "shared" / "objects").iterdir():
                file.write_bytes(file.read_bytes()[:-1])
        monkeypatch.setenv("LLMBENCH_CACHE", str(place / f"cache-{number}"))
        out = ("--out", f"out-{number}", "--cache", url)
        done = llmbench(*arguments, *out, cwd=place)
        assert done.returncode == 0, done.stderr
        assert ("small: the shared cache has damaged weights" in done.stderr) == (number == 2)
        (model,) = (m for m in run_json(place / f"out-{number}")["models"] if m["name"] == "small")
        boards.append((model["fingerprint"], model["training"]["seconds"]))
    assert boards[0] == boards[1]  # the seconds are those of the one training
    assert boards[2][0] == boards[0][0]  # trained anew: its cache was empty, the shared one damaged
