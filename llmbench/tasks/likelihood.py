"""How many bits a model needs for a text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, Self, overload

import numpy as np
from pydantic import Field

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.config.model_card import Ids
from llmbench.data.documents import Document, Documents
from llmbench.data.splitting import block_edges
from llmbench.data.text import Text
from llmbench.errors import ModelError
from llmbench.ledger import (
    CODE,
    PSEUDO,
    WORD_COUNTER,
    Ledger,
    Totals,
)
from llmbench.metrics.facts import BITS_PER_BYTE, FACTS, PSEUDO_BITS
from llmbench.metrics.likelihood import Item, Items, intervals
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.results.tables.charges import ChargesFile
from llmbench.stats import Interval, ratio_interval
from llmbench.tasks.lossy import DocumentTask, name_charge
from llmbench.tasks.passages import PartsColumns, Passages, measure, score_passages
from llmbench.tasks.prompts import check_plain
from llmbench.tasks.shards.recording import ask_pseudo_bits

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

        def check(self, text: Text) -> None:
            check_plain(text)

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

    def size_items(self, adapter: Adapter) -> Sequence[int]:
        """Bytes of the documents. A sample of a masked model's gaps is drawn from all of them."""
        return [] if adapter.is_masked and self.positions else super().size_items(adapter)

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        passages = Passages(self.text.documents)
        if adapter.is_masked:
            deque(self._ask_gaps(adapter, passages), maxlen=0)
        else:
            deque(score_passages(adapter, passages, self.window, progress), maxlen=0)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        passages = Passages(self.text.documents)
        if adapter.is_masked:
            return self._gaps(adapter, passages, progress)
        charges = ChargesFile(self.scratch)
        parts = PartsColumns() if self.keeps_parts else None
        try:
            count = measure(adapter, passages, self.window, progress, charges, parts)
        except BaseException:
            charges.close()
            raise
        charged = "code" if count.by_kind[CODE].parts else "token"
        scores = self._score(count.items, count.totals, charged)
        return Outcome(scores, sample_rows(count.items, passages, parts), charges=charges)

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        return [Passage(document.text, id=document.id)]

    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        items, totals, charged = add_samples(samples, BITS_PER_BYTE)
        return self._score(items, totals, charged)

    def _score(self, items: Sequence[Item], totals: Totals, charged: str) -> list[ScoreRow]:
        found, columns = intervals(items, totals), Items.of(items)
        truths = find_truths(self.text.documents)
        if len(truths) == len(columns) == len(self.text.documents):
            found["excess_bits_per_byte"] = ratio_interval(
                columns.bits - np.asarray(truths), columns.bytes
            )
        return score_rows(found, self.signature, WORD_COUNTER, charged)

    def _ask_gaps(self, adapter: Adapter, passages: Sequence[Passage]) -> Iterator[Ledger]:
        if self.positions is None:
            return ask_pseudo_bits(adapter, passages)
        return adapter.pseudo_score(passages, self.positions, self.seed)

    def _gaps(self, adapter: Adapter, passages: Sequence[Passage], progress: Progress) -> Outcome:
        """Pseudo-bits. Items are documents, each with the bytes of its gaps that were asked about;
        of a single one, its blocks.
        """
        ledgers: list[Ledger] = []
        for ledger in self._ask_gaps(adapter, passages):
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


def find_truths(documents: Sequence[Document]) -> list[float]:
    """The bits that the source itself needs, of the documents of which they are known."""
    if isinstance(documents, Documents) and documents.have_only_text:
        return []
    return [document.truth for document in documents if document.truth is not None]


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


class ItemSamples(Sequence[SampleRow]):
    """The items' rows, made when they are asked for. `inputs`: what the first ones hold of their
    texts.
    """

    def __init__(
        self,
        items: Sequence[Item],
        inputs: Sequence[str] = (),
        parts: PartsColumns | None = None,
    ):
        self._items, self._inputs, self._parts = items, inputs, parts

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> SampleRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[SampleRow]: ...
    def __getitem__(self, at: int | slice) -> SampleRow | list[SampleRow]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        row = sample_row(self._items[at])
        if at < len(self._inputs):
            row["input"] = self._inputs[at]
        if self._parts is not None:
            row["parts"] = self._parts[at]
        return row


def sample_rows(
    items: Sequence[Item], passages: Sequence[Passage], parts: PartsColumns | None = None
) -> ItemSamples:
    """The items' rows, with these parts. The first ones, the same for every model, hold the opening
    of their text, for boards to show where the bits went.
    """
    if len(passages) == 1:
        ends = [0]
        for item in items[:OPENINGS]:
            ends.append(ends[-1] + item.bytes)
        raw = passages[0].text[: ends[-1]].encode()  # a character has at least a byte
        openings = [raw[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    else:
        texts = (passage.text.encode() for passage in passages)
        openings = list(islice((raw for raw in texts if raw), OPENINGS))
    inputs = [raw[:OPENING_BYTES].decode("utf-8", "ignore") for raw in openings]
    return ItemSamples(items, inputs, parts)


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
