"""Peaks by phase: what is allocated in one is seen in that one, and in no other; figures of a GPU
by a fake of its driver.
"""

from __future__ import annotations

import json
import os
import sys
import types

import numpy as np
import pytest
import torch
from support.run_helpers import folder, llmbench, run_json

from llmbench.data.text import Document, Text
from llmbench.errors import Unsupported
from llmbench.hardware import memory
from llmbench.hardware.memory import Gpu, Kernel, Meter, Sampled
from llmbench.tasks.performance.memory import Memory

MIB = 1 << 20
TEXT = Text(
    "test", (Document("a", "The tap dripped. " * 40), Document("b", "The kettle hummed. " * 40))
)


class Hand:
    """A source whose figures are set by hand."""

    name = "by hand"

    def __init__(self):
        self.begun, self.now = 0, (0, 0, 0, 0)

    def begin(self):
        self.begun += 1

    def read(self):
        return self.now


def hold(size):
    block = np.ones(size, dtype=np.uint8)
    return int(block[-1])


@pytest.mark.skipif(
    not isinstance(memory.source(), Kernel),
    reason="this system's kernel keeps no peaks that can be set back",
)
def test_a_phase_shows_what_it_held_and_the_next_one_does_not():
    hold(2000 * MIB)  # what was held before the first phase is of none
    meter = Meter()
    with meter.phase("imports"):
        pass
    with meter.phase("load"):
        hold(20 * MIB)
    with meter.phase("decode"):
        hold(300 * MIB)
    with meter.phase("scoring"):
        hold(5 * MIB)
    over = {phase.name: (phase.peak - meter.idle) / MIB for phase in meter.phases}
    assert over["decode"] == pytest.approx(300, rel=0.03)
    assert over["load"] == pytest.approx(20, abs=3)
    assert over["scoring"] == pytest.approx(5, abs=3)
    assert meter.peak - meter.idle == pytest.approx(300 * MIB, rel=0.03)
    assert meter.phases[0].anonymous > 0
    assert meter.phases[0].file_backed > 0


def test_a_sampled_peak_is_a_lower_bound_and_says_so():
    meter = Meter(Sampled())
    with meter.phase("decode"):
        block = np.ones(120 * MIB, dtype=np.uint8)
        for _ in range(40):  # held for long enough to be seen
            block += 1
        del block
    (phase,) = meter.phases
    assert phase.peak > phase.resident
    assert "lower bound" in phase.source
    assert phase.anonymous is None


def test_a_phase_that_raises_is_measured_all_the_same():
    meter = Meter(Hand())
    with pytest.raises(ValueError, match="oh"), meter.phase("load"):
        raise ValueError("oh")
    assert [phase.name for phase in meter.phases] == ["load"]


def test_the_kernels_figures_are_those_of_the_status_file(tmp_path, monkeypatch):
    status = tmp_path / "status"
    status.write_text(
        "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t     512 kB\nRssFile:\t    "
        " 256 kB\nRssShmem:\t0 kB\n"
    )
    monkeypatch.setattr(memory, "STATUS", status)
    assert Kernel().read() == (2048 * 1024, 1024 * 1024, 512 * 1024, 256 * 1024)


def test_a_system_without_these_files_is_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "nowhere" / "clear_refs")
    assert isinstance(memory.source(), Sampled)


