"""Closed vocabularies and what unknown pieces cost: probabilities of all sequences must sum to
exactly 1.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toys import network

from llmbench.adapter import Passage
from llmbench.models.tokenizers.spelling import (
    END,
    Speller,
    SpellReader,
    escape_probability,
    spelling_examples,
)
from llmbench.models.tokenizers.vocabulary import Vocabulary, split
from llmbench.models.tokenizers.witten_bell import WittenBell


@given(st.text(max_size=80), st.sampled_from(["characters", "words"]))
@settings(max_examples=300)
def test_splitters_lose_nothing(text, splitter):
    pieces = split(text, splitter)
    assert "".join(pieces) == text
    assert all(pieces)


def test_words_take_their_space_along():
    assert split('"Don\'t," he said, 12 times.\n\n  Well_x', "words") == [
        '"', "Don't", ",", '"', " he", " said", ",", " 1", "2", " times", ".", "\n", "\n", " ",
        " Well", "_", "x",
    ]  # fmt: skip


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_encoding_tiles_and_decodes_but_for_what_is_unknown(text):
    vocabulary = Vocabulary.learn(["the cat sat on the mat. the end", text[:20]], "words", 12)
    tokens = vocabulary.encode(text)
    raw = text.encode()
    assert np.array_equal(np.concatenate(([0], tokens.end))[:-1], tokens.start)
    assert (tokens.end[-1] if len(tokens.end) else 0) == len(raw)
    known = tokens.spelling == 0
    for i in np.flatnonzero(known):
        assert vocabulary.decode([tokens.ids[i]]) == raw[tokens.start[i] : tokens.end[i]]


def test_witten_bell_by_hand():
    """Trained on abab over {a, b}: p(a) = (2 + 2/2)/(4 + 2) = 1/2; after a, only b was seen twice:
    p(b|a) = (2 + 1 * 1/2)/(2 + 1).
    """
    model = WittenBell([[0, 1, 0, 1]], order=1, symbols=2)
    assert model.probabilities([0, 1]).tolist() == pytest.approx([0.5, 2.5 / 3])
    assert model.probabilities([1, 1]).tolist() == pytest.approx([0.5, (0 + 1 * 0.5) / 2])


def plain_witten_bell(sequences, order, symbols, history, symbol):
    p = 1 / symbols
    for length in range(order + 1):
        if length > len(history):
            break
        h = tuple(history[len(history) - length :])
        follow = Counter(
            s[i] for s in sequences for i in range(length, len(s)) if tuple(s[i - length : i]) == h
        )
        if follow:
            p = (follow[symbol] + len(follow) * p) / (follow.total() + len(follow))
    return p


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=1, max_size=9),
    st.integers(0, 4),
)
@settings(max_examples=150, deadline=None)
def test_witten_bell_equals_the_formula_and_sums_to_one(sequences, asked, order):
    model = WittenBell(sequences, order, 4)
    want = [plain_witten_bell(sequences, order, 4, asked[:i], asked[i]) for i in range(len(asked))]
    assert model.probabilities(asked) == pytest.approx(want)
    padded = np.zeros((len(asked), max(order, 1)), dtype=np.int64)
    for i in range(len(asked)):
        for back in range(1, min(i, order) + 1):
            padded[i, -back] = asked[i - back]
    rows = model.distributions(padded[:, :order], np.minimum(np.arange(len(asked)), order))
    assert rows.sum(axis=1) == pytest.approx(np.ones(len(asked)))
    assert rows[np.arange(len(asked)), asked] == pytest.approx(want)


def test_q_over_all_byte_strings_sums_to_one():
    """Every string of up to n symbols, and the mass that has not ended by then, which is known from
    the chain rule.
    """
    speller = Speller([b"ab", b"ba", b"bb"], [])
    total, alive = 0.0, {b"": 1.0}
    for _ in range(2):
        ended = sum(speller.probability(prefix) for prefix in alive)
        total += ended
        alive = {prefix + bytes([b]): 0.0 for prefix in alive for b in range(256)}
    # mass still alive after two bytes = 1 - q("") - sum q(b)
    model = speller._model
    going_on = 0.0
    for first in range(256):
        p_first = model.conditional(
            np.zeros((1, 4), dtype=np.int64), np.array([0]), np.array([first])
        )[0]
        history = np.array([[0, 0, 0, first]])
        p_end = model.conditional(history, np.array([1]), np.array([END]))[0]
        going_on += p_first * (1 - p_end)
    assert total + going_on == pytest.approx(1.0, abs=1e-12)


def test_pieces_in_need_of_spelling_have_probability_one_in_sum():
    """All unknown pieces of a toy alphabet: one or two letters of {a, b, c}, and everything else as
    the rest of q.
    """
    known = [b"a", b"ab"]
    speller = Speller([b"b", b"c", b"bc", b"ca"], known)
    pieces = [
        bytes(p)
        for n in (1, 2)
        for p in itertools.product(b"abc", repeat=n)
        if bytes(p) not in known
    ]
    spelled = math.fsum(2.0 ** -speller.bits(piece) for piece in pieces)
    elsewhere = (
        1 - speller.probability(b"") - math.fsum(speller.probability(p) for p in [*pieces, *known])
    )
    rest = 1 - speller.probability(b"") - math.fsum(speller.probability(p) for p in known)
    assert spelled + elsewhere / rest == pytest.approx(1.0, abs=1e-12)
    assert 0.3 < spelled < 1


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_all_sequences_of_a_word_model_and_its_speller_sum_to_one(pieces):
    """Enumerated: each piece is a known word, or unknown and then one of the spellings; what is not
    enumerated is known exactly.
    """
    model = network("word-ffn", text="a b a b a c " * 3 + "d e")
    vocabulary = model.vocabulary
    assert vocabulary.unknown is None or vocabulary.symbols == len(vocabulary.pieces) + 1
    small = Vocabulary("words", [" a", " b"], [" c", " d", " ad"], unknown=True, escape=0.0)
    torch.manual_seed(1)
    from llmbench.adapters.network import NetworkAdapter
    from llmbench.models.networks.word_ffn import WordFFN

    word = NetworkAdapter(WordFFN(small.symbols, reach=2, embedding=4, width=8), small)
    spellings = [" c", " d", " ad", " dd"]
    covered = math.fsum(2.0 ** -small.speller.bits(piece.encode()) for piece in spellings)
    total, missing = 0.0, 0.0
    texts = list(itertools.product([*small.pieces, *spellings], repeat=pieces))
    ledgers = list(word.score([Passage("".join(text)) for text in texts]))
    for text, ledger in zip(texts, ledgers, strict=True):
        assert ledger.tokens == pieces
        total += 2.0 ** -ledger.total()
        unknown = sum(piece in spellings for piece in text)
        # sequences with `unknown` spelled pieces cover the share covered^unknown of all such
        # sequences
        missing += 2.0 ** -ledger.total() * (covered**-unknown - 1)
    assert total + missing == pytest.approx(1.0, abs=1e-6)
    assert total < 1


def test_a_character_model_pays_for_a_new_character_and_sums_to_one():
    model = network("char-ffn", text="abcab cab " * 20)
    vocabulary = model.vocabulary
    assert vocabulary.unknown is None
    assert vocabulary.escape == escape_probability(Counter("abcab cab " * 20)) == 1 / 202
    known = [
        2.0 ** -ledger.total()
        for ledger in model.score([Passage(piece) for piece in vocabulary.pieces])
    ]
    assert math.fsum(known) + vocabulary.escape == pytest.approx(1.0, abs=1e-6)
    new = next(model.score([Passage("z")]))
    assert new.bits[0] == pytest.approx(-math.log2(vocabulary.escape))
    assert new.total() == pytest.approx(
        -math.log2(vocabulary.escape) + vocabulary.speller.bits(b"z")
    )


def test_spellers_learn_from_types_outside_the_vocabulary_else_from_rare_ones():
    counts = {b"the": 9, b"cat": 1, b"sat": 2}
    assert spelling_examples(counts, [b"the"]) == [b"cat", b"sat"]
    assert spelling_examples(counts, [b"the", b"cat", b"sat"]) == [b"cat"]
    assert spelling_examples({b"a": 2, b"b": 3}, [b"a", b"b"]) == [b"a", b"b"]


def test_a_vocabulary_comes_back_from_json_as_it_was():
    made = Vocabulary.learn(["one two three two one \N{SNOWMAN}"], "words", 3)
    again = Vocabulary.from_json(made.to_json())
    text = "one five \N{SNOWMAN} two"
    assert np.array_equal(made.encode(text).ids, again.encode(text).ids)
    assert np.array_equal(made.encode(text).spelling, again.encode(text).spelling)


@pytest.mark.parametrize("piece", [b"x", b"cat", b"cats", b"tap", "h\u00e9".encode(), b"zzzzzzzz"])
def test_a_piece_read_byte_by_byte_costs_what_it_costs_as_a_whole(piece):
    speller = Speller([b"cats", b"cab", b"tap", b"taps", b"hum"], [b"cat", b"ca", b"the", b"taps"])
    reader, bits = SpellReader(speller), 0.0
    for byte in piece:
        p = reader.distribution()
        assert p.sum() == pytest.approx(1)
        bits -= math.log2(p[byte])
        reader.take(byte)
    end = reader.distribution()[END]
    if piece in speller.known:
        assert end == 0  # known pieces are never spelled
    else:
        assert bits - math.log2(end) == pytest.approx(speller.bits(piece), abs=1e-9)
