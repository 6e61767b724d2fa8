"""Scoring by hand: what is read in which pass, how charges are laid over bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.toys import ByteModel, OrderK, Pieces, network

from llmbench.adapter import Passage, Window
from llmbench.inference import batching, scoring
from llmbench.inference.blocked_attention import CausalBlocks
from llmbench.inference.text.lines import encode_lines
from llmbench.ledger import END, SPELLING, TOKEN

START, STOP = 256, 257


class Reader(ByteModel):
    """A uniform model over 258 symbols that keeps what it reads."""

    bos_ids = (START, 255)
    eos_ids = (STOP, 0)

    def __init__(self, context: int | None = None):
        self.context = context
        self.read: list[list[list[int]]] = []

    def logits(self, ids):
        self.read.append(ids.tolist())
        return torch.zeros(*ids.shape, 258)


class Packable(OrderK):
    """A model of order k that takes packed rows: of each query it reads what the mask shows, in
    the order of the positions.
    """

    supports_packing = True

    def __init__(self, context: int | None = None):
        super().__init__(3, context)
        self.packed: list[list[list[int]]] = []

    def forward_packed(self, ids, positions, mask):
        self.packed.append(ids.tolist())
        rows = torch.zeros(*ids.shape, 256)
        for row in range(len(ids)):
            for query in range(ids.shape[1]):
                seen = mask[row, 0, query].nonzero()[:, 0]
                line = ids[row, seen[positions[row, seen].argsort()]]
                rows[row, query] = self.logits(line[None])[0, -1]
        return rows / 2

    def head(self, rows):
        return rows * 2


# What is read
# --------------------------------------------------------------------------------------------------


def test_all_start_symbols_stand_before_a_text_and_its_last_id_is_not_read():
    model = Reader()
    (ledger,) = scoring.score(model, [Passage("ab", id="d7", score_eos=True)])
    assert model.read == [[[START, 255, *b"ab"]]]
    assert (ledger.id, ledger.bytes, ledger.tokens) == ("d7", 2, 2)
    assert ledger.bits.tolist() == pytest.approx([math.log2(258)] * 3)
    assert ledger.kind.tolist() == [TOKEN, TOKEN, END]
    assert (ledger.start.tolist(), ledger.end.tolist()) == ([0, 1, 2], [1, 2, 2])


def test_ids_are_integers_even_if_nothing_stands_before_or_after_them():
    passages = [Passage("b", context="a", add_bos=False), Passage("a", score_eos=True)]
    assert [line.ids.dtype for line in encode_lines(Reader(), passages)] == [np.int64] * 2


def test_a_tokenizer_that_encodes_fewer_texts_than_it_is_given_is_refused():
    model = Reader()
    model.encode_all = lambda texts: [model.encode(texts[0])]
    with pytest.raises(ValueError, match="shorter"):
        list(scoring.score(model, [Passage("ab"), Passage("cd")]))


def test_shorter_texts_are_padded_with_the_first_start_symbol():
    model = Reader()
    found = list(scoring.score(model, [Passage("c"), Passage("wxyz"), Passage("ab")]))
    assert [len(ledger.bits) for ledger in found] == [1, 4, 2]
    assert model.read == [
        [[START, 255, *b"wxy"], [START, 255, ord("a"), START, START], [START, 255] + [START] * 3]
    ]


def test_an_empty_text_is_not_read_and_its_end_is():
    model = Reader()
    (ledger,) = scoring.score(model, [Passage("", context="ab")])
    assert (model.read, ledger.bits.tolist(), ledger.bytes) == ([], [], 0)
    (ledger,) = scoring.score(model, [Passage("", context="ab", score_eos=True)])
    assert model.read == [[[START, 255, *b"ab"]]]
    assert ledger.total(END) == pytest.approx(math.log2(258))


@pytest.mark.parametrize(
    ("context", "passage", "read"),
    [
        (4, Passage("yz", context="abcdef"), [b"defy"]),
        (4, Passage("wxyz", context="abcdef"), [b"fwxy"]),
        (4, Passage("vwxyz", context="abcdef"), [b"defv", b"fvwx", b"vwxy"]),
        (20, Passage("yz", context="abc"), [b"\xff\xffabcy"]),
        (None, Passage("yz", context="abc"), [b"\xff\xffabcy"]),
        (4, Passage("uvwxyz"), [b"\xff\xffuv", b"uvwx", b"vwxy"]),
    ],
)
def test_a_context_is_read_as_far_back_as_one_window_holds_it(context, passage, read):
    model = Reader(context)
    model.bos_ids = (255, 255)
    list(scoring.score(model, [passage]))
    assert sorted(bytes(row) for rows in model.read for row in rows) == sorted(read)


def test_windows_have_the_stride_asked_for():
    model = Reader(4)
    list(scoring.score(model, [Passage("stuvwxyz")], Window("rolling")))
    assert [bytes(row[2:]) for rows in model.read for row in rows] == [b"st", b"wx", b"xy"]
    model.read.clear()
    list(scoring.score(model, [Passage("abcde")], Window(1)))
    assert model.read == [[[START, 255, *b"ab"], [255, *b"abc"], [*b"abcd"]]]


def test_a_pass_reads_about_as_many_ids_as_the_budget_allows():
    model = Reader()
    list(scoring.score(model, [Passage("abc")] * 7, budget=12))
    assert [len(rows) for rows in model.read] == [3, 3, 1]


# Texts after one prompt
# --------------------------------------------------------------------------------------------------

ASKED = [
    Passage(text, context=context, id=f"{context}{text}", score_eos=eos)
    for context in ("the tap", "a kettle")
    for text, eos in ((" drips", False), (" k", True), ("", True), (" hums on", False), ("", False))
]


@pytest.mark.parametrize("context", [None, 16, 24])
def test_packed_texts_have_the_bits_of_each_alone(context):
    model, plain = Packable(context), OrderK(3, context)
    model.eos_ids = plain.eos_ids = (0,)
    together = list(scoring.score(model, ASKED))
    assert model.packed
    for passage, ledger in zip(ASKED, together, strict=True):
        (alone,) = scoring.score(plain, [passage])
        assert ledger.id == passage.id
        assert ledger.kind.tolist() == alone.kind.tolist()
        assert ledger.bits == pytest.approx(alone.bits, rel=1e-6)


def test_a_packed_row_is_the_prompt_and_then_each_text():
    model = Packable()
    list(scoring.score(model, [Passage(text, context="ab") for text in ("xyz", "uv", "w")]))
    assert model.packed == [[[START, *b"abxyu"]]]


@pytest.mark.parametrize("texts", [("xyz", "uv"), ("xyz",)])
def test_texts_without_a_context_are_not_packed(texts):
    model = Packable()
    found = list(scoring.score(model, [Passage(text) for text in texts]))
    assert model.packed == []
    assert [len(ledger.bits) for ledger in found] == list(map(len, texts))


def test_one_context_among_the_texts_is_enough_to_pack_and_leaves_no_text_out():
    model = Packable()
    passages = [Passage("xyz"), Passage("uv", context="ab"), Passage("pq", context="ab")]
    found = list(scoring.score(model, passages))
    assert model.packed == [[[START, *b"abup"]]]
    (alone,) = scoring.score(OrderK(3, None), [passages[0]])
    assert found[0].bits == pytest.approx(alone.bits, rel=1e-6)


def test_different_contexts_that_begin_alike_share_a_row_from_one_byte_on():
    model = Packable()
    list(scoring.score(model, [Passage("x", context="a"), Passage("pq", context="ab")]))
    assert model.packed == [[[START, *b"a", *b"abp"]]]  # each reads the last symbol of its own


def test_contexts_that_share_nothing_but_the_start_have_no_row_of_their_own():
    model = Packable()
    passages = [Passage("xyz", context="ab"), Passage("uvw", context="cd"), Passage("klm")]
    found = list(scoring.score(model, passages))
    assert model.packed == []
    assert [len(ledger.bits) for ledger in found] == [3, 3, 3]


@pytest.mark.parametrize(("context", "budget", "most"), [(9, None, 9), (None, 8, 8), (9, 7, 7)])
def test_a_packed_row_is_as_long_as_context_and_budget_allow(context, budget, most):
    model = Packable(context)
    passages = [Passage("xy", context="abcd", id=str(i)) for i in range(9)]
    list(scoring.score(model, passages, budget=budget))
    assert max(len(row) for rows in model.packed for row in rows) == most
    if budget:
        assert [len(rows) for rows in model.packed] == [1] * len(model.packed)


def test_a_packed_row_is_as_long_as_one_pass_without_context_and_budget(monkeypatch):
    monkeypatch.setattr(scoring, "TOKEN_BUDGET", 10)
    monkeypatch.setattr(batching, "LEAST_BUDGET", 30)
    model = Packable()
    list(scoring.score(model, [Passage("xy", context="abcd", id=str(i)) for i in range(20)]))
    assert {len(row) for rows in model.packed for row in rows} == {10}
    assert [len(rows) for rows in model.packed] == [3, 1]


def test_a_packed_model_with_an_escape_pays_for_it_in_its_head():
    model, plain = Packable(), Packable()
    model.escape = 0.5
    passages = [Passage(text, context="ab") for text in ("xyz", "uv")]
    for one, other in zip(
        scoring.score(model, passages), scoring.score(plain, passages), strict=True
    ):
        assert one.bits == pytest.approx(other.bits + 1.0)


class Elsewhere(Packable):
    """A packable model on a device without numbers, which ends with what it is given."""

    device = "meta"

    def forward_packed(self, ids, positions, mask):
        raise Given(ids, positions, mask)

    def logits(self, ids):
        raise Given(ids)


class Split(Elsewhere):
    supports_packing = False
    has_split_head = True

    def hidden(self, ids):
        raise Given(ids)


class Given(Exception):
    pass


@pytest.mark.parametrize(
    ("model", "context", "count"), [(Elsewhere(), "ab", 3), (Elsewhere(), "", 1), (Split(), "", 1)]
)
def test_ids_are_put_on_the_models_device(model, context, count):
    with pytest.raises(Given) as caught:
        list(scoring.score(model, [Passage(text, context=context) for text in ("xy", "uv")]))
    assert [part.device.type for part in caught.value.args] == ["meta"] * count


def test_packed_rows_are_read_under_their_mask_in_blocks(monkeypatch):
    masks = []

    class Noted(CausalBlocks):
        def __init__(self, mask=None):
            masks.append(mask)
            super().__init__(mask)

    monkeypatch.setattr(scoring, "CausalBlocks", Noted)
    list(scoring.score(Packable(), [Passage(text, context="ab") for text in ("xyz", "uv")]))
    (packed,) = masks
    assert packed.shape == (1, 1, 6, 6)


@pytest.mark.parametrize(
    ("model", "context", "width"),
    [(Packable(), "ab", 256), (OrderK(2, None), "", 256), (network("windowed"), "", 32)],
)
def test_the_first_pass_tells_the_width_of_the_rows(model, context, width, monkeypatch):
    asked = []
    monkeypatch.setattr(
        batching, "_budget", lambda model, width: asked.append(width) or batching.TOKEN_BUDGET
    )
    list(scoring.score(model, [Passage(text, context=context) for text in ("xyz", "uv")]))
    assert asked == [0, width]


# How charges are laid
# --------------------------------------------------------------------------------------------------


def rows_of(ledger):
    return list(
        zip(
            ledger.start.tolist(),
            ledger.end.tolist(),
            ledger.bits.round(4).tolist(),
            ledger.kind.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("eos", [False, True])
def test_an_unknown_piece_is_an_empty_token_charge_and_its_spelling(eos):
    (ledger,) = scoring.score(Pieces(), [Passage("?abcde?fg?h", score_eos=eos)])
    assert rows_of(ledger) == [
        (0, 0, 8.0, TOKEN),
        (0, 3, 0.5, SPELLING),
        (3, 6, 8.0, TOKEN),
        (6, 6, 8.0, TOKEN),
        (6, 9, 0.5, SPELLING),
        (9, 9, 8.0, TOKEN),
        (9, 11, 0.5, SPELLING),
        *([(11, 11, 8.0, END)] if eos else []),
    ]
    assert (ledger.tokens, ledger.unknown) == (4, 3)
    assert ledger.kind.dtype == np.uint8
    assert (ledger.start.dtype, ledger.end.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize("eos", [False, True])
def test_known_pieces_are_a_token_charge_each(eos):
    (ledger,) = scoring.score(Pieces(), [Passage("abcde", score_eos=eos)])
    assert rows_of(ledger) == [
        (0, 3, 8.0, TOKEN),
        (3, 5, 8.0, TOKEN),
        *([(5, 5, 8.0, END)] if eos else []),
    ]
    assert ledger.kind.dtype == np.uint8


@pytest.mark.parametrize(
    ("context", "text", "shared", "rows"),
    [
        ("abc", "def", 0, [(0, 3, 8.0, TOKEN)]),
        ("abcd", "efg", 1, [(0, 2, 8.0, TOKEN), (2, 3, 8.0, TOKEN)]),
        ("abcde", "fg", 2, [(0, 1, 8.0, TOKEN), (1, 2, 8.0, TOKEN)]),
        ("abc?", "efg", 1, [(0, 0, 8.0, TOKEN), (0, 2, 0.5, SPELLING), (2, 3, 8.0, TOKEN)]),
        ("abcd", "", 0, []),
    ],
)
def test_a_token_over_the_join_is_charged_to_the_text_with_the_bytes_it_shares(
    context, text, shared, rows
):
    (ledger,) = scoring.score(Pieces(), [Passage(text, context=context)])
    assert ledger.context_bytes == shared
    assert rows_of(ledger) == rows


class Charging(OrderK):
    """A model of order k that gives bits and no logits, and keeps what it was asked for."""

    charges_targets = True

    def __init__(self, context: int | None = None):
        super().__init__(3, context)
        self.asked: list[tuple[list[int], int]] = []

    def charge_targets(self, jobs):
        self.asked += [(ids.tolist(), first) for ids, first in jobs]
        found = []
        for ids, first in jobs:
            logits = super().logits(torch.from_numpy(ids[None, :-1]))[0].double()
            bits = -torch.log_softmax(logits, -1) / math.log(2)
            targets = torch.from_numpy(ids[1:])
            found.append(bits[torch.arange(len(targets)), targets].numpy()[first - 1 :])
        return found


def test_a_model_that_gives_bits_is_asked_for_each_window_of_ids_from_its_first_charge_on():
    model = Charging(context=4)
    passage = Passage("uvwxyz", context="ab")
    (ledger,) = scoring.score(model, [passage], Window(2))
    line = [START, *b"abuvwxyz"]
    assert model.asked == [(line[0:5], 3), (line[2:7], 3), (line[4:9], 3)]
    (plain,) = scoring.score(OrderK(3, 4), [passage], Window(2))
    assert ledger.bits == pytest.approx(plain.bits, rel=1e-6)


def test_passages_of_a_model_that_gives_bits_are_charged_apart():
    passages = [Passage("uvw"), Passage("xy", context="abc"), Passage("z")]
    for one, other in zip(
        scoring.score(Charging(), passages), scoring.score(OrderK(3, None), passages), strict=True
    ):
        assert one.bits == pytest.approx(other.bits, rel=1e-6)
