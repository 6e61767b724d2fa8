"""The sentences under a table rest on what the record says of a model, not on its name."""

from __future__ import annotations

import pytest
from support.hand_record import likelihood, model, record

from llmbench.leaderboard.findings import notes

SENTENCE = "The byte n-gram, which only counts, is significantly better than net."


@pytest.mark.parametrize(
    ("name", "facts", "is_said"),
    [
        ("counter", {"family": "n-gram", "tokenizer": "bytes"}, True),
        ("byte-ngram", {"family": "transformer", "tokenizer": "bytes"}, False),
        ("word-ngram", {"family": "n-gram", "tokenizer": "words"}, False),
    ],
)
def test_the_byte_ngram_is_known_by_family_and_tokenizer(name, facts, is_said):
    found = record(
        models=[model(name, 0, **facts), model("net", 3, training={"seconds": 1.0})],
        scores=[*likelihood(name, 2.0, 0.1, [1, 1]), *likelihood("net", 3.0, 0.1, [2, 2])],
        notes={"tasks": {"likelihood": {"better_than": {name: ["net"]}}}},
    )
    headline = [score for score in found.scores if score.metric == "bits_per_byte"]
    assert (SENTENCE in notes(found, "likelihood", headline)) is is_said
