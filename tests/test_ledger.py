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
    Blocks,
    ByteLedger,
    Ledger,
    LedgerError,
    Totals,
    count_block_words,
    count_bytes,
    count_words,
    two_to,
)
from llmbench.metrics.likelihood import Sum


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
    totals = Totals.of([empty], 0)
    assert totals.bits_per_byte is totals.byte_perplexity is totals.word_perplexity is None


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


def test_bytes_are_counted_as_utf_8():
    assert [count_bytes(text) for text in ("", "abc", "na\xefve", "\N{SNOWMAN}")] == [0, 3, 6, 3]


def test_a_compressors_charge_has_no_tokens():
    totals = Totals.of([ledger((0, 9, 40.0, CODE), size=9)], 2)
    assert totals.token_perplexity is None
    assert totals.spelling_share is None


@pytest.mark.parametrize(
    ("text", "edges", "words"),
    [
        (" \N{SNOWMAN}a b\n\ncd", [0, 1, 4, 6, 9, 11], [0, 1, 0, 1, 1]),
        ("one two", [0, 2, 2, 4, 7], [1, 0, 0, 1]),
        ("", [0, 0], [0]),
    ],
)
def test_a_word_is_of_the_block_in_which_it_starts(text, edges, words):
    assert count_block_words(text, edges) == words


def test_a_sum_of_portions_is_that_of_all_rounded_once():
    numbers = [1e16, 1.0, -0.0, 3e-17, *(0.1 * i for i in range(999)), 1e16, 7e300, 5e-324]
    for size in (1, 7, 500, 2000):
        found = Sum()
        for first in range(0, len(numbers), size):
            found.add(numbers[first : first + size])
        assert found.value == math.fsum(numbers)
    found.add([math.inf])
    found.add([1.0])
    assert found.value == math.inf
    assert Sum().value == 0.0


@pytest.mark.parametrize("size", [1, 3, 40])
def test_blocks_do_not_depend_on_the_pieces(size):
    charges = [(i, min(i + 3, 100), 0.1 * i + 1e-9, TOKEN) for i in range(0, 100, 3)]
    made = ledger(*charges, size=100)
    edges = [0, 1, 20, 21, 22, 40, 99, 100]
    blocks = Blocks(edges, 100)
    for a in range(0, len(made.start), size):
        blocks.add(made.start[a : a + size], made.end[a : a + size], made.bits[a : a + size])
    assert blocks.bits.tolist() == made.bits_between(edges).tolist()


def test_a_ledger_by_bytes_is_that_of_its_arrays(monkeypatch):
    monkeypatch.setattr("llmbench.ledger.PIECE", 7)
    bits = np.linspace(0.1, 9.7, 40)
    lazy = ByteLedger(lambda a, b: bits[a:b], 40, "long")
    whole = ledger(*((i, i + 1, bits[i], TOKEN) for i in range(40)), size=40)
    for pieces in (list(lazy.check_pieces()), list(whole.check_pieces())):
        assert max(len(piece.start) for piece in pieces) == 7
        joined = [np.concatenate(column).tolist() for column in zip(*pieces, strict=True)]
        columns = (whole.start, whole.end, whole.bits, whole.kind)
        assert joined == [column.tolist() for column in columns]
    lazy.check()
    assert (lazy.total(), lazy.tokens, lazy.bytes_charged) == (whole.total(), 40, 40)
    lazy.bits[8] = 0.0
    assert [piece.bits.tolist() for piece in lazy.check_pieces()][1][1] == 0.0


@pytest.mark.parametrize("bits", [lambda a, b: np.ones(b - a - 1), lambda a, b: -np.ones(b - a)])
def test_wrong_bits_of_a_ledger_by_bytes_are_refused(bits):
    with pytest.raises(LedgerError, match=r"long: .*from byte 0 on"):
        list(ByteLedger(bits, 5, "long").check_pieces())


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


@pytest.mark.parametrize(
    ("charges", "size", "complaint"),
    [
        (
            [(0, 1, 1.0, TOKEN), (2, 3, 1.0, TOKEN)],
            3,
            "charge 1 starts at byte 2, the one before it ended at 1",
        ),
        (
            [(0, 1, 1.0, TOKEN), (1, 2, 1.0, TOKEN), (1, 3, 1.0, TOKEN)],
            3,
            "charge 2 starts at byte 1, the one before it ended at 2",
        ),
        ([(0, 1, 1.0, TOKEN), (1, 2, 1.0, TOKEN)], 3, "charges end at byte 2 of 3"),
        (
            [(0, 1, 1.0, TOKEN), (1, 3, -0.5, TOKEN), (3, 4, -1.0, TOKEN)],
            4,
            "charge 1 has -0.5 bits; bits are >= 0 or +inf",
        ),
        ([(0, 1, 1.0, TOKEN), (1, 3, 1.0, 5)], 3, "unknown kind of charge 5"),
        (
            [(0, 3, 1.0, TOKEN), (2, 2, 1.0, END)],
            3,
            "a charge of kind end stands before the end",
        ),
        (
            [(0, 1, 1.0, TOKEN), (1, 2, 1.0, PSEUDO)],
            2,
            "pseudo-bits stand beside bits of the chain rule, with which they cannot be added",
        ),
        (
            [(0, 2, 1.0, PSEUDO), (1, 3, 1.0, PSEUDO)],
            3,
            "the spans of pseudo-bits overlap or leave the text",
        ),
        (
            [(0, 1, 1.0, PSEUDO), (1, 3, 1.0, PSEUDO), (2, 4, 1.0, PSEUDO)],
            4,
            "the spans of pseudo-bits overlap or leave the text",
        ),
        ([(0, 4, 1.0, PSEUDO)], 3, "the spans of pseudo-bits overlap or leave the text"),
    ],
)
def test_a_broken_rule_is_said_with_the_document_the_charge_and_its_numbers(
    charges, size, complaint
):
    with pytest.raises(LedgerError) as caught:
        Ledger.build(*zip(*charges, strict=True), bytes=size, id="d7")
    assert str(caught.value) == f"d7: {complaint}"


