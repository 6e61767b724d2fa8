"""How many bits a model needs for a target, its end included, when it is given the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data.text import Text
from llmbench.errors import Unsupported
from llmbench.ledger import END, WORD_COUNTER
from llmbench.metrics.facts import CONDITIONAL_BITS
from llmbench.metrics.likelihood import Item
from llmbench.results.outcome import Outcome
from llmbench.results.signature import Signature
from llmbench.stats import ratio_interval
from llmbench.tasks.likelihood import charge, sample_row, score_rows
from llmbench.tasks.prompts import (
    TEMPLATE_HELP,
    check_sources,
    check_template,
    fill_template,
    sign_template,
)
from llmbench.tasks.task import Task

METRIC = CONDITIONAL_BITS


class Conditional(Task):
    """Items are pairs. A causal model reads the source as its prompt; where the target ends is part
    of the answer, and is charged. A token that covers the end of the source and the beginning of
    the target is charged whole.
    """

    class Settings(Task.Settings):
        """Bits of targets given their sources: a text of pairs."""

        text: str = "test"
        template: str = Field("{given}", description=TEMPLATE_HELP)

        def check(self, text: Text) -> None:
            check_sources(text)
            check_template(self.template, text)

    protocol = "conditional/1"

    def __init__(self, text: Text, template: str = "{given}"):
        self.text, self.template = text, template

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        return cls(texts[settings.text], settings.template)

    @property
    def signature(self) -> Signature:
        if self.template == "{given}":
            return super().signature
        return super().signature + sign_template(self.template, self.text)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        passages = [
            Passage(pair.text, fill_template(self.template, pair), pair.id, score_eos=True)
            for pair in self.text.documents
        ]
        ledgers = charge(adapter, passages, Window("half"), progress)
        if any(END not in ledger.kind for ledger in ledgers):
            raise Unsupported("the model does not charge for where a text ends")
        items = [
            Item(ledger.id, ledger.total() + ledger.total(END), ledger.bytes, 0)
            for ledger in ledgers
        ]
        found = ratio_interval([item.bits for item in items], [item.bytes for item in items])
        straddled = sum(ledger.context_bytes > 0 for ledger in ledgers)
        rows = [
            {**row, "straddled": straddled}
            for row in score_rows({METRIC: found}, self.signature, WORD_COUNTER, ledgers)
        ]
        return Outcome(rows, [sample_row(item, METRIC) for item in items], ledgers)
