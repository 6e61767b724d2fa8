"""Energy counters: a fake driver, and files as the kernel shows them."""

from __future__ import annotations

import sys
import types

import pytest
from support.clock import MS, TEXT, Clock, Typist

from llmbench.hardware import energy, machine
from llmbench.tasks.performance.speed import Speed


@pytest.fixture
def driver(monkeypatch):
    """A driver with two cards that have used 12 J and 34 J; each reading adds 5 J."""
    fake = types.SimpleNamespace(used={0: 12_000, 1: 34_000, "GPU-b": 34_000}, asked=[])
    module = types.ModuleType("pynvml")
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetHandleByUUID = lambda name: name

    def read(handle):
        fake.used[handle] += 5000
        return fake.used[handle]

    module.nvmlDeviceGetTotalEnergyConsumption = read
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake.module = module
    return fake


def test_the_counter_of_a_gpu_is_in_joules(driver):
    counter, why = energy.counter("cuda")
    assert why == ""
    first = counter.read()
    assert first == 22.0  # 12, one look to see whether it counts, one reading
    assert counter.read() - first == pytest.approx(5.0)
    assert "NVML" in counter.name


@pytest.mark.parametrize(
    ("visible", "device", "handle"),
    [
        (None, "cuda:1", 1),
        ("1", "cuda", 1),
        ("1,0", "cuda:1", 0),
        ("GPU-a,GPU-b", "cuda:1", "GPU-b"),
    ],
)
def test_a_device_is_the_one_that_torch_means(driver, monkeypatch, visible, device, handle):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.nvml_device(device)[1] == handle


def test_a_card_that_does_not_count_is_said(driver):
    def refuses(handle):
        raise RuntimeError("Not Supported")

    driver.module.nvmlDeviceGetTotalEnergyConsumption = refuses
    counter, why = energy.counter("cuda")
    assert counter is None
    assert "Not Supported" in why


def zones(place, monkeypatch, **micro):
    for name, value in micro.items():
        zone = place / name.replace("_", ":")
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text(
            "core\n"
            if name.count("_") > 1
            else "psys\n"
            if name.endswith("9")
            else f"package-{name[-1]}\n"
        )
        (zone / "energy_uj").write_text(f"{value}\n")
        (zone / "max_energy_range_uj").write_text("1000000\n")
    monkeypatch.setattr(energy, "POWERCAP", place)


def test_the_counters_of_the_packages_are_added_and_each_may_begin_anew(tmp_path, monkeypatch):
    names = {
        "intel-rapl_0": 400_000,
        "intel-rapl_1": 900_000,
        "intel-rapl_0_0": 5,
        "intel-rapl_9": 7,
    }
    zones(tmp_path, monkeypatch, **names)
    counter, _ = energy.counter("cpu")
    assert counter.read() == 0
    zones(tmp_path, monkeypatch, **{**names, "intel-rapl_0": 500_000, "intel-rapl_1": 99_999})
    assert counter.read() == pytest.approx(0.1 + 0.2)
    assert counter.read() == pytest.approx(0.3)


def test_where_there_is_no_counter_or_none_that_may_be_read_the_reason_is_given(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert energy.counter("cpu") == (None, "this machine shows no energy counter (RAPL)")
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0/name").write_text("package-0")
    counter, why = energy.counter("cpu")
    assert counter is None
    assert "cannot be read" in why


def test_energy_is_measured_over_the_time_asked_for_and_divided_by_what_was_written(
    driver, monkeypatch
):
    clock = Clock()
    spec = Speed.Settings(
        task="speed", prompt_bytes=40, answer_bytes=20, blocks=8, energy_seconds=5
    )

    class OnGpu(Typist):
        @property
        def info(self):
            from dataclasses import replace

            return replace(super().info, device="cuda")

    outcome = Speed(TEXT, spec, clock=clock).run(OnGpu(clock, step=10), lambda *what: None)
    row = next(row for row in outcome.scores if row["metric"] == "joules_per_megabyte")
    assert row["joules"] == pytest.approx(5.0)
    assert row["n"] == 25  # answers of 0.2 s
    assert row["value"] == pytest.approx(5.0 / (25 * 20 / 1e6))
    assert "NVML" in row["source"]
    assert clock.now > 5000 * MS
