"""Arithmetic coding: what is decoded is what was coded, and the length is that of the
probabilities.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbench.conformance.arithmetic_coding import (
    TOTAL,
    WIDTH,
    Decoder,
    Encoder,
    decode,
    encode,
    frequencies,
)


class Table:
    """Distributions by place."""

    def __init__(self, tables):
        self.tables, self.at = tables, 0

    def distribution(self):
        return self.tables[self.at % len(self.tables)]

    def take(self, index):
        self.at += 1


def roundtrip(begin, symbols):
    bits, costs = encode(begin(), symbols)
    assert len(costs) == len(symbols)
    return len(bits), decode(begin(), bits, len(symbols))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(2, 400), st.floats(0.1, 60.0))
def test_what_is_decoded_is_what_was_coded_and_no_longer_than_its_bits(seed, count, size, spread):
    rng = np.random.default_rng(seed)
    tables = [np.exp(rng.normal(0, spread, size)) for _ in range(count)]
    tables = [table / table.sum() for table in tables]
    symbols = [int(rng.choice(size, p=table)) for table in tables]
    bits, found = roundtrip(lambda: Table(tables), symbols)
    assert found == symbols
    ideal = -sum(
        math.log2(max(table[symbol], 2.0**-47))
        for table, symbol in zip(tables, symbols, strict=True)
    )
    assert ideal - 1e-3 <= bits <= ideal + 2.01


def test_the_rarest_symbols_come_back():
    p = np.array([1 - 1e-12, 1e-12, 0.0])
    symbols = [1, 0, 2, 1, 0, 0, 2]
    assert roundtrip(lambda: Table([p]), symbols)[1] == symbols


def test_a_sure_symbol_costs_nothing():
    bits, found = roundtrip(lambda: Table([[1.0]]), [0] * 1000)
    assert bits <= 2
    assert found == [0] * 1000


def test_nothing_at_all_is_decoded_to_nothing():
    assert roundtrip(lambda: Table([[0.5, 0.5]]), [])[1] == []


def test_an_interval_that_straddles_the_middle_for_long_is_carried():
    p = [0.25, 0.5, 0.25]
    symbols = [1] * 500 + [2]
    bits, found = roundtrip(lambda: Table([p]), symbols)
    assert found == symbols
    assert bits <= 504


def test_a_wrong_model_decodes_to_something_else():
    encoder = Encoder()
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    for symbol in [0, 1, 0, 0, 1, 0] * 4:
        encoder.put(symbol, right)
    decoder = Decoder(encoder.finish())
    assert [decoder.get(wrong) for _ in range(24)] != [0, 1, 0, 0, 1, 0] * 4


def test_frequencies_leave_no_symbol_without_and_sum_to_the_total():
    edges = frequencies([0.0, 1e-30, 3.0])
    assert edges[0] == 0
    assert edges[-1] == TOTAL
    assert (np.diff(edges) >= 1).all()
    assert TOTAL < 1 << (WIDTH - 2)


@pytest.mark.parametrize(
    "p", [[], [math.nan, 1.0], [-0.1, 1.1], [0.0, 0.0], [[0.5, 0.5]], [math.inf, 1.0]]
)
def test_what_is_no_distribution_is_refused(p):
    with pytest.raises(ValueError, match="not a distribution"):
        frequencies(p)