@pytest.mark.parametrize("short", [[0], [1], [2], [3], [2, 3], [0, 1], [0, 3]])
def test_columns_of_different_lengths_are_refused(short):
    columns = [[0, 1], [1, 2], [1.0, 1.0], [TOKEN, TOKEN]]
    for column in short:
        columns[column] = columns[column][:1]
    with pytest.raises(LedgerError, match=r"^d7: start, end, bits and kind differ in length$"):
        Ledger.build(*columns, bytes=2, id="d7")


def test_gaps_need_not_tile_and_are_counted_apart():
    made = ledger((0, 1, 3.0, PSEUDO), (1, 3, 4.0, PSEUDO), (4, 6, 2.0, PSEUDO), size=6)
    assert made.total() == 0.0
    assert made.total(PSEUDO) == 9.0
    assert made.total(PSEUDO, TOKEN) == 9.0
    assert made.bytes_charged == 5
    assert ledger((2, 3, 1.0, PSEUDO), (3, 3, 1.0, PSEUDO), size=9).total(PSEUDO) == 2.0


def test_a_ledger_is_built_of_any_sequences_with_its_types():
    small = np.array([2, 2], np.int32)
    made = Ledger.build(iter(np.int32([0, 2])), small, np.array([1, 2]), [TOKEN, END], 2, "d7")
    assert [a.dtype for a in (made.start, made.end, made.bits, made.kind)] == [
        np.int64,
        np.int64,
        np.float64,
        np.uint8,
    ]
    assert (made.bytes, made.id, made.total(), made.total(END)) == (2, "d7", 1.0, 2.0)
    assert Ledger.build([], [], [], [], bytes=0).id == ""


@pytest.mark.parametrize("edges", [[], [6], [0], [1, 6], [0, 3], [0, 7], [3, 0]])
def test_edges_that_do_not_run_over_the_whole_text_are_refused(edges):
    made = Ledger.build([0], [6], [1.0], [TOKEN], 6, "d7")
    with pytest.raises(LedgerError, match=r"^d7: edges must run from 0 to 6$"):
        made.bits_between(edges)
    with pytest.raises(LedgerError, match=r"^: edges must run from 0 to 6$"):
        Blocks(edges, 6)


def test_a_ledger_by_bytes_has_the_types_of_others_and_no_name_of_its_own():
    made = ByteLedger(lambda a, b: np.ones(b - a), 3)
    assert made.id == ""
    (piece,) = made.check_pieces()
    for columns in (piece, (made.start, made.end, made.bits, made.kind)):
        assert [column.dtype for column in columns] == [np.int64, np.int64, np.float64, np.uint8]


def test_an_empty_charge_belongs_to_the_next_byte_and_at_the_end_to_the_last():
    made = ledger(
        (0, 0, 1.0, TOKEN),
        (0, 2, 2.0, SPELLING),
        (2, 2, 4.0, TOKEN),
        (2, 4, 8.0, SPELLING),
        (4, 4, 16.0, TOKEN),
        (4, 4, 32.0, END),
        size=4,
    )
    assert made.bits_between([0, 2, 4]).tolist() == [3.0, 28.0]
    assert made.bits_between([0, 4]).tolist() == [31.0]


def test_a_charge_over_many_stretches_gives_each_its_bytes_share():
    made = ledger((0, 1, 1.0, TOKEN), (1, 9, 16.0, TOKEN), (9, 10, 3.0, TOKEN), size=10)
    assert made.bits_between([0, 2, 3, 7, 10]).tolist() == [3.0, 2.0, 8.0, 7.0]


def test_totals_add_up_all_documents():
    one = ledger((0, 0, 2.0, TOKEN), (0, 4, 10.0, SPELLING), (4, 5, 1.0, TOKEN), size=5)
    two = ledger((0, 3, 4.0, TOKEN), (3, 3, 9.0, END), size=3)
    assert Totals.of([one, two], words=3) == Totals(
        bits=17.0,
        token_bits=7.0,
        spelling_bits=10.0,
        bytes=8,
        words=3,
        tokens=3,
        unknown=1,
        documents=2,
    )


def test_totals_of_parts_add_up_to_those_of_all():
    one = ledger((0, 0, 2.0, TOKEN), (0, 4, 10.0, SPELLING), (4, 5, 1.0, TOKEN), size=5)
    two = ledger((0, 3, 4.0, TOKEN), (3, 3, 9.0, END), size=3)
    parts = [Totals.of([one], 2), Totals.of([two, two], 5)]
    assert Totals.add(parts) == Totals.of([one, two, two], 7)
    assert Totals.add([]) == Totals.of([], 0)


def test_a_power_of_two_that_no_float_holds_is_infinite():
    assert two_to(3.0) == 8.0
    assert two_to(1023.0) == 2.0**1023
    assert two_to(1023.5) == 2.0**1023.5
    assert two_to(1024.0) == math.inf


def test_half_a_surrogate_pair_is_three_bytes():
    assert count_block_words("\ud800 a", [0, 3, 4, 5]) == [1, 0, 1]
