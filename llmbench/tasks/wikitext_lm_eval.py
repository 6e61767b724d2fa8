"""lm-eval's task `wikitext`: a number to hold beside published ones, and beside nothing else.

It charges a detokenised page and divides by the bytes and words of the page as it stands in the
data set, so it breaks the rule that bits and bytes are of the same string. Its documents are
WikiText's pages. Reference: EleutherAI/lm-evaluation-harness, task `wikitext` version 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Self

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data.text import Document, Text
from llmbench.ledger import Ledger, Totals
from llmbench.metrics.facts import BITS_PER_BYTE
from llmbench.metrics.likelihood import Item, intervals
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.tasks.likelihood import add_samples, sample_row, score_rows
from llmbench.tasks.lossy import DocumentTask, count_parts, name_charge
from llmbench.tasks.passages import charge
from llmbench.tasks.prompts import check_plain

METRICS = ("word_perplexity", "byte_perplexity", "bits_per_byte")
# pieces between runs of white space: an edge of white space makes an empty piece, which counts
WORD_COUNTER = "split-at-whitespace"

PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"))
LAST = (
    (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)


def detokenise(page: str) -> str:
    """The page with the spaces taken out that WikiText's tokeniser put in: the reference's rules,
    in its order.
    """
    page = page.replace("s '", "s'")
    page = re.sub(
        "/' [0-9]/", "/'[0-9]/", page
    )  # the reference puts its own pattern in; the same function needs the same slip
    for sign in "-,.":
        page = page.replace(f" @{sign}@ ", sign)
    for sign in ":;.!?,":
        page = page.replace(f" {sign} ", f"{sign} ")
    for opening, closing in PAIRS:
        page = _tighten(page, opening, closing)
    for count in (4, 3, 2):
        page = page.replace(" ".join("=" * count), "=" * count)
    for old, new in LAST:
        page = page.replace(old, new)
    return page


def _tighten(page: str, opening: str, closing: str) -> str:
    """Remove white space just inside the brackets, or inside a pair of quotation marks."""
    inside = f"{re.escape(opening)}([^{re.escape(closing)}]*){re.escape(closing)}"
    return re.sub(inside, lambda found: opening + found[1].strip() + closing, page)


def count_pieces(page: str) -> int:
    """Words by this protocol's counter, WORD_COUNTER."""
    return len(re.split(r"\s+", page))


class WikitextLmEval(DocumentTask):
    """Charges the detokenised documents in rolling windows; items are documents, with the bytes and
    words of the originals.
    """

    class Settings(DocumentTask.Settings):
        """Bits of a detokenised text over the bytes and words of the original, as lm-eval's task
        `wikitext` has them.
        """

        text: str = "test"

        def check(self, text: Text) -> None:
            check_plain(text)

    protocol = "wikitext-lm-eval/1"

    def __init__(self, text: Text):
        self.text = text

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        check_plain(texts[settings.text])
        return cls(texts[settings.text])

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        return [Passage(detokenise(document.text), id=document.id)]

    def _charge(self, adapter: Adapter, progress: Progress) -> list[Ledger]:
        passages = [p for page in self.text.documents for p in self.list_passages(page, adapter)]
        return charge(adapter, passages, Window("rolling"), progress)

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        self._charge(adapter, progress)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        pages = self.text.documents
        ledgers = self._charge(adapter, progress)
        items = [
            Item(page.id, ledger.total(), len(page.text.encode()), count_pieces(page.text))
            for page, ledger in zip(pages, ledgers, strict=True)
        ]
        totals = Totals.of(ledgers, sum(item.words for item in items))
        rows = [sample_row(item) for item in items]
        if self.keeps_parts:
            for row, ledger, item in zip(rows, ledgers, items, strict=True):
                row["parts"] = count_parts([ledger], item.words)
        return Outcome(self._score(items, totals, name_charge(ledgers)), rows, ledgers)

    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        items, totals, charged = add_samples(samples, BITS_PER_BYTE)
        return self._score(items, totals, charged)

    def _score(self, items: Sequence[Item], totals: Totals, charged: str) -> list[ScoreRow]:
        found = intervals(items, totals)
        return score_rows(
            {name: found[name] for name in METRICS}, self.signature, WORD_COUNTER, charged
        )
