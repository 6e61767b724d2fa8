from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toys import NETWORKS, TEXT, ByteModel, OrderK, Uniform, network, reference_bits

from llmbench.adapter import Passage, Window
from llmbench.errors import ModelError, OutOfMemory, Unsupported
from llmbench.inference import scoring, stateful, token_bits, windows
from llmbench.ledger import SPELLING, TOKEN
from llmbench.models.tokenizers.tokens import Tokens

TORTURE = (
    "e\N{COMBINING ACUTE ACCENT}\N{FAMILY}\U0001f469\N{ZERO WIDTH JOINER}\U0001f680\r\n\ufeff\x00"
    " \t\N{IDEOGRAPHIC SPACE}\u202ework\n\n"
)


def bits(model, text, window="half", **options):
    return next(scoring.score(model, [Passage(text)], Window(window), **options)).bits


@given(
    length=st.integers(0, 90),
    first=st.integers(1, 5),
    context=st.integers(1, 20),
    stride=st.integers(1, 20),
)
@settings(max_examples=400, deadline=None)
def test_windows_charge_every_target_once_with_the_context_they_promise(
    length, first, context, stride
):
    stride = min(stride, context)
    pieces = windows.windows(length, first, context, stride)
    charged = [t for piece in pieces for t in range(piece.first, piece.b + 1)]
    assert charged == list(range(first, length))
    for piece in pieces:
        assert 0 < piece.b - piece.a <= context
        for t in range(piece.first, piece.b + 1):
            assert t - piece.a >= min(t, context - stride + 1)


def test_rolling_windows_are_those_of_lm_eval():
    """Its documented example: context 4, tokens 1..10 after one start symbol: [0..3]->1..4,
    [4..7]->5..8, last full window charges 9, 10.
    """
    assert windows.windows(11, 1, 4, 4) == [
        windows.Piece(0, 4, 1),
        windows.Piece(4, 8, 5),
        windows.Piece(6, 10, 9),
    ]


