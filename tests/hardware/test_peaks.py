"""What a machine can do at most: the arithmetic by a clock moved by hand, the measuring itself on
small sizes.
"""

from __future__ import annotations

import json

import pytest
import torch

from llmbench.cli import doctor
from llmbench.hardware import machine, peaks, peaks_benchmark
from llmbench.hardware.peaks import Ceilings


def made(**changes):
    facts = {
        "bandwidth": [(1 << 18, 8e10), (1 << 24, 4e10), (1 << 28, 2e10)],
        "flops": {"float32": 6e10, "bfloat16": 1e9},
        "tiny": 1e-6,
        "noise": 0.01,
    }
    return Ceilings(**{"device": "cpu", "threads": 2, **facts, **changes})


class Work:
    """Work that takes the next of the given seconds, then the last again; the clock is moved by
    nothing else.
    """

    def __init__(self, *seconds):
        self.now, self.seconds, self.calls = 0.0, list(seconds), 0

    def __call__(self):
        self.calls += 1
        self.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]

    def clock(self):
        return self.now


def test_a_rate_is_that_of_the_fastest_round_without_the_first_call():
    work = Work(0.001, 0.3, 0.2, 0.4)
    assert peaks_benchmark.rate(work, "cpu", enough=0.8, clock=work.clock) == pytest.approx(0.2)


def test_rounds_too_short_for_the_clock_are_made_longer():
    work = Work(0.001)
    assert peaks_benchmark.rate(work, "cpu", enough=1.0, clock=work.clock) == pytest.approx(0.001)
    assert work.calls > 900


@pytest.mark.parametrize(
    ("noise", "grade"), [(0.0, "quiet"), (0.02, "quiet"), (0.021, "usable"), (0.5, "noisy")]
)
def test_noise_is_graded(noise, grade):
    assert made(noise=noise).grade == grade


def test_the_spread_is_that_of_the_quartiles():
    assert peaks_benchmark.spread([1, 2, 3, 4, 5]) == pytest.approx(2 / 3)
    assert peaks_benchmark.spread([7, 7, 7]) == 0


def test_what_was_measured_is_kept_and_a_torn_file_or_another_version_is_not_read(tmp_path):
    path = tmp_path / "machines" / "x.json"
    assert peaks.read(path) is None
    peaks.keep(path, made())
    assert peaks.read(path) == made()
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 0}))
    assert peaks.read(path) is None
    path.write_text(path.read_text()[:50])
    assert peaks.read(path) is None


def test_the_file_is_of_this_machine_device_and_number_of_threads(tmp_path):
    names = {peaks.kept_in(tmp_path, *key) for key in (("cpu", 1), ("cpu", 2), ("cuda", 1))}
    assert len(names) == 3
    assert peaks.kept_in(tmp_path, "cpu", 1) in names


def test_this_machine_can_be_measured(monkeypatch):
    monkeypatch.setattr(peaks_benchmark, "SIZES", (1 << 18, 1 << 20))
    monkeypatch.setattr(peaks_benchmark, "DTYPES", ("float32", "float64"))
    monkeypatch.setattr(peaks_benchmark, "ENOUGH", 0.01)
    found = peaks_benchmark.measure("cpu", torch.get_num_threads())
    assert [size for size, _ in found.bandwidth] == [1 << 18, 1 << 20]
    assert all(1e8 < rate < 1e13 for _, rate in found.bandwidth)
    assert found.flops.keys() == {"float32", "float64"}
    assert all(1e8 < rate < 1e15 for rate in found.flops.values())
    assert 1e-8 < found.tiny < 1e-3
    assert found.noise >= 0


def test_a_format_that_a_device_does_not_multiply_is_absent_with_its_reason(monkeypatch):
    def refuses(device, dtype):
        if dtype == "float16":
            raise RuntimeError("not implemented for 'Half'")
        return 1e9

    monkeypatch.setattr(peaks_benchmark, "SIZES", (1 << 18,))
    monkeypatch.setattr(peaks_benchmark, "_flops", refuses)
    monkeypatch.setattr(peaks_benchmark, "_bandwidths", lambda device, size: {"copy": 1e9})
    found = peaks_benchmark.measure("cpu", 1)
    assert "float16" not in found.flops
    assert "Half" in found.skipped["float16"]


def test_the_doctor_measures_once_and_says_what_is_odd(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    measured = []
    monkeypatch.setattr(
        peaks_benchmark, "measure", lambda *given: measured.append(given) or made(noise=0.3)
    )
    monkeypatch.setattr(
        machine,
        "load_state",
        lambda: {"load": 3.0, "steal": None, "governor": "powersave", "free_bytes": 1 << 30},
    )
    first = doctor.examine("cpu", 2, False, lambda *what: None)
    again = doctor.examine("cpu", 2, False, lambda *what: None)
    assert len(measured) == 1
    assert first["ceilings"] == again["ceilings"]
    doctor.examine("cpu", 2, True, lambda *what: None)
    assert len(measured) == 2
    said = "\n".join(first["advice"])
    for word in ("30%", "load is 3.0", "powersave", "emulates"):
        assert word in said
    shown = dict(doctor.rows(first))
    assert shown["bandwidth, 16 MiB"] == "40.0 GB/s"
    assert shown["steal time"] == "unavailable"
    assert shown["noise"] == "30.0% between quartiles (noisy)"
