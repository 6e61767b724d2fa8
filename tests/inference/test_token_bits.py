"""Logits and targets -> bits, against values by hand and torch's own cross entropy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from llmbench.errors import ModelError
from llmbench.inference.token_bits import token_bits


def test_equal_logits_cost_log2_of_the_vocabulary():
    bits = token_bits(torch.zeros(3, 8), np.array([0, 3, 7]))
    assert bits.tolist() == pytest.approx([3.0, 3.0, 3.0], rel=1e-6)


def test_a_certain_target_costs_nothing_and_never_less():
    logits = torch.tensor([[200.0, 0.0]])
    assert token_bits(logits, np.array([0])).tolist() == [0.0]


def test_an_impossible_target_costs_infinitely_many_bits():
    logits = torch.tensor([[0.0, -math.inf]])
    assert token_bits(logits, np.array([1])).tolist() == [math.inf]


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("buffered", [False, True])
def test_bits_are_the_cross_entropy_of_torch(kind, buffered):
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(40, 90, generator=generator) * 4).to(kind)
    targets = torch.randint(0, 90, (40,), generator=generator)
    wide = logits if kind == torch.float64 else logits.float()
    buffer = torch.empty_like(wide) if buffered else None
    nats = torch.nn.functional.cross_entropy(wide.double(), targets, reduction="none")
    got = token_bits(logits, targets.numpy(), buffer)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, nats.numpy() / math.log(2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("buffered", [False, True])
def test_nan_and_inf_in_logits_are_a_model_error(bad, buffered):
    logits = torch.zeros(2, 4)
    logits[1, 2] = bad
    with pytest.raises(ModelError, match="NaN"):
        token_bits(logits, np.array([0, 0]), torch.empty(2, 4) if buffered else None)
