"""Numbers stay as wide as a cell, however large they are."""

from __future__ import annotations

import math

import pytest
from support.hand_record import model, record

from llmbench.leaderboard import numbers
from llmbench.leaderboard.board import build
from llmbench.leaderboard.renderers.registry import draw


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (lambda x: numbers.format_fixed(x, 4), 1e300, "1.00e+300"),
        (lambda x: numbers.format_fixed(x, 4), -1e300, "-1.00e+300"),
        (lambda x: numbers.format_fixed(x, 1), 999999999999999.0, "999,999,999,999,999.0"),
        (lambda x: numbers.format_fixed(x, 4), 1234.5, "1,234.5000"),
        (lambda x: numbers.format_fixed(x, 4), math.inf, "inf"),
        (lambda x: numbers.format_plain(x, 4), 1234.5, "1234.5000"),
        (lambda x: numbers.format_plain(x, 4), 1e300, "1.00e+300"),
        (lambda x: numbers.format_signed(x, 4), 1e300, "+1.00e+300"),
        (lambda x: numbers.format_signed(x, 4), -0.5, "-0.5000"),
        (lambda x: numbers.format_signed(x, 4), -math.inf, "-inf"),
        (lambda x: numbers.format_signed(x, 4), -6.5e-6, "0.0000"),
        (lambda x: numbers.format_signed(x, 4), 6e-5, "+0.0001"),
        (numbers.scale_number, 1e300, "1.00e+300"),
        (numbers.scale_number, 9.99e14, "999 T"),
        (numbers.percent, 1e300, "1.00e+302 %"),
        (numbers.percent, 0.125, "12.5 %"),
        (numbers.milliseconds, 1e300, "1.00e+303"),
        (numbers.mebibytes, 1e300, "9.54e+293"),
    ],
)
def test_a_number_is_printed_in_few_characters(function, value, shown):
    assert function(value) == shown


def test_no_format_of_a_board_writes_hundreds_of_digits():
    row = {"model": "net", "task": "text", "n": 40, "signature": "s", "better": "lower"}
    huge = {"value": 1e300, "low": 9e299, "high": 1.1e300}
    scores = [
        {**row, **huge, "metric": "bits_per_byte", "unit": "bits/byte"},
        {**row, **huge, "metric": "word_perplexity", "unit": "perplexity"},
        {**row, **huge, "metric": "excess_bits_per_byte", "unit": "bits/byte"},
    ]
    found = record(models=[model("net", 3)], scores=scores)
    for format in ("table", "md", "html"):
        shown = draw(format, build(found))
        assert "1.00e+300" in shown
        assert "0" * 65 not in shown  # a digest has 64
