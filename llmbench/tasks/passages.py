"""Documents as passages, and what a model charges for them, checked and taken in one by one."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import overload

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data.documents import Document, Documents
from llmbench.data.splitting import block_edges
from llmbench.errors import ModelError, close_early
from llmbench.inference.pass_progress import watch_passes
from llmbench.ledger import (
    CODE,
    SPELLING,
    TOKEN,
    Ledger,
    LedgerError,
    count_block_words,
    count_bytes,
    count_words,
)
from llmbench.metrics.likelihood import Count, Items, Tally
from llmbench.results.outcome import Parts
from llmbench.results.tables.charges import ChargesFile
from llmbench.tasks.shards.recording import ask_bits

AT_ONCE = 1 << 15  # passages that an adapter is given at a time


class PartsColumns:
    """The parts of many samples, as columns."""

    def __init__(self) -> None:
        self._counts = array("q")  # words, tokens, unknown, straddled, whether a code charged it
        self._bits = array("d")  # of tokens and of spelling

    def add(self, tally: Tally, words: int, straddled: bool) -> None:
        """Add those of a document."""
        is_code = CODE in tally.kinds
        self._counts.extend((words, tally.tokens, tally.unknown, straddled, is_code))
        self._bits.extend((tally.total(TOKEN), tally.total(SPELLING)))

    def __getitem__(self, at: int) -> Parts:
        words, tokens, unknown, straddled, is_code = self._counts[5 * at : 5 * at + 5]
        token_bits, spelling_bits = self._bits[2 * at : 2 * at + 2]
        return {
            "words": words,
            "tokens": tokens,
            "unknown": unknown,
            "token_bits": token_bits,
            "spelling_bits": spelling_bits,
            "charged": "code" if is_code else "token",
            "straddled": straddled,
        }


class Passages(Sequence[Passage]):
    """Documents to score, each without its context; made when they are asked for."""

    def __init__(self, documents: Sequence[Document]):
        self._documents = documents

    def __len__(self) -> int:
        return len(self._documents)

    @overload
    def __getitem__(self, at: int) -> Passage: ...
    @overload
    def __getitem__(self, at: slice) -> Passages: ...
    def __getitem__(self, at: int | slice) -> Passage | Passages:
        if isinstance(at, slice):
            return Passages(self._documents[at])
        documents = self._documents
        if isinstance(documents, Documents):
            return Passage(documents.texts[at], id=documents.ids[at])
        return Passage(documents[at].text, id=documents[at].id)


def charge(
    adapter: Adapter, passages: Sequence[Passage], window: Window, progress: Progress
) -> list[Ledger]:
    """The ledgers of the passages, each checked."""
    found = []
    for passage, ledger in score_passages(adapter, passages, window, progress):
        with model_error():
            check_size(ledger, passage)
            ledger.check()
        found.append(ledger)
    return found


def measure(
    adapter: Adapter,
    passages: Sequence[Passage],
    window: Window,
    progress: Progress,
    charges: ChargesFile | None = None,
    parts: PartsColumns | None = None,
) -> Count:
    """What the passages cost; their charges are checked, and written to a file, piece by piece.
    Items are the documents, without those that have no byte; of a single one, its blocks. `parts`
    are filled with those of the items that are documents.
    """
    count, is_single = Count(), len(passages) == 1
    for passage, ledger in score_passages(adapter, passages, window, progress):
        edges = block_edges(passage.text) if is_single else None
        tally = Tally(ledger, edges)
        with model_error():
            check_size(ledger, passage)
            for piece in ledger.check_pieces():
                tally.add(piece)
                if charges is not None:
                    charges.add(ledger.id, piece)
        words = count_words(passage.text)
        count.add(tally, ledger.bytes, words)
        if edges is not None:
            _add_blocks(count.items, passage, edges, tally)
        elif ledger.bytes:
            count.items.add(passage.id, tally.total(), ledger.bytes, words)
            if parts is not None:
                parts.add(tally, words, ledger.context_bytes > 0)
    return count


def _add_blocks(items: Items, passage: Passage, edges: Sequence[int], tally: Tally) -> None:
    """Add the blocks of a single document. What was charged by a compressor is one item: it says
    nothing about parts of the text.
    """
    if CODE in tally.kinds:
        size = edges[-1]
        items.add(f"{passage.id}@0", tally.total(), size, count_words(passage.text))
        return
    words = count_block_words(passage.text, edges)
    for a, b, bits, started in zip(edges, edges[1:], tally.block_bits, words, strict=False):
        items.add(f"{passage.id}@{a}", bits, b - a, started)


def score_passages(
    adapter: Adapter, passages: Sequence[Passage], window: Window, progress: Progress
) -> Iterator[tuple[Passage, Ledger]]:
    """Yield each passage with its ledger. The adapter is given AT_ONCE of them at a time, so that
    what it holds of all is bounded. ModelError if their numbers differ.
    """
    total = len(passages)
    remark = f"{total} document{'s' if total != 1 else ''}"
    for first in range(0, total, AT_ONCE):
        portion = passages[first : first + AT_ONCE]

        def report(share: float, done: int = first, size: int = len(portion)) -> None:
            progress("scoring", (done + share * size) / total, remark)

        with watch_passes(report), close_early(iter(ask_bits(adapter, portion, window))) as ledgers:
            scored = 0
            for passage, ledger in zip(portion, ledgers, strict=False):
                scored += 1
                yield passage, ledger
            scored += sum(1 for _ in ledgers)
        if scored != len(portion):
            raise ModelError(f"score gave {first + scored} ledgers for {total} passages")
    progress("scoring", 1.0, remark)


@contextmanager
def model_error() -> Iterator[None]:
    """Whoever made it: a ledger that breaks a rule is the model's error."""
    try:
        yield
    except LedgerError as error:
        raise ModelError(f"a ledger breaks a rule: {error}") from None


def check_size(ledger: Ledger, passage: Passage) -> None:
    """ModelError unless the ledger charges exactly the bytes of the passage."""
    size = count_bytes(passage.text)
    if ledger.bytes != size:
        raise ModelError(
            f"the ledger of {passage.id!r} charges {ledger.bytes} bytes, the text has {size}",
            hint="same text above and below the line",
        )
