"""Vocabularies of one symbol, and tokens as long as a text: checks end, and say what they are."""

from __future__ import annotations

import pytest
import torch

from llmbench.adapter import BuildContext
from llmbench.adapters.token import TokenAdapter, Tokens
from llmbench.conformance.check import Subject
from llmbench.conformance.kit import find_checks, run
from llmbench.data.text import Document, Text
from llmbench.plan.resolved_model import make_adapter, resolve_model

CARD = """\
name: one
adapter: network
network: {class: "llmbench.models.networks.recurrent:RNN", arguments: {width: 4, embedding: 4}}
vocabulary: {splitter: SPLITTER}
recipe: {steps: 2, batch: 2, length: 8, evaluations: 1}
"""


class Whole(TokenAdapter):
    """Each text is one token."""

    bos_ids = (1,)

    def __init__(self):
        self.net = torch.nn.Embedding(2, 1)

    def encode(self, text):
        self.last = text.encode()
        return Tokens.of([0] if text else [], [text.encode()] if text else [])

    def decode(self, ids):
        return self.last

    def logits(self, ids):
        return self.net(ids)


@pytest.mark.parametrize("splitter", ["characters", "words"])
def test_greedy_text_of_a_vocabulary_of_one_symbol_is_the_likeliest(tmp_path, splitter):
    (tmp_path / "one.yaml").write_text(CARD.replace("SPLITTER", splitter))
    text = Text("train", (Document("a", "a" * 400),))
    context = BuildContext(train=text, valid=text, cache=tmp_path / "cache")
    adapter = make_adapter(resolve_model(str(tmp_path / "one.yaml")), context)
    (result,) = run(Subject(adapter), find_checks(["greedy"]))
    assert result.state == "passed", result


def test_a_text_is_not_made_longer_without_end_where_all_of_it_is_one_token(monkeypatch):
    monkeypatch.setattr("llmbench.limits.CHECK_BYTES", 100_000)
    (result,) = run(Subject(Whole()), find_checks(["window-boundaries"]))
    assert result.state == "skipped"
    assert "bytes are only 1 tokens" in result.reason
