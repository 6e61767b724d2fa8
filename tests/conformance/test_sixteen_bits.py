"""What rounding to 16 bits may do to the charges of a text, and what is more than rounding."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from llmbench.conformance.check import Failed, Subject
from llmbench.conformance.checks.isolation import _require_same_bits
from llmbench.ledger import Ledger


def ledger(bits):
    ends = np.arange(1, len(bits) + 1)
    return Ledger(ends - 1, ends, bits, np.zeros(len(bits), np.uint8), len(bits))


@pytest.fixture
def subject():
    made = Subject.__new__(Subject)
    made.__dict__.update(half=2.0**-7, noise=None, adapter=SimpleNamespace())
    return made


def test_a_short_text_may_differ_by_what_one_charge_may(subject):
    alone = np.array([4.0, 9.0, 5.624640, 8.0])
    beside = np.array([4.0, 9.0, 6.221673, 8.0])  # SmolLM2-135M in bfloat16, two kernels of a CPU
    _require_same_bits(subject, "text", ledger(alone), ledger(beside), "together")
    beside[2] += 1.0
    with pytest.raises(Failed):
        _require_same_bits(subject, "text", ledger(alone), ledger(beside), "together")


def test_a_long_text_whose_charges_are_all_a_little_higher_is_no_rounding(subject):
    alone = np.full(100, 5.0)
    with pytest.raises(Failed):
        _require_same_bits(subject, "text", ledger(alone), ledger(alone + 0.1), "together")
