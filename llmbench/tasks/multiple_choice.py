"""Questions with candidates: the one that a model needs the fewest bits for is its choice, by all
its bits and by bits per byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Self

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.ledger import Ledger
from llmbench.metrics.metric import ScoreRow
from llmbench.metrics.registry import create_metric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.likelihood import charge
from llmbench.tasks.prompts import Asking, PromptSettings
from llmbench.tasks.task import Task


def check_candidates(text: Text) -> None:
    """Raise UsageError if a document of `text` has fewer than two candidates."""
    for document in text.documents:
        if len(document.choices) < 2:
            raise UsageError(
                f"{document.id!r} of the text {text.name!r} has no candidates",
                hint="questions stand in a .jsonl file, in the fields `given`, `choices` and"
                " `gold`",
            )


class MultipleChoice(Task):
    """Each candidate is charged after the prompt, which is free. Of equal ones the first is the
    choice, and they are counted.
    """

    class Settings(PromptSettings):
        """Questions with candidates: accuracy of the one that needs the fewest bits."""

        join: str = " "

        def check(self, text: Text) -> None:
            check_candidates(text)

    protocol = "multiple-choice/2"

    def __init__(self, text: Text, asking: Asking):
        self.text, self.asking = text, asking
        check_candidates(text)

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        return cls(texts[settings.text], Asking.from_settings(settings, texts, seed))

    @property
    def signature(self) -> Signature:
        asked = Signature.of(text=self.text.sha256[:16], protocol=self.protocol)
        return (asked + self.asking.signature).extend(limit=self.text.sampled)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        documents = self.text.documents
        ledgers = charge(adapter, self._passages(adapter), Window("half"), progress)
        edges = [0]
        for document in documents:
            edges.append(edges[-1] + len(document.choices))
        samples = [
            _sample(document, ledgers[a:b])
            for document, (a, b) in zip(documents, pairwise(edges), strict=True)
        ]
        accuracy, scores = create_metric("accuracy"), list[ScoreRow]()
        for how in ("none", "byte"):
            found = accuracy.value(
                [
                    sample["statistics"]["accuracy" if how == "none" else "accuracy:byte"]
                    for sample in samples
                ]
            )
            assert found is not None
            row = accuracy.metric.row(
                found.value, found.n, str(self.signature.extend(norm=how)), found.low, found.high
            )
            tied = sum(sample["tied"] for sample in samples)
            scores.append(
                {
                    **row,
                    "norm": how,
                    "tied": tied,
                    "chance": sum(1 / len(d.choices) for d in documents) / len(documents),
                }
            )
        return Outcome(scores, samples)

    def _passages(self, adapter: Adapter) -> list[Passage]:
        return [
            Passage(
                self.asking.join + choice,
                context=self.asking.prompt(document),
                id=f"{document.id} {number}",
            )
            for document in self.text.documents
            for number, choice in enumerate(document.choices)
        ]


def _sample(document: Document, ledgers: Sequence[Ledger]) -> SampleRow:
    """A question's line: what each candidate costs, which was chosen by either measure, which is
    right.
    """
    bits = [ledger.total() for ledger in ledgers]
    rates = [
        value / max(1, len(choice.encode()))
        for value, choice in zip(bits, document.choices, strict=True)
    ]  # its own bytes, without `join`
    gold = document.choices.index(document.text)
    chosen, by_rate = (values.index(min(values)) for values in (bits, rates))
    statistics = {
        "accuracy": [float(chosen == gold), 1.0],
        "accuracy:byte": [float(by_rate == gold), 1.0],
    }
    return {
        "id": document.id,
        "bytes": sum(ledger.bytes for ledger in ledgers),
        "input": document.context,
        "output": document.choices[chosen],
        "output:byte": document.choices[by_rate],
        "reference": document.text,
        "statistics": statistics,
        "bits": bits,
        "chosen": chosen,
        "gold": gold,
        "tied": bits.count(min(bits)) > 1,
    }
