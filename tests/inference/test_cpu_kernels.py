"""The faster library gives the same product, and is asked for large layers alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from llmbench.hardware import machine
from llmbench.hardware.products import find_onednn
from llmbench.inference import cpu_kernels
from llmbench.inference.cpu_kernels import LEAST_PRODUCTS, CpuKernels

WIDE = 512
ROWS = LEAST_PRODUCTS // WIDE**2
needs_onednn = pytest.mark.skipif(find_onednn() is None, reason="torch is built without oneDNN")


@pytest.fixture(autouse=True)
def _no_memory_of_the_machine():
    cpu_kernels.onednn_product.cache_clear()
    yield
    cpu_kernels.onednn_product.cache_clear()


@pytest.fixture
def calls(monkeypatch):
    """An AMD machine; a list with an entry for each product that oneDNN was asked for."""
    made, real = [], find_onednn()

    def multiply(*args):
        made.append(args)
        return real(*args)

    monkeypatch.setattr(machine, "is_amd", lambda: True)
    monkeypatch.setattr(cpu_kernels, "find_onednn", lambda: multiply)
    return made


def layer(rows=ROWS, width=WIDE, dtype=torch.float32):
    torch.manual_seed(0)
    return torch.randn(2, rows // 2, width, dtype=dtype), torch.randn(width, width, dtype=dtype)


@needs_onednn
@pytest.mark.parametrize("bias", [None, torch.arange(WIDE, dtype=torch.float32)])
def test_a_large_layer_has_the_exact_product_but_for_rounding(calls, bias):
    x, matrix = layer()
    want = F.linear(x.double(), matrix.double(), None if bias is None else bias.double())
    with torch.inference_mode(), CpuKernels():
        got = F.linear(x, torch.nn.Parameter(matrix), bias)
    assert len(calls) == 1
    assert got.shape == want.shape
    assert torch.allclose(got.double(), want, rtol=0, atol=1e-3 * WIDE**0.5)


@needs_onednn
def test_every_other_layer_is_left_alone(calls):
    x, matrix = layer()
    small = layer(rows=ROWS // 2)[0]
    with torch.inference_mode(), CpuKernels():
        F.linear(small, matrix, None)
        F.linear(x.double(), matrix.double(), None)
        F.linear(x.bfloat16(), matrix.bfloat16(), None)
        F.linear(x.transpose(0, 1), matrix, None)
        F.linear(x, matrix, torch.zeros(WIDE).as_subclass(torch.nn.Parameter))
    assert len(calls) == 1  # the last
    F.linear(x, matrix, None)
    assert len(calls) == 1


def test_other_processors_multiply_as_torch_does(monkeypatch):
    monkeypatch.setattr(machine, "is_amd", lambda: False)
    assert cpu_kernels.onednn_product() is None


def test_a_processor_of_amd_is_known_by_its_name(monkeypatch):
    for name, is_amd in (("AMD EPYC 9B14", True), ("Intel(R) Xeon(R)", False), ("arm", False)):
        monkeypatch.setattr(machine, "_cpu", lambda name=name: name)
        assert machine.is_amd() is is_amd
