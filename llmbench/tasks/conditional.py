"""How many bits a model needs for a target, its end included, when it is given the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data.text import Document, Text
from llmbench.errors import Unsupported
from llmbench.ledger import END, WORD_COUNTER, Ledger
from llmbench.metrics.facts import CONDITIONAL_BITS
from llmbench.metrics.likelihood import Item
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.stats import ratio_interval
from llmbench.tasks.likelihood import add_samples, sample_row, score_rows
from llmbench.tasks.lossy import DocumentTask, count_parts, name_charge
from llmbench.tasks.passages import charge
from llmbench.tasks.prompts import (
    CHAT_HELP,
    TEMPLATE_HELP,
    check_chat,
    check_sources,
    check_template,
    count_misread,
    fill_template,
    find_others,
    mark_misread,
    read_chat,
    sign_template,
)

METRIC = CONDITIONAL_BITS


class Conditional(DocumentTask):
    """Items are pairs. A causal model reads the source as its prompt; where the target ends is part
    of the answer, and is charged. A token that covers the end of the source and the beginning of
    the target is charged whole.
    """

    class Settings(DocumentTask.Settings):
        """Bits of targets given their sources: a text of pairs."""

        text: str = "test"
        template: str = Field("{given}", description=TEMPLATE_HELP)
        chat: bool | str = Field(False, description=CHAT_HELP)

        @model_validator(mode="after")
        def _can_leave_out(self) -> Self:
            check_chat(self.chat, self.lossy)
            return self

        def check(self, text: Text) -> None:
            check_sources(text)
            check_template(self.template, text)

        def field_names(self) -> Sequence[str]:
            return find_others(self.template)

    protocol = "conditional/1"

    def __init__(self, text: Text, template: str = "{given}", chat: str | None = None):
        self.text, self.template = text, template
        self.chat, self.how = chat, dict[str, str]()

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        return cls(texts[settings.text], settings.template, read_chat(settings.chat))

    @property
    def signature(self) -> Signature:
        if self.template == "{given}":
            return super().signature
        return super().signature + sign_template(self.template, self.text)

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        source = fill_template(self.template, document)
        return [Passage(document.text, source, document.id, score_eos=True, chat=self.chat)]

    def _charge(self, adapter: Adapter, progress: Progress) -> tuple[list[Passage], list[Ledger]]:
        """What is scored, and what it costs. Raises Unsupported, also for a part of the pairs."""
        pairs = self.text.documents
        passages = [passage for pair in pairs for passage in self.list_passages(pair, adapter)]
        ledgers = charge(adapter, passages, Window("half"), progress)
        if any(END not in ledger.kind for ledger in ledgers):
            raise Unsupported("the model does not charge for where a text ends")
        return passages, ledgers

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        self._charge(adapter, progress)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        if self.chat is not None:
            self.how = adapter.sign_prompts(self.chat)
        pairs = self.text.documents
        passages, ledgers = self._charge(adapter, progress)
        rows = []
        for pair, ledger in zip(pairs, ledgers, strict=True):
            bits = ledger.total() + ledger.total(END)
            rows.append(sample_row(Item(pair.id, bits, ledger.bytes, 0), METRIC))
            if self.keeps_parts:
                rows[-1]["parts"] = count_parts([ledger], 0)
        mark_misread(adapter, [passage.context for passage in passages], rows)
        straddled = sum(ledger.context_bytes > 0 for ledger in ledgers)
        return Outcome(self._score(rows, name_charge(ledgers), straddled), rows, ledgers)

    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        _, _, charged = add_samples(samples, METRIC)
        straddled = sum(row["parts"]["straddled"] for row in samples)
        return self._score(samples, charged, straddled)

    def _score(self, samples: Sequence[SampleRow], charged: str, straddled: int) -> list[ScoreRow]:
        items = [row["statistics"][METRIC] for row in samples]
        found = ratio_interval([bits for bits, _ in items], [size for _, size in items])
        rows = score_rows({METRIC: found}, self.signature.extend(**self.how), WORD_COUNTER, charged)
        return [{**row, "straddled": straddled, **count_misread(samples)} for row in rows]
