"""How many bits a model needs for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data import Text, block_edges
from llmbench.errors import ModelError
from llmbench.ledger import CODE, WORD_COUNTER, Ledger, LedgerError, Totals, count_words, word_starts
from llmbench.metrics.likelihood import METRICS, Item, intervals
from llmbench.tasks import Outcome, Task


class Likelihood(Task):
    """Charges every byte of a text. Items are its documents; of a single long one, blocks cut at natural breaks."""

    protocol = "likelihood/1"

    def __init__(self, text: Text, window: Window):
        self.text, self.window = text, window

    @classmethod
    def from_spec(cls, spec: Any, texts: Mapping[str, Text], options: Mapping[str, Any]) -> Likelihood:
        return cls(texts[spec.text], Window(spec.window))

    @property
    def signature(self) -> str:
        return f"text={self.text.sha256[:16]};protocol={self.protocol};window={self.window};limit={self.text.sampled}"

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        passages = [Passage(document.text, id=document.id) for document in self.text.documents]
        ledgers = []
        for passage, ledger in zip(passages, scored(adapter, passages, self.window), strict=True):
            check_ledger(ledger, passage)
            ledgers.append(ledger)
            progress("scoring", len(ledgers) / len(passages), f"{len(ledgers)} of {len(passages)} documents")
        items = items_of(ledgers, passages)
        totals = Totals.of(ledgers, sum(count_words(passage.text) for passage in passages))
        scores = []
        units = {metric.name: metric for metric in METRICS}
        charged = "code" if any((ledger.kind == CODE).any() for ledger in ledgers) else "token"
        for name, interval in intervals(items, totals).items():
            signature = f"{self.signature};words={WORD_COUNTER}" if name == "word_perplexity" else self.signature
            scores.append(
                {
                    "metric": name,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "unit": units[name].unit,
                    "better": units[name].better,
                    "n": interval.n,
                    "signature": signature,
                    "charged": charged,
                }
            )
        return Outcome(scores, [_sample(item) for item in items], ledgers)


def scored(adapter: Adapter, passages: Sequence[Passage], window: Window) -> Sequence[Ledger]:
    ledgers = list(adapter.score(passages, window))
    if len(ledgers) != len(passages):
        raise ModelError(f"score gave {len(ledgers)} ledgers for {len(passages)} passages")
    return ledgers


def check_ledger(ledger: Ledger, passage: Passage) -> None:
    """Whoever made it: the ledger must charge exactly the bytes of the passage."""
    size = len(passage.text.encode())
    if ledger.bytes != size:
        raise ModelError(f"the ledger of {passage.id!r} charges {ledger.bytes} bytes, the text has {size}", hint="same text above and below the line")
    try:
        ledger.check()
    except LedgerError as error:
        raise ModelError(f"a ledger breaks a rule: {error}") from None


def items_of(ledgers: Sequence[Ledger], passages: Sequence[Passage]) -> list[Item]:
    """Documents, or the blocks of a single one; those without a byte are left out."""
    if len(passages) > 1:
        rows = [Item(p.id, ledger.total(), ledger.bytes, count_words(p.text)) for ledger, p in zip(ledgers, passages, strict=True)]
        return [row for row in rows if row.bytes]
    ledger, passage = ledgers[0], passages[0]
    edges = block_edges(passage.text)
    if (ledger.kind == CODE).any():  # a compressor's one charge says nothing about parts of the text
        edges = [0, ledger.bytes]
    bits = ledger.bits_between(edges)
    words = np.histogram(word_starts(passage.text), bins=[*edges[:-1], edges[-1] + 1])[0] if edges[-1] else [0]
    parts = zip(edges, edges[1:], strict=False)
    return [Item(f"{passage.id}@{a}", float(bits[i]), b - a, int(words[i])) for i, (a, b) in enumerate(parts)]


def _sample(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "bytes": item.bytes,
        "input": None,
        "output": None,
        "reference": None,
        "statistics": {"bits_per_byte": [item.bits, item.bytes]},
    }
