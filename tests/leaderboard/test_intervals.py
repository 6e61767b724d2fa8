"""An interval is printed as ± only where that says what it is: not at a bound, and not where one
side is clearly longer.
"""

from __future__ import annotations

import pytest
from support.hand_record import likelihood, model, record, score

from llmbench.leaderboard import board
from llmbench.leaderboard.cells import metric_cell
from llmbench.leaderboard.numbers import insert_unit
from llmbench.leaderboard.renderers import html, markdown, table
from llmbench.results.record import Score

BITS, RATE = "bits_per_byte", "decode_bytes_per_second"


def show(metric, value, low, high, **more):
    row = {**score("m", metric, value, **more), "low": low, "high": high}
    return metric_cell(Score.model_validate(row)).text


@pytest.mark.parametrize(
    ("metric", "value", "low", "high", "want"),
    [
        (BITS, 2.1807, 2.122, 2.2394, "2.1807 ± 0.0587"),
        (BITS, 2.1807, 2.12, 2.2394, "2.1807 ± 0.0597"),  # hardly uneven
        (BITS, 0.012, 0.0, 0.09, "0.0120 [0.0000, 0.0900]"),  # ends at 0 bits
        (BITS, 0.045, 0.0, 0.09, "0.0450 [0.0000, 0.0900]"),
        (BITS, 2.0, 1.9, 2.5, "2.0000 [1.9000, 2.5000]"),
        (BITS, 2.0, 1.5, 2.1, "2.0000 [1.5000, 2.1000]"),
        (BITS, 8.0, 8.0 - 1e-9, 8.0, "8.0000 ± 0.0000"),  # no digit of it is seen
        (BITS, 0.0, 0.0, 0.0, "0.0000 ± 0.0000"),
        (BITS, 1234.5, 1100.0, 2000.0, "1,234.5000 [1,100.0000, 2,000.0000]"),
        (RATE, 2450.0, 2270.0, 2630.0, "2.45 k ± 7 %"),
        (RATE, 2450.0, 980.0, 2600.0, "2.45 k [980, 2.60 k]"),
        (RATE, 500.0, 0.0, 1000.0, "500 [0.00, 1.00 k]"),
        (RATE, 0.0, 0.0, 3.0, "0.00 [0.00, 3.00]"),
        (RATE, 0.0, 0.0, 0.0, "0.00"),
        ("accuracy", 1.0, 0.93, 1.0, "100.0 % [93.0, 100.0]"),
        ("accuracy", 0.0, 0.0, 0.07, "0.0 % [0.0, 7.0]"),
        (BITS, 2.0, None, None, "2.0000"),
    ],
)
def test_plus_minus_is_printed_only_if_it_says_the_interval(metric, value, low, high, want):
    assert show(metric, value, low, high) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2.0 ± 0.1", "2.0 bits/byte ± 0.1"),
        ("2.0 [1.9, 2.5]", "2.0 bits/byte [1.9, 2.5]"),
        ("2.0", "2.0 bits/byte"),
    ],
)
def test_a_unit_stands_behind_the_value_and_not_its_interval(text, want):
    assert insert_unit(text, "bits/byte") == want


def test_every_format_prints_the_ends_of_an_uneven_interval():
    rows = likelihood("m", 0.012, 0.01, None)
    rows[0] |= {"low": 0.0, "high": 0.09}
    drawn = board.build(record(models=[model("m", 3)], scores=rows, failures=[]))
    for text in (markdown.render(drawn).replace("\\", ""), html.render(drawn)):
        assert "0.0120 [0.0000, 0.0900]" in text
    plain = table.render(drawn, 80)
    assert "0.0120 [0.0000, 0.0900]" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "±" not in plain
