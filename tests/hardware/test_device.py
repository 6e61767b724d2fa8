"""Which device models run on, with torch's answer about CUDA faked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmbench.errors import UsageError
from llmbench.hardware import device, machine
from llmbench.plan import plan


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(device, "has_cuda", lambda: True)


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(device, "has_cuda", lambda: False)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("auto", "cuda"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_with_cuda_auto_means_cuda(cuda, wanted, chosen):
    assert device.pick_device(wanted) == chosen


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_without_cuda_auto_means_cpu(no_cuda, wanted):
    assert device.pick_device(wanted) == "cpu"


@pytest.mark.parametrize("wanted", ["cuda", "cuda:1"])
def test_without_cuda_asking_for_it_is_a_usage_error(no_cuda, wanted):
    with pytest.raises(UsageError, match=r"no CUDA device is available \(--device cpu\)"):
        device.pick_device(wanted)


def test_without_cuda_a_fallback_is_the_cpu(no_cuda):
    assert device.pick_device("cuda:0", fallback=True) == "cpu"


@pytest.mark.parametrize(
    ("name", "answer"), [("cuda", True), ("cuda:3", True), ("cpu", False), ("mps", False)]
)
def test_cuda_devices_are_told_by_their_names(name, answer):
    assert device.is_cuda(name) is answer


@pytest.mark.parametrize("name", device.DTYPES)
def test_a_dtype_is_the_one_that_torch_calls_so(name):
    assert str(device.torch_dtype(name)) == f"torch.{name}"


@pytest.mark.parametrize("name", ["float8", "nn", "Tensor", ""])
def test_an_unknown_dtype_is_refused_with_the_known_ones(name):
    with pytest.raises(UsageError, match=rf"unknown dtype '{name}' \(one of: float32, bfloat16"):
        device.torch_dtype(name)


def test_picking_the_cpu_does_not_import_torch():
    code = (
        "import sys; from llmbench.hardware.device import pick_device;"
        "assert pick_device('cpu') == 'cpu'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("device", "said"), [("null", True), ("none", False)])
def test_a_gpu_that_no_driver_library_shows_is_told_by_its_device(monkeypatch, device, said):
    """As AMD's are, which torch calls cuda too."""
    monkeypatch.setattr(machine, "gpus", list)
    monkeypatch.setattr(machine, "GPU_DEVICES", (f"/dev/{device}",))
    assert machine.may_have_cuda() is said


def test_a_run_on_a_gpu_that_is_not_there_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr(machine, "may_have_cuda", lambda: False)
    with pytest.raises(UsageError, match="shows no GPU"):
        plan.plan("quick", plan.Options(device="cuda"))
