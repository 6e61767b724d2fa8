"""How many bits a model needs for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.config.model_card import Ids
from llmbench.data.splitting import block_edges
from llmbench.data.text import Document, Text
from llmbench.errors import ModelError
from llmbench.inference.pass_progress import watch_passes
from llmbench.ledger import (
    CODE,
    PSEUDO,
    WORD_COUNTER,
    Ledger,
    LedgerError,
    Totals,
    count_words,
    word_starts,
)
from llmbench.metrics.facts import BITS_PER_BYTE, FACTS, PSEUDO_BITS
from llmbench.metrics.likelihood import Item, intervals
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.stats import Interval, ratio_interval
from llmbench.tasks.lossy import DocumentTask, count_parts, name_charge
from llmbench.tasks.prompts import check_plain

OPENINGS = 3  # items whose samples hold
OPENING_BYTES = 600  # of their text, cut at a character's border


class Likelihood(DocumentTask):
    """Charges every byte of a text. Items are its documents; of a single long one, blocks cut at
    natural breaks.
    """

    class Settings(DocumentTask.Settings):
        """Bits of a text."""

        text: str = "test"
        window: Literal["half", "rolling"] | Ids = "half"
        pseudo_positions: Ids | None = Field(
            None,
            description=(
                "of models that see both sides: a seeded sample of so many tokens; all by default"
            ),
        )

    protocol = "likelihood/1"
    pseudo_protocol = "pseudo-likelihood/1"  # PLL-word-l2r: see masked_adapter.py

    def __init__(self, text: Text, window: Window, positions: int | None = None, seed: int = 0):
        self.text, self.window, self.positions, self.seed = text, window, positions, seed

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        check_plain(texts[settings.text])
        return cls(texts[settings.text], Window(settings.window), settings.pseudo_positions, seed)

    @property
    def signature(self) -> Signature:
        return Signature.of(
            text=self.text.sha256[:16],
            protocol=self.protocol,
            window=self.window,
            limit=self.text.sampled,
        )

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        passages = [
            passage
            for document in self.text.documents
            for passage in self.list_passages(document, adapter)
        ]
        if adapter.is_masked:
            return self._gaps(adapter, passages, progress)
        ledgers = charge(adapter, passages, self.window, progress)
        items = items_of(ledgers, passages)
        totals = Totals.of(ledgers, sum(count_words(passage.text) for passage in passages))
        rows = sample_rows(items, passages)
        if self.keeps_parts:
            add_parts(rows, ledgers, [count_words(passage.text) for passage in passages])
        return Outcome(self._score(items, totals, name_charge(ledgers)), rows, ledgers)

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        return [Passage(document.text, id=document.id)]

    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        items, totals, charged = add_samples(samples, BITS_PER_BYTE)
        return self._score(items, totals, charged)

    def _score(self, items: Sequence[Item], totals: Totals, charged: str) -> list[ScoreRow]:
        found, documents = intervals(items, totals), self.text.documents
        truths = [document.truth for document in documents if document.truth is not None]
        if len(truths) == len(items) == len(documents):
            found["excess_bits_per_byte"] = ratio_interval(
                [item.bits - truth for item, truth in zip(items, truths, strict=True)],
                [item.bytes for item in items],
            )
        return score_rows(found, self.signature, WORD_COUNTER, charged)

    def _gaps(self, adapter: Adapter, passages: Sequence[Passage], progress: Progress) -> Outcome:
        """Pseudo-bits. Items are documents, each with the bytes of its gaps that were asked about;
        of a single one, its blocks.
        """
        ledgers: list[Ledger] = []
        for ledger in adapter.pseudo_score(passages, self.positions, self.seed):
            ledgers.append(ledger)
            progress(
                "scoring",
                len(ledgers) / len(passages),
                f"{len(ledgers)} of {len(passages)} documents",
            )
        if len(ledgers) != len(passages):
            raise ModelError(
                f"pseudo_score gave {len(ledgers)} ledgers for {len(passages)} passages"
            )
        items = gap_items(ledgers, passages)
        if not items:
            raise ModelError("the model has no token in this text")
        sample = "all" if self.positions is None else f"{self.positions}@{self.seed}"
        signature = Signature.of(
            text=self.text.sha256[:16],
            protocol=self.pseudo_protocol,
            positions=sample,
            limit=self.text.sampled,
        )
        found = ratio_interval([item.bits for item in items], [item.bytes for item in items])
        rows = score_rows({PSEUDO_BITS: found}, signature, WORD_COUNTER, name_charge(ledgers))
        lost = next((ledger for ledger in ledgers if ledger.loss), None)
        if lost:
            loss = (
                f"its tokenizer loses part of the text (of {lost.id!r}, {lost.loss}), so these are"
                " bits for less than the text"
            )
            for row in rows:
                row["lossy"] = loss
        return Outcome(rows, [sample_row(item, PSEUDO_BITS) for item in items], ledgers)


def gap_items(ledgers: Sequence[Ledger], passages: Sequence[Passage]) -> list[Item]:
    """What documents, or the blocks of a single one, contribute; those without a charged byte are
    left out.
    """
    if len(ledgers) > 1:
        rows = [
            Item(p.id, ledger.total(PSEUDO), ledger.bytes_charged, 0)
            for ledger, p in zip(ledgers, passages, strict=True)
        ]
    else:
        ledger, edges = ledgers[0], block_edges(passages[0].text)
        block = np.clip(np.searchsorted(edges, ledger.start, side="right") - 1, 0, len(edges) - 2)
        sizes = np.bincount(block, ledger.end - ledger.start, minlength=len(edges) - 1)
        bits = np.bincount(block, ledger.bits, minlength=len(edges) - 1)
        rows = [
            Item(f"{passages[0].id}@{edge}", float(b), int(n), 0)
            for edge, b, n in zip(edges[:-1], bits, sizes, strict=True)
        ]
    return [row for row in rows if row.bytes]


def charge(
    adapter: Adapter, passages: Sequence[Passage], window: Window, progress: Progress
) -> list[Ledger]:
    """The ledgers of the passages, each checked."""
    remark = f"{len(passages)} document{'s' if len(passages) != 1 else ''}"
    with watch_passes(lambda share: progress("scoring", share, remark)):
        ledgers = score_passages(adapter, passages, window)
    for passage, ledger in zip(passages, ledgers, strict=True):
        check_ledger(ledger, passage)
    progress("scoring", 1.0, remark)
    return list(ledgers)


def score_rows(
    found: Mapping[str, Interval], signature: Signature, words: str, charged: str
) -> list[ScoreRow]:
    """The record's rows of these metrics; `words` names the word counter, `charged` is
    `name_charge` of the ledgers.
    """
    rows: list[ScoreRow] = []
    for name, interval in found.items():
        mark = str(signature.extend(words=words) if name == "word_perplexity" else signature)
        rows.append(
            {
                **FACTS[name].row(interval.value, interval.n, mark, interval.low, interval.high),
                "charged": charged,
            }
        )
    return rows


def add_parts(rows: Sequence[SampleRow], ledgers: Sequence[Ledger], words: Sequence[int]) -> None:
    """Give the rows of documents, each with a ledger, the parts that `add_samples` needs; words: of
    each document. Documents without a byte have no row.
    """
    charged = [
        (ledger, count) for ledger, count in zip(ledgers, words, strict=True) if ledger.bytes
    ]
    for row, (ledger, count) in zip(rows, charged, strict=True):
        row["parts"] = count_parts([ledger], count)


def add_samples(samples: Sequence[SampleRow], metric: str) -> tuple[list[Item], Totals, str]:
    """Return the items of documents with parts, their totals, and what charged their bits."""
    items, totals = [], []
    for row in samples:
        bits, size = row["statistics"][metric]
        parts = row["parts"]
        items.append(Item(row["id"], bits, int(size), parts["words"]))
        totals.append(
            Totals(
                bits=bits,
                token_bits=parts["token_bits"],
                spelling_bits=parts["spelling_bits"],
                bytes=int(size),
                words=parts["words"],
                tokens=parts["tokens"],
                unknown=parts["unknown"],
                documents=1,
            )
        )
    charged = "code" if any(row["parts"]["charged"] == "code" for row in samples) else "token"
    return items, Totals.add(totals), charged


def score_passages(
    adapter: Adapter, passages: Sequence[Passage], window: Window
) -> Sequence[Ledger]:
    """Return one ledger for each passage. Raises ModelError if their numbers differ."""
    ledgers = list(adapter.score(passages, window))
    if len(ledgers) != len(passages):
        raise ModelError(f"score gave {len(ledgers)} ledgers for {len(passages)} passages")
    return ledgers


def check_ledger(ledger: Ledger, passage: Passage) -> None:
    """Whoever made it: the ledger must charge exactly the bytes of the passage."""
    size = len(passage.text.encode())
    if ledger.bytes != size:
        raise ModelError(
            f"the ledger of {passage.id!r} charges {ledger.bytes} bytes, the text has {size}",
            hint="same text above and below the line",
        )
    try:
        ledger.check()
    except LedgerError as error:
        raise ModelError(f"a ledger breaks a rule: {error}") from None


def items_of(ledgers: Sequence[Ledger], passages: Sequence[Passage]) -> list[Item]:
    """Documents, or the blocks of a single one; those without a byte are left out."""
    if len(passages) > 1:
        rows = [
            Item(p.id, ledger.total(), ledger.bytes, count_words(p.text))
            for ledger, p in zip(ledgers, passages, strict=True)
        ]
        return [row for row in rows if row.bytes]
    ledger, passage = ledgers[0], passages[0]
    edges = block_edges(passage.text)
    if (
        ledger.kind == CODE
    ).any():  # a compressor's one charge says nothing about parts of the text
        edges = [0, ledger.bytes]
    bits = ledger.bits_between(edges)
    words = (
        np.histogram(word_starts(passage.text), bins=[*edges[:-1], edges[-1] + 1])[0]
        if edges[-1]
        else [0]
    )
    parts = zip(edges, edges[1:], strict=False)
    return [
        Item(f"{passage.id}@{a}", float(bits[i]), b - a, int(words[i]))
        for i, (a, b) in enumerate(parts)
    ]


def sample_rows(items: Sequence[Item], passages: Sequence[Passage]) -> list[SampleRow]:
    """The items' rows. The first ones, the same for every model, hold the opening of their text,
    for boards to show where the bits went.
    """
    rows = [sample_row(item) for item in items]
    texts = [passage.text.encode() for passage in passages if passage.text]
    begin = 0
    for number, row in enumerate(rows[:OPENINGS]):
        raw = texts[number] if len(passages) > 1 else texts[0][begin : begin + row["bytes"]]
        begin += row["bytes"]
        row["input"] = raw[:OPENING_BYTES].decode("utf-8", "ignore")
    return rows


def sample_row(item: Item, metric: str = BITS_PER_BYTE) -> SampleRow:
    """An item's row, with its bits and bytes as the statistics of `metric`."""
    return {
        "id": item.id,
        "bytes": item.bytes,
        "input": None,
        "output": None,
        "reference": None,
        "statistics": {metric: [item.bits, item.bytes]},
    }
