"""Causal attention in blocks is causal attention."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from llmbench.inference.blocked_attention import BLOCK, LONG, CausalBlocks


def drawn(length, heads=2, keys=2, dtype=torch.float32):
    torch.manual_seed(length)
    return [torch.randn(2, count, length, 8, dtype=dtype) for count in (heads, keys, keys)]


@pytest.mark.parametrize(
    "length", [1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 5 * BLOCK, 333]
)
@pytest.mark.parametrize("scale", [None, 0.5])
def test_it_is_what_the_plain_formula_gives(length, scale):
    query, key, value = drawn(length, dtype=torch.float64)
    scores = query @ key.mT * (8**-0.5 if scale is None else scale)
    want = (
        torch.softmax(
            scores.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf")), -1
        )
        @ value
    )
    with CausalBlocks():
        got = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)


def test_grouped_heads_are_the_same_too():
    query, key, value = drawn(200, heads=4)
    want = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    with CausalBlocks():
        assert torch.allclose(
            F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True),
            want,
            atol=1e-6,
        )


def test_every_other_call_is_left_alone():
    query, key, value = drawn(200)
    mask = torch.rand(200, 200) > 0.3
    for given in ({}, {"attn_mask": mask}, {"is_causal": False}):
        want = F.scaled_dot_product_attention(query, key, value, **given)
        with CausalBlocks():
            assert torch.equal(F.scaled_dot_product_attention(query, key, value, **given), want)
    with CausalBlocks():  # one new query over old keys, as in generation
        assert torch.equal(
            F.scaled_dot_product_attention(query[:, :, -1:], key, value),
            F.scaled_dot_product_attention(query[:, :, -1:], key, value),
        )


def test_it_is_used_and_ends(monkeypatch):
    query, key, value = drawn(200)
    calls = []
    monkeypatch.setattr(CausalBlocks, "_attend", lambda self, *a, **k: calls.append(1) or a[0])
    with CausalBlocks():
        F.scaled_dot_product_attention(query, key, value, is_causal=True)
    F.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert calls == [1]


def test_a_long_text_is_left_whole(monkeypatch):
    calls = []
    monkeypatch.setattr(CausalBlocks, "_attend", lambda self, *a, **k: calls.append(1) or a[1])
    with CausalBlocks():
        for length in (LONG - 1, LONG):
            query = torch.zeros(1, 1, length, 1)
            F.scaled_dot_product_attention(query, query, query, is_causal=True)
    assert calls == [1]