@pytest.mark.parametrize("tokens", [0, 1, 15, 16, 17, 33])
@pytest.mark.parametrize("window", ["half", "rolling", 1, 5])
def test_bits_equal_the_plain_loop_at_every_length_and_window(tokens, window):
    model = network("windowed")
    text = TEXT[:tokens]
    found = bits(model, text, window) + math.log2(1 - model.escape)
    assert found == pytest.approx(
        reference_bits(model, text, Window(window).stride(16)), rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_of_every_network_equal_one_pass_by_the_plain_loop(name):
    model = network(name)
    text = TEXT[:60]
    stride = 8 if model.context else None
    known = next(scoring.score(model, [Passage(text)]))
    found = known.bits[known.kind == TOKEN] + (math.log2(1 - model.escape) if model.escape else 0)
    assert found == pytest.approx(reference_bits(model, text, stride), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_order_and_padding_change_no_charge(name):
    model = network(name)
    texts = [TEXT[: 11 * i] for i in (7, 1, 20, 3, 0, 13)]
    alone = [bits(model, text) for text in texts]
    together = [
        ledger.bits
        for ledger in scoring.score(model, [Passage(text) for text in texts], Window(), budget=200)
    ]
    reversed_ = [
        ledger.bits
        for ledger in scoring.score(
            model, [Passage(text) for text in texts[::-1]], Window(), budget=100_000
        )
    ][::-1]
    for one, two, three in zip(alone, together, reversed_, strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
        assert three == pytest.approx(one, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("context", "window"),
    [(8, 1), (8, 3), (8, 5), (12, 7), (40, "half"), (None, "half"), (None, "rolling")],
)
def test_an_order_k_model_has_the_same_bits_under_every_window_that_gives_it_k(context, window):
    text, order = TEXT[:150], 4
    assert bits(OrderK(order, context), text, window) == pytest.approx(
        bits(OrderK(order, None), text), rel=1e-6
    )


def test_state_is_carried_over_every_border_inside_a_document(monkeypatch):
    model = network("lstm")
    whole = bits(model, TEXT, budget=1 << 20)
    monkeypatch.setattr(stateful, "LEAST_PIECE", 4)
    assert bits(model, TEXT, budget=7) == pytest.approx(whole, rel=1e-5, abs=1e-5)


def test_the_first_byte_is_charged():
    assert len(bits(Uniform(), "a")) == 1
    assert bits(OrderK(2, None), "a")[0] == pytest.approx(
        reference_bits(OrderK(2, None), "a", None)[0]
    )


@pytest.mark.parametrize("context", [None, 1, 7, 64])
@pytest.mark.parametrize("window", ["half", "rolling", 3])
def test_a_uniform_model_costs_eight_bits_a_byte_and_tiles(context, window):
    for text in ("", "a", "ab" * 40, TORTURE):
        ledger = next(scoring.score(Uniform(context), [Passage(text)], Window(window)))
        ledger.check()
        assert ledger.bits == pytest.approx(np.full(len(text.encode()), 8.0), rel=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_torture_text_is_charged_whole_and_round_trips(name):
    model = network(name)
    ledger = next(model.score([Passage(TORTURE)]))
    ledger.check()
    assert ledger.bytes == len(TORTURE.encode())
    assert np.isfinite(ledger.bits).all()
    spelled = ledger.kind == SPELLING
    assert spelled.any()  # none of these characters is in the vocabulary
    assert (ledger.bits[spelled] > 0).all()


def test_given_text_is_free_and_the_chain_rule_holds():
    model = OrderK(3, None)
    given, text = "The kettle said", " nothing."
    both = bits(model, given + text)
    conditional = next(scoring.score(model, [Passage(text, context=given)]))
    assert conditional.bytes == len(text)
    assert conditional.bits == pytest.approx(both[len(given) :], rel=1e-6)


def test_given_text_longer_than_the_context_leaves_the_text_charged_once():
    model = network("windowed")
    given, text = TEXT[:70], TEXT[70:100]
    ledger = next(scoring.score(model, [Passage(text, context=given)], Window("rolling")))
    ledger.check()
    assert ledger.tokens == 30


def test_a_token_that_covers_the_join_is_charged_whole_to_the_text():
    model = network("word-ffn")
    given, text = "The ket", "tle said"
    (whole,) = scoring.score(model, [Passage(given + text)])
    (ledger,) = scoring.score(model, [Passage(text, context=given)])
    ledger.check()
    assert ledger.bytes == len(text)
    assert ledger.context_bytes == len(" ket")
    assert ledger.total() == pytest.approx(
        float(whole.bits[whole.end > len(given)].sum()), rel=1e-6
    )
    (parted,) = scoring.score(model, [Passage("ettle said", context="The k")])
    assert parted.context_bytes == len(" k")
    assert parted.total() == pytest.approx(ledger.total(), rel=1e-6)
    (bordered,) = scoring.score(model, [Passage(" said", context="The kettle")])
    assert bordered.context_bytes == 0


class Broken(ByteModel):
    def __init__(self, logits):
        self._logits = logits

    def logits(self, ids):
        return self._logits(ids)


@pytest.mark.parametrize(
    ("logits", "complaint"),
    [
        (lambda ids: torch.full((*ids.shape, 256), math.nan), "NaN"),
        (lambda ids: torch.full((*ids.shape, 256), math.inf), "NaN or"),
        (lambda ids: torch.zeros(ids.shape[0], 256), "logits are"),
        (lambda ids: torch.zeros(ids.shape[0], ids.shape[1] + 1, 256), "logits are"),
        (lambda ids: torch.zeros(*ids.shape, 50), "has no logit"),
        (lambda ids: None, "logits are NoneType"),
    ],
)
def test_logits_that_cannot_be_are_named(logits, complaint):
    with pytest.raises(ModelError, match=complaint):
        list(Broken(logits).score([Passage("some text")]))


def test_an_impossible_symbol_costs_infinitely_many_bits():
    def never_a(ids):
        logits = torch.zeros(*ids.shape, 256)
        logits[..., ord("a")] = -math.inf
        return logits

    assert bits(Broken(never_a), "bab").tolist() == pytest.approx(
        [math.log2(255), math.inf, math.log2(255)]
    )


def test_a_tokenizer_that_loses_bytes_is_caught_before_charging():
    class Lossy(Uniform):
        def encode(self, text):
            return super().encode(text.replace(" ", ""))

    with pytest.raises(ModelError, match="do not tile"):
        list(Lossy().score([Passage("two words")]))


def test_a_batch_that_does_not_fit_is_halved_and_a_single_window_says_so():
    sizes = []

    def hungry(ids):
        sizes.append(len(ids))
        if len(ids) > most:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."
            )
        return torch.zeros(*ids.shape, 256)

    most = 2
    ledgers = list(scoring.score(Broken(hungry), [Passage("abc")] * 7, budget=1000))
    assert [ledger.total() for ledger in ledgers] == pytest.approx([24.0] * 7)
    assert max(sizes) == 7
    most = 0
    with pytest.raises(OutOfMemory):
        list(scoring.score(Broken(hungry), [Passage("abc")]))


def test_a_head_that_is_not_the_models_own_is_not_used():
    model = network("windowed")
    assert model.has_split_head

    class Capped(type(model)):
        def logits(self, ids):
            return 5 * torch.tanh(super().logits(ids) / 5)

    capped = Capped(model.network, model.vocabulary)
    assert not capped.has_split_head
    assert bits(capped, TEXT[:40]) + math.log2(1 - capped.escape) == pytest.approx(
        reference_bits(capped, TEXT[:40], 8), rel=1e-4, abs=1e-5
    )


def test_scoring_leaves_weights_and_mode_alone():
    model = network("lstm")
    before = model.info.fingerprint
    bits(model, TEXT)
    assert model.info.fingerprint == before
    assert not model.network.training


def test_a_tokenizer_that_changes_or_gives_away_text_is_refused():
    class Lowers(Uniform):
        def encode(self, text):
            return super().encode(text.lower())

    class FreeWords(Uniform):
        """Every word is the unknown word, and costs nothing to spell."""

        def encode(self, text):
            words = text.split(" ")
            return Tokens.of(
                [0] * len(words), [(" " * (i > 0) + word).encode() for i, word in enumerate(words)]
            )

    for cheat in (Lowers(), FreeWords()):
        with pytest.raises(Unsupported, match="lossy tokenizer"):
            list(cheat.score([Passage("Two Words")]))


@pytest.mark.parametrize("count", [0, 1, 127, 128, 300])
def test_a_plain_head_multiplied_the_other_way_round_charges_the_same(count):
    torch.manual_seed(0)
    rows, matrix = torch.randn(count, 8), torch.randn(token_bits.WIDE + 3, 8)
    targets = np.random.default_rng(0).integers(0, len(matrix), count)
    want = -torch.log_softmax(rows.double() @ matrix.double().T, 1)[
        torch.arange(count), torch.from_numpy(targets)
    ].numpy() / math.log(2)
    assert np.allclose(
        token_bits._charge_transposed(matrix, rows, targets), want, rtol=1e-5, atol=1e-5
    )


def test_a_plain_head_says_what_is_wrong_as_any_other_does():
    rows, matrix = torch.randn(2, 8), torch.randn(token_bits.WIDE, 8)
    with pytest.raises(ModelError, match="has no logit"):
        token_bits._charge_transposed(matrix, rows, np.array([0, token_bits.WIDE]))
    with pytest.raises(ModelError, match="NaN"):
        token_bits._charge_transposed(matrix, rows * float("inf"), np.array([0, 1]))


class Recording(Uniform):
    """A uniform model over bytes with a start and two end symbols, which keeps what it reads."""

    bos_ids = (256,)
    eos_ids = (257, 258)

    def __init__(self):
        super().__init__()
        self.read = []

    def logits(self, ids):
        self.read.append(ids.tolist())
        logits = torch.zeros(*ids.shape, 259)
        logits[..., 258] = 20.0  # the second end symbol is nearly certain, the first is not
        return logits


def test_a_text_without_a_context_begins_with_the_start_symbol_whatever_is_asked():
    model = Recording()
    list(scoring.score(model, [Passage("ab", add_bos=False)]))
    assert model.read == [[[256, ord("a")]]]


def test_a_context_goes_without_the_start_symbol_if_that_is_asked():
    model = Recording()
    list(scoring.score(model, [Passage("b", context="a", add_bos=False)]))
    assert model.read == [[[ord("a")]]]


def test_the_end_of_a_text_is_the_first_of_the_end_symbols():
    (ledger,) = scoring.score(Recording(), [Passage("a", score_eos=True)])
    assert ledger.bits[-1] > 20 / math.log(2) - 1


def test_a_text_as_long_as_the_window_is_read_after_its_context_in_one_pass():
    model = Recording()
    model.context = 4
    list(scoring.score(model, [Passage("wxyz", context="abcdef")]))
    assert model.read == [[[ord("f"), *b"wxy"]]]


@pytest.mark.parametrize("loss", ["case", ""])
def test_a_tokenizer_that_says_what_it_loses_is_refused(loss):
    class Lossy(Uniform):
        def encode(self, text):
            return dataclasses.replace(super().encode(text), loss=loss)

    if not loss:  # it has proven that it loses nothing
        assert next(scoring.score(Lossy(), [Passage("ab")])).total() == pytest.approx(16.0)
        return
    with pytest.raises(Unsupported, match="lossy tokenizer: case"):
        list(scoring.score(Lossy(), [Passage("ab")]))