# A GPU by a fake of torch.cuda and of the driver
# -------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    state = {
        "allocated": 300 * MIB,
        "reserved": 420 * MIB,
        "used": 900 * MIB,
        "process": 700 * MIB,
        "resets": 0,
    }
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(
        torch.cuda,
        "reset_peak_memory_stats",
        lambda device=None: state.update(resets=state["resets"] + 1),
    )
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device=None: state["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device=None: state["reserved"])
    driver = types.ModuleType("pynvml")
    driver.nvmlInit = lambda: None
    driver.nvmlDeviceGetHandleByIndex = lambda index: index
    driver.nvmlDeviceGetMemoryInfo = lambda handle: types.SimpleNamespace(used=state["used"])

    def processes(handle):
        if state["process"] is Exception:
            raise RuntimeError("not permitted")
        return [
            types.SimpleNamespace(pid=1, usedGpuMemory=5),
            types.SimpleNamespace(pid=os.getpid(), usedGpuMemory=state["process"]),
        ]

    driver.nvmlDeviceGetComputeRunningProcesses = processes
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    return state


def test_a_gpu_has_four_figures_and_its_peaks_are_set_back_for_each_phase(gpu):
    meter = Meter(Hand())
    meter.gpu = Gpu("cuda:0")
    with meter.phase("load"):
        pass
    with meter.phase("decode"):
        pass
    assert gpu["resets"] == 2
    assert meter.phases[1].gpu == {
        "allocated": 300 * MIB,
        "reserved": 420 * MIB,
        "process": 700 * MIB,
        "idle": 900 * MIB,
    }


@pytest.mark.parametrize(
    ("process", "why"), [(Exception, "not permitted"), (None, "does not see this process")]
)
def test_a_figure_that_the_driver_does_not_give_is_absent_with_its_reason(gpu, process, why):
    gpu["process"] = process
    meter = Meter(Hand())
    meter.gpu = Gpu("cuda")
    with meter.phase("decode"):
        pass
    assert "process" not in meter.phases[0].gpu
    assert why in meter.phases[0].absent["process"]


# The task
# ------------------------------------------------------------------------------------------


class Eats:
    """Holds so many MiB in a phase."""

    is_remote = False

    def __init__(self, **sizes):
        self.sizes = sizes

    def generate(self, requests):
        if self.sizes.get("mute"):
            raise Unsupported("it does not speak")
        hold(self.sizes.get("decode" if requests[0].forced_text else "prefill", 1) * MIB)
        return iter(())

    def score(self, passages, window):
        hold(self.sizes.get("scoring", 1) * MIB)
        return iter(())


@pytest.mark.skipif(
    not isinstance(memory.source(), Kernel),
    reason="this system's kernel keeps no peaks that can be set back",
)
@pytest.mark.parametrize("phase", ["prefill", "decode", "scoring"])
def test_the_task_shows_three_hundred_megabytes_where_they_were_held(phase):
    task = Memory(TEXT, 200, 100)
    task.meter = Meter()
    with task.meter.phase("imports"):
        pass
    outcome = task.run(Eats(**{phase: 300}), lambda *what: None)
    over = {sample["id"]: (sample["peak"] - task.meter.idle) / MIB for sample in outcome.samples}
    for name in ("prefill", "decode", "scoring"):
        assert over[name] == pytest.approx(300 if name == phase else 1, rel=0.03, abs=3)
    values = {row["metric"]: row["value"] for row in outcome.scores}
    assert values["peak_ram_over_idle"] == pytest.approx(300 * MIB, rel=0.03)
    assert values["peak_ram"] > values["peak_ram_over_idle"]
    assert "peak_gpu_allocated" not in values


def test_a_phase_that_a_model_cannot_do_is_left_out():
    outcome = Memory(TEXT, 200, 100).run(Eats(mute=1), lambda *what: None)
    assert [sample["id"] for sample in outcome.samples] == ["scoring"]


def test_prompt_and_answer_are_the_texts_own_bytes_one_after_the_other():
    prompt, answer = Memory(TEXT, 200, 100).passages()
    assert (prompt + answer).encode() == "\n\n".join(d.text for d in TEXT.documents).encode()[:300]
    assert Memory(Text("t", (Document("a", "\u00e9" * 9),)), 3, 3).passages() == (
        "\u00e9",
        "\u00e9",
    )


# Whole runs
# ------------------------------------------------------------------------------------------

SUITE = """\
name: costs
version: 1
texts:
  train: {source: train.txt}
  valid: {source: valid.txt}
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
  - {task: memory, text: test, prompt_bytes: 300, answer_bytes: 60}
models:
  - uniform-bytes
  - zlib
  - {model: lstm, name: thin, network: {arguments: {width: 16}}, recipe: {steps: 5, evaluations: 1}}
"""
HUNGRY = '''

class Holds(Good):
    """300 MB while it speaks."""

    def step(self, state, ids):
        block = bytearray(300_000_000)
        block[::4096] = b"x" * len(block[::4096])
        return super().step(state, ids)


class Breaks(Good):
    def logits(self, ids):
        raise ValueError("no")
'''


@pytest.mark.skipif(
    not isinstance(memory.source(), Kernel),
    reason="this system's kernel keeps no peaks that can be set back",
)
@pytest.mark.slow
def test_each_model_is_measured_in_a_process_of_its_own_and_a_failure_is_a_row(tmp_path, fresh):
    place = folder(tmp_path)
    (place / "costs.yaml").write_text(SUITE)
    (place / "my_models.py").write_text((place / "my_models.py").read_text() + HUNGRY)
    models = [
        part for name in ("Good", "Holds", "Breaks") for part in ("--model", f"my_models.py:{name}")
    ]
    planned = llmbench("run", "costs.yaml", "--dry-run", cwd=place).stdout
    assert [
        line.split("\u2502")[3].strip()
        for line in planned.splitlines()
        if "uniform-bytes" in line and "memory" in line
    ] == ["5"]
    done = llmbench("run", "costs.yaml", *models, "--out", "out", cwd=place)
    assert done.returncode == 1, done.stderr
    record = run_json(place / "out")
    values = {
        (s["model"], s["metric"]): s["value"] for s in record["scores"] if s["task"] == "memory"
    }
    assert {model for model, _ in values} == {"uniform-bytes", "zlib", "thin", "Good", "Holds"}
    assert {(f["model"], f["reason"]) for f in record["failures"]} == {("Breaks", "error")}
    phases = {
        row["id"]: row
        for row in map(
            json.loads, (place / "out/samples/Holds/memory.jsonl").read_text().splitlines()
        )
    }
    plain = {
        row["id"]: row
        for row in map(
            json.loads, (place / "out/samples/Good/memory.jsonl").read_text().splitlines()
        )
    }
    assert list(phases) == ["imports", "load", "prefill", "decode", "scoring"]
    assert phases["decode"]["peak"] - plain["decode"]["peak"] == pytest.approx(
        300_000_000, rel=0.03
    )
    for name in ("load", "prefill", "scoring"):
        assert abs(phases[name]["peak"] - plain[name]["peak"]) < 12 * MIB
    assert values["Holds", "peak_ram_over_idle"] - values[
        "Good", "peak_ram_over_idle"
    ] == pytest.approx(300_000_000, rel=0.05)
    assert values["uniform-bytes", "peak_ram_over_idle"] < 20 * MIB
    assert values["thin", "peak_ram"] < 600 * MIB
    board = (place / "out/leaderboard.md").read_text()
    assert "peak RAM, MiB" in board
    assert "RAM over idle, MiB" in board
    assert "MiB" in board
