"""The share of a text that stands word for word in another, against sets of substrings."""

from __future__ import annotations

import random

import pytest

from llmbench.data import overlap
from llmbench.data.documents import Document, Documents
from llmbench.data.overlap import overlap_share
from llmbench.data.text import Text


def text(*parts):
    return Text("t", Documents(Document(str(i), part) for i, part in enumerate(parts)))


def share(test, train, length):
    """The same by sets."""

    def pieces(of):
        raws = [document.text.encode() for document in of.documents]
        return [raw[i : i + length] for raw in raws for i in range(len(raw) - length + 1)]

    known, asked = set(pieces(train)), pieces(test)
    return sum(piece in known for piece in asked) / len(asked) if asked else None


@pytest.mark.parametrize("portion", [1, 5, 64, 1 << 20])
@pytest.mark.parametrize("held", [10, 1 << 25])
@pytest.mark.parametrize("length", [1, 3, 8])
def test_the_share_is_that_of_sets_whatever_is_held_at_a_time(monkeypatch, portion, held, length):
    monkeypatch.setattr(overlap, "PORTION", portion)
    monkeypatch.setattr(overlap, "MOST_HELD", held)
    rng = random.Random(portion + length)
    small, large = (
        text(*("".join(rng.choices("ab\u00e9", k=rng.randrange(size))) for _ in range(6)))
        for size in (12, 60)
    )
    for test, train in ((small, large), (large, small), (small, small)):
        assert overlap_share(test, train, length) == share(test, train, length)


def test_a_text_too_short_for_one_piece_has_no_share():
    assert overlap_share(text("abc", "", "ab"), text("abcabc"), 4) is None
    assert overlap_share(text("abcd"), text("abc"), 4) == 0.0
