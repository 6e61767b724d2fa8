"""How much memory workers need, and that those beside each other take no more than there is."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from llmbench.hardware import machine
from llmbench.plan import plan
from llmbench.plan.plan import Options
from llmbench.plan.resolved_model import resolve_model
from llmbench.runner.engine.engine import Place
from llmbench.runner.engine.local import LocalEngine
from llmbench.runner.engine.needs import (
    BASE,
    Need,
    estimate_need,
    explain_no_room,
    has_room,
    sum_needs,
)
from llmbench.runner.run import run

CPU = Options(device="cpu")
SUITE = """\
name: s
version: 1
texts: {test: {source: test.txt}}
tasks: [{task: likelihood, text: test}]
models: [%s]
"""


def write_checkpoint(folder):
    """The files of a checkpoint, which a need is made of; nothing that could be loaded."""
    folder.mkdir()
    save_file({"w": torch.zeros(1000)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "dtype": "float32"}))
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.txt").write_text("a few words of text")
    return tmp_path


def ask(place, models, free, monkeypatch):
    """The record of a run of two workers, and how many of them lived at once at most."""
    monkeypatch.setattr(machine, "free_memory", lambda: free)
    # what is free stays the same here, so what a worker holds must not come on top of it
    monkeypatch.setattr(machine, "measure_memory", lambda pid: 0)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr("llmbench.system.list_cores", lambda: [0, 0])
    started, most = [], [0]
    begin = LocalEngine.start

    def start(self, *args, **more):
        child = begin(self, *args, **more)
        started.append(child.process)
        most[0] = max(most[0], sum(process.poll() is None for process in started))
        return child

    monkeypatch.setattr(LocalEngine, "start", start)
    (place / "s.yaml").write_text(SUITE % ", ".join(models))
    options = Options(device="cpu", workers=2, out=place / "out", cache=place / "cache")
    record, _ = run(plan.plan("s.yaml", options))
    return record, most[0]


@pytest.mark.parametrize(("free", "at_once"), [(500_000_000, 1), (900_000_000, 2)])
def test_two_models_run_beside_each_other_if_there_is_memory_for_both(
    place, monkeypatch, free, at_once
):
    for name in "ab":
        card = f"name: {name}\nadapter: uniform-bytes\nestimate: {{memory_mb: 400}}\n"
        (place / f"{name}.yaml").write_text(card)
    record, most = ask(place, ["a.yaml", "b.yaml"], free, monkeypatch)
    assert most == at_once
    assert {score.model for score in record.scores} == {"a", "b"}
    assert record.failures == []


def test_weights_that_no_machine_can_hold_are_one_row_and_the_rest_goes_on(place, monkeypatch):
    write_checkpoint(place / "tiny")
    record, _ = ask(place, ["hf:tiny", "zlib"], 1000, monkeypatch)
    (row,) = record.failures
    assert (row.model, row.task, row.reason) == ("tiny", "likelihood", "out_of_memory")
    assert "and no machine has as much (here 0.0 GB)" in row.message
    assert {score.model for score in record.scores} == {"zlib"}


def test_a_need_is_the_cards_estimate_or_that_of_the_weights_in_the_dtype_of_the_run(tmp_path):
    assert estimate_need(resolve_model("zlib"), CPU) == Need(110_000_000)
    folder = write_checkpoint(tmp_path / "tiny")
    size = (folder / "model.safetensors").stat().st_size
    found = estimate_need(resolve_model(f"hf:{folder}"), CPU)
    assert (found.least, found.usual) == (size, BASE + int(1.2 * size))
    half = estimate_need(resolve_model(f"hf:{folder}?dtype=bfloat16"), CPU)
    assert half.least == size // 2
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    assert estimate_need(resolve_model(f"hf:{folder}"), CPU).least == 2 * size
    kept = estimate_need(resolve_model(f"hf:{folder}?dtype=auto"), CPU)
    assert kept.least == size
    assert estimate_need(resolve_model(f"hf:{folder}?quantize=int8"), CPU) == Need()


def test_the_first_worker_of_a_machine_always_has_room_and_others_what_is_left():
    here, there = Place("here", 0, memory=10), Place("there", 0, memory=0)
    assert has_room(here, Need(99), {})
    taken = sum_needs([(here, Need(6)), (there, Need())])
    assert taken == {"here": 6, "there": 1}
    assert has_room(here, Need(4), taken)
    assert not has_room(here, Need(5), taken)
    assert has_room(there, Need(10**15), taken)


def test_a_model_fits_where_one_machine_has_its_weights_or_does_not_say():
    places = [Place("a", 0, memory=10**9), Place("b", 0, memory=3 * 10**9)]
    assert explain_no_room(places, Need(9 * 10**9, 2 * 10**9)) == ""
    assert explain_no_room(places, Need(0, 4 * 10**9)) == (
        "its weights take 4.0 GB, and no machine has as much (a 1.0 GB, b 3.0 GB)"
    )
    assert explain_no_room([*places, Place("c", 0)], Need(0, 4 * 10**9)) == ""
    assert explain_no_room([], Need(0, 4 * 10**9)) == ""


def test_what_other_programs_took_since_the_run_began_is_not_given_to_a_worker(monkeypatch):
    free = [10]
    monkeypatch.setattr(machine, "free_memory", lambda: free[0])
    monkeypatch.setattr("llmbench.system.list_cores", lambda: [0, 1])
    engine, taken = LocalEngine(2, CPU), {"here": 4}
    assert has_room(engine.places[1], Need(6), taken)
    free[0] = 9
    assert not has_room(engine.places[1], Need(6), taken)
    monkeypatch.setattr(LocalEngine, "measure", lambda self, place: 1 if place.number == 0 else 0)
    assert has_room(engine.places[1], Need(6), taken)  # a worker of the run has it, as foreseen
    assert engine.places[0] == LocalEngine(2, CPU).places[0]


def test_a_worker_that_holds_more_than_was_foreseen_counts_with_that():
    here = Place("here", 0)
    assert sum_needs([(here, Need(5))], lambda place: 8) == {"here": 8}
    assert sum_needs([(here, Need(5))], lambda place: 3) == {"here": 5}


def test_the_memory_of_a_process_is_read_and_that_of_none_is_nothing():
    assert machine.measure_memory(os.getpid()) > 1 << 20
    assert machine.measure_memory(2**22 + 1) == 0
