"""Documents and strings as columns."""

from __future__ import annotations

import pytest

from llmbench.data.documents import Document, Documents
from llmbench.data.strings import Strings
from llmbench.data.text import Text

KINDS = (
    Document("a", "Tap."),
    Document("b", "\u00e9 \U0001f600 half \ud83d", fields={"topic": "sp\u00fcl", "id": "b"}),
    Document("c", "", context="Is it wet?"),
    Document("d", "yes", "Wet?", ("yes", "no"), others=("yes!",)),
    Document("e", "a story", truth=12.25),
)
PLAIN = (*KINDS[:1], Document("f", "Second."), Document("line-3", "\u6f22\u5b57"))


def same(found, expected):
    """Whether documents are equal, their other fields included."""
    return list(found) == list(expected) and [dict(one.fields) for one in found] == [
        dict(one.fields) for one in expected
    ]


def test_documents_come_back_as_they_were():
    made = Documents(KINDS)
    assert same(made, KINDS)
    assert made == KINDS
    assert made != KINDS[:4]
    assert hash(made) == hash(KINDS)
    assert (made[-1], len(made)) == (KINDS[-1], 5)
    with pytest.raises(IndexError):
        made[5]
    assert not made.have_only_text
    assert Documents(PLAIN).have_only_text


@pytest.mark.parametrize(("first", "last"), [(0, 5), (1, 3), (2, 2), (-2, None), (3, 99)])
def test_a_slice_is_of_the_same_documents_and_travels_alone(first, last):
    part = Documents(KINDS)[first:last]
    assert same(part, KINDS[first:last])
    received = Documents.from_frames([bytes(frame) for frame in part.frames()])
    assert same(received, KINDS[first:last])
    assert same(received[1:], KINDS[first:last][1:])
    assert same(Documents(KINDS)[::2], KINDS[::2])


def test_nothing_is_added_to_a_slice():
    whole = Strings(["a", "bc", "d"])
    with pytest.raises(TypeError, match="cannot be added to a slice"):
        whole[:2].append("x")
    whole.append("x")
    assert list(whole) == ["a", "bc", "d", "x"]
    assert (whole[1:3].size, bytes(whole[1:3].raw(1))) == (3, b"d")


@pytest.mark.parametrize("documents", [PLAIN, KINDS[:1], KINDS[2:], (*PLAIN, *KINDS[3:])])
def test_a_text_has_the_same_sum_and_size_in_either_form(documents):
    one, other = Text("t", documents), Text("t", Documents(documents))
    assert (one.sha256, one.bytes) == (other.sha256, other.bytes)
    assert one == other
    assert one.sample(2, 3) == other.sample(2, 3)
