"""What is refused by scoring, with which numbers, and what a tokenizer loses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.toys import Pieces, Uniform

from llmbench.adapter import Passage
from llmbench.errors import LlmbenchError, ModelError, Unsupported
from llmbench.inference import scoring
from llmbench.inference.text.lines import find_loss, find_prompt_loss


def refused(model, passage=Passage("two words")):
    with pytest.raises(LlmbenchError) as caught:
        list(scoring.score(model, [passage]))
    return caught.value


def encoding(make, decoded=None):
    """A byte model whose `encode` gives what `make` makes of the right tokens."""

    class Odd(Uniform):
        def encode(self, text):
            return make(super().encode(text))

        def decode(self, ids):
            return super().decode(ids) if decoded is None else decoded

    return Odd()


def test_without_a_start_symbol_nothing_predicts_the_first_token():
    model = Uniform()
    model.bos_ids = ()
    assert str(refused(model)) == (
        "`bos_ids` is empty, so nothing predicts the first token of a text"
        " (set it to ids that may stand before any text, as that of a newline)"
    )


def test_without_an_end_symbol_the_end_of_a_text_is_not_charged():
    error = refused(Uniform(), Passage("a", score_eos=True))
    assert isinstance(error, Unsupported)
    assert str(error) == (
        "the model has no end symbol, so it cannot be charged for where a text ends (set `eos_ids`)"
    )


@pytest.mark.parametrize(
    ("changes", "covered", "count"),
    [
        (lambda t: {"ids": t.ids[:-1]}, 9, 8),
        (lambda t: {"start": t.start[:-1]}, 9, 9),
        (lambda t: {"spelling": t.spelling[:-1]}, 9, 9),
        (lambda t: {"end": np.where(t.end == 9, 8, t.end)}, 8, 9),
        (lambda t: {"end": np.where(t.end == 4, 3, t.end)}, 9, 9),
        (lambda t: {"start": np.where(t.start == 0, 1, t.start)}, 9, 9),
    ],
)
def test_spans_that_do_not_tile_the_text_are_refused_with_their_numbers(changes, covered, count):
    error = refused(encoding(lambda tokens: dataclasses.replace(tokens, **changes(tokens))))
    assert isinstance(error, ModelError)
    assert str(error) == (
        f"the tokens' spans do not tile the text: they cover {covered} of 9 bytes in {count}"
        " tokens (`encode` must account for every byte)"
    )


def test_spans_are_checked_even_where_the_tokenizer_vouches_for_its_bytes():
    error = refused(
        encoding(lambda tokens: dataclasses.replace(tokens, end=tokens.end - 1, loss=""))
    )
    assert "they cover 8 of 9 bytes" in str(error)


@pytest.mark.parametrize(
    ("decoded", "byte"),
    [
        (b"Two words", 0),
        (b"two Words", 4),
        (b"two WORDs", 4),
        (b"two word", 8),
        (b"two words.", 9),
        (b"", 0),
    ],
)
def test_a_lossy_tokenizer_is_refused_with_the_first_byte_that_does_not_come_back(decoded, byte):
    error = refused(encoding(lambda tokens: tokens, decoded))
    assert isinstance(error, Unsupported)
    assert str(error) == (
        f"lossy tokenizer: byte {byte} of the text does not come back from decode(encode(text))"
        " (spell unknown pieces out (docs/adapters.md), or change nothing in the text)"
    )


def test_bytes_between_spelled_pieces_are_compared_and_spelled_ones_are_not():
    """`t` and `o` of "two words" are spelled; the rest must come back."""

    def spelled(tokens):
        costs = np.where(np.isin(tokens.start, (0, 2)), 0.5, 0.0)
        return dataclasses.replace(tokens, ids=np.where(costs > 0, 0, tokens.ids), spelling=costs)

    (ledger,) = scoring.score(encoding(spelled), [Passage("two words")])
    assert ledger.unknown == 2
    error = refused(encoding(lambda tokens: spelled(tokens), b"w"))
    assert "byte 3 of the text" in str(error)  # `w` comes back, ` words` does not

    def last(tokens):
        costs = np.where(tokens.start == 8, 0.5, 0.0)
        return dataclasses.replace(
            tokens, ids=np.where(tokens.start == 5, 0, tokens.ids), spelling=costs
        )

    assert "byte 5 of the text" in str(refused(encoding(last)))


def test_what_a_tokenizer_loses_of_a_text_and_its_context_is_found_without_scoring():
    passage = Passage(" words", context="two")
    assert find_loss(encoding(lambda tokens: tokens), passage) == ""
    lossy = encoding(lambda tokens: dataclasses.replace(tokens, loss="accents"))
    assert find_loss(lossy, passage) == "accents"
    changed = encoding(lambda tokens: tokens, b"two Words")
    said = "byte 4 of the text does not come back from decode(encode(text))"
    assert find_loss(changed, passage) == said
    assert find_loss(changed, Passage("two Words")) == ""


def test_what_a_tokenizer_does_not_hold_of_a_prompt_is_its_loss_or_the_first_unknown_piece():
    assert find_prompt_loss(Pieces(), "abcde") == ""
    said = "'?fg' at byte 6 is not in the vocabulary"
    assert find_prompt_loss(Pieces(), "abcdef?fg?h") == said
    cut = "'?\N{REPLACEMENT CHARACTER}' at byte 3 is not in the vocabulary"
    assert find_prompt_loss(Pieces(), "abc?\N{SNOWMAN}") == cut
    lossy = encoding(lambda tokens: dataclasses.replace(tokens, loss="accents"))
    assert find_prompt_loss(lossy, "two words") == "accents"


def test_an_empty_text_has_nothing_to_lose():
    (ledger,) = scoring.score(encoding(lambda tokens: tokens), [Passage("")])
    assert (ledger.bytes, len(ledger.bits)) == (0, 0)


def test_what_a_tokenizer_says_it_loses_comes_before_its_spans():
    error = refused(
        encoding(lambda tokens: dataclasses.replace(tokens, end=tokens.end - 1, loss="accents"))
    )
    assert str(error) == "lossy tokenizer: accents"
