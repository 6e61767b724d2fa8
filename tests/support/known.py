"""An adapter that says and charges what a test tells it to."""

from __future__ import annotations

import numpy as np

from llmbench.adapter import Adapter, Chunk, ModelInfo
from llmbench.data.text import Document, Text
from llmbench.ledger import TOKEN, Ledger


class Known(Adapter):
    """Says what it was told for each prompt, and charges a byte of a text what it was told for it,
    8 bits where it was told nothing.
    """

    def __init__(self, says=None, costs=None):
        self.says, self.costs, self.asked = says or {}, costs or {}, []

    @property
    def info(self):
        return ModelInfo("known", "", "bytes", None, None, None, "cpu", "k")

    def generate(self, requests):
        for row, request in enumerate(requests):
            self.asked.append(request)
            yield Chunk(row, self.says.get(request.prompt, ""), 1, "stop")

    def score(self, passages, window=None):
        for passage in passages:
            n = len(passage.text.encode())
            at = np.arange(n)
            bits = np.full(n, self.costs.get((passage.context, passage.text), 8.0))
            yield Ledger(at, at + 1, bits, np.full(n, TOKEN, dtype=np.uint8), n, passage.id)


def text(*rows, name="test"):
    return Text(name, tuple(Document(str(i), *row) for i, row in enumerate(rows)))


def quiet(*what):
    return None
