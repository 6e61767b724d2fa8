from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbench.ledger import (
    CODE,
    END,
    PSEUDO,
    SPELLING,
    TOKEN,
    Ledger,
    LedgerError,
    Totals,
    count_words,
    word_starts,
)


def ledger(*charges, size):
    return Ledger.build(*(list(column) for column in zip(*charges, strict=True)), bytes=size)


def test_conversions_equal_the_published_pairs():
    nano = Totals(
        bits=1.4697 / math.log(2) * 1000,
        token_bits=0,
        spelling_bits=0,
        bytes=1000,
        words=1,
        tokens=0,
        unknown=0,
        documents=1,
    )
    assert nano.bits_per_byte == pytest.approx(
        2.1203, abs=5e-5
    )  # nanoGPT's nats per character on ASCII
    words, size = 245_569, 1_290_590  # WikiText-2 test as lm-eval counts it
    gpt2 = Totals(math.log2(37.3698) * words, 0, 0, size, words, 0, 0, 1)
    assert gpt2.word_perplexity == pytest.approx(37.3698)
    assert pytest.approx(1.9682, abs=1e-4) == 2**0.9769


def test_bits_per_byte_is_the_ratio_of_sums():
    one, two = ledger((0, 1, 8.0, TOKEN), size=1), ledger((0, 3, 3.0, TOKEN), size=3)
    assert Totals.of([one, two], words=2).bits_per_byte == 11 / 4


def test_spelling_and_token_bits_are_told_apart():
    made = ledger((0, 0, 2.0, TOKEN), (0, 4, 10.0, SPELLING), (4, 5, 1.0, TOKEN), size=5)
    totals = Totals.of([made], words=1)
    assert (
        totals.bits,
        totals.token_bits,
        totals.spelling_bits,
        totals.tokens,
        totals.unknown,
    ) == (13.0, 3.0, 10.0, 2, 1)
    assert totals.spelling_share == 10 / 13
    assert totals.token_perplexity == 2**1.5


def test_end_of_text_stays_out_of_the_headline():
    made = ledger((0, 2, 4.0, TOKEN), (2, 2, 5.0, END), size=2)
    assert made.total() == 4.0
    assert made.total(END) == 5.0


@pytest.mark.parametrize(
    ("charges", "size", "complaint"),
    [
        ([(0, 1, 1.0, TOKEN), (2, 3, 1.0, TOKEN)], 3, "starts at byte 2"),
        ([(0, 2, 1.0, TOKEN), (1, 3, 1.0, TOKEN)], 3, "starts at byte 1"),
        ([(1, 3, 1.0, TOKEN)], 3, "starts at byte 1"),
        ([(0, 2, 1.0, TOKEN)], 3, "end at byte 2 of 3"),
        ([(0, 3, -1.0, TOKEN)], 3, "bits are >= 0"),
        ([(0, 3, math.nan, TOKEN)], 3, "bits are >= 0"),
        ([(0, 3, 1.0, 9)], 3, "unknown kind"),
        ([(0, 3, 1.0, TOKEN), (2, 2, 1.0, END)], 3, "before the end"),
    ],
)
def test_a_ledger_that_breaks_a_rule_is_refused(charges, size, complaint):
    with pytest.raises(LedgerError, match=complaint):
        ledger(*charges, size=size)


def test_infinite_bits_are_reported_and_not_skipped():
    made = ledger((0, 1, math.inf, TOKEN), (1, 2, 1.0, TOKEN), size=2)
    totals = Totals.of([made], 1)
    assert totals.bits_per_byte == math.inf
    assert totals.byte_perplexity == math.inf


def test_an_empty_document_has_no_charges_and_no_rate():
    empty = Ledger.build([], [], [], [], bytes=0)
    assert Totals.of([empty], 0).bits_per_byte is None


def test_bits_between_edges_share_a_crossing_charge_by_bytes():
    made = ledger((0, 4, 8.0, TOKEN), (4, 4, 1.0, TOKEN), (4, 6, 2.0, SPELLING), size=6)
    assert made.bits_between([0, 1, 4, 6]) == pytest.approx([2.0, 6.0, 3.0])
    assert made.bits_between([0, 3, 5, 6]) == pytest.approx([6.0, 4.0, 1.0])
    with pytest.raises(LedgerError):
        made.bits_between([0, 3])


def test_bits_between_edges_lose_nothing():
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.choice(np.arange(1, 500), 80, replace=False))
    edges = np.concatenate(([0], cuts, [500]))
    made = Ledger.build(edges[:-1], edges[1:], rng.random(81) * 9, np.full(81, TOKEN), bytes=500)
    assert made.bits_between([0, 7, 100, 101, 400, 500]).sum() == pytest.approx(
        made.total(), rel=1e-12
    )


def test_words_are_runs_without_white_space():
    assert count_words("  the  cat's\ttail\n\nis  \N{NO-BREAK SPACE}long ") == 5


def test_a_compressors_charge_has_no_tokens():
    totals = Totals.of([ledger((0, 9, 40.0, CODE), size=9)], 2)
    assert totals.token_perplexity is None
    assert totals.spelling_share is None


def test_words_start_where_they_start():
    assert word_starts(" \N{SNOWMAN}a b\n\ncd").tolist() == [1, 6, 9]
    assert word_starts("").tolist() == []


CHARGE = st.tuples(
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([0.0, 1.5, math.inf, math.nan, -1.0]),
    st.integers(0, 5),
)
TILING = st.integers(0, 3).map(lambda n: [(i, i + 1, 1.0, TOKEN) for i in range(n)])


@settings(deadline=None, max_examples=400)
@given(
    charges=st.lists(CHARGE, max_size=3)
    | st.builds(lambda n: [(i, i + 1, 1.0, TOKEN) for i in range(n)], st.integers(0, 3)),
    size=st.integers(0, 3),
)
def test_the_quick_look_at_a_ledger_lets_nothing_pass_that_the_rules_refuse(charges, size):
    start, end, bits, kind = zip(*charges, strict=True) if charges else ((), (), (), ())
    arrays = [
        np.array(values, dtype)
        for values, dtype in (
            (start, np.int64),
            (end, np.int64),
            (bits, np.float64),
            (kind, np.uint8),
        )
    ]
    ledger = Ledger(*arrays, size)
    if ledger._is_plain():
        object.__setattr__(ledger, "_is_plain", lambda: False)
        ledger.check()


def test_a_charge_that_ends_at_an_edge_keeps_its_bits_to_the_last_digit():
    """0.1 * 3 / 3 is another number than 0.1."""
    found = ledger((0, 3, 0.1, TOKEN), (3, 6, 0.7, TOKEN), size=6).bits_between([0, 3, 6])
    assert found.tolist() == [0.1, 0.7]


@pytest.mark.parametrize("last", [TOKEN, END])
def test_a_span_that_runs_backwards_is_refused(last):
    spans = [(0, 3, 1.0, TOKEN), (3, 1, 1.0, TOKEN), (1, 4, 1.0, TOKEN), (4, 4, 1.0, last)]
    with pytest.raises(LedgerError):
        ledger(*spans, size=4)


def test_gaps_that_run_backwards_are_refused():
    with pytest.raises(LedgerError, match="overlap or leave the text"):
        ledger((2, 1, 1.0, PSEUDO), size=4)
