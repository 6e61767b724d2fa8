"""Questions with candidates: the one that a model needs the fewest bits for is its choice, by all
its bits and by bits per byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.ledger import Ledger
from llmbench.metrics.metric import ScoreRow
from llmbench.metrics.registry import create_metric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.majority import compare_majority, find_common_candidate
from llmbench.tasks.lossy import DocumentTask, count_parts
from llmbench.tasks.passages import charge
from llmbench.tasks.prompts import (
    BOS_HELP,
    Asking,
    Bos,
    PromptSettings,
    check_chat,
    count_misread,
    gives_bos,
    mark_misread,
    move_space,
    read_chat,
)

ROUNDING = 1e-12  # relative difference of two sums of the same bits


def check_candidates(text: Text) -> None:
    """Raise UsageError if a document of `text` has fewer than two different candidates."""
    for document in text.documents:
        if len(document.choices) < 2:
            raise UsageError(
                f"{document.id!r} of the text {text.name!r} has no candidates",
                hint="questions stand in a .jsonl file, in the fields `given`, `choices` and"
                " `gold`",
            )
        if len(set(document.choices)) < 2:
            raise UsageError(
                f"all candidates of {document.id!r} of the text {text.name!r} are the same",
                hint="leave the question out",
            )


class MultipleChoice(DocumentTask):
    """Each candidate is charged after the prompt, which is free, with the space that parts them. Of
    equal ones the first is the choice, and they are counted.
    """

    class Settings(PromptSettings, DocumentTask.Settings):
        """Questions with candidates: accuracy of the one that needs the fewest bits."""

        join: str = " "
        bos: Bos = Field("auto", description=BOS_HELP)

        @model_validator(mode="after")
        def _can_leave_out(self) -> Self:
            check_chat(self.chat, self.lossy)
            return self

        def check(self, text: Text) -> None:
            check_candidates(text)
            super().check(text)

    protocol = "multiple-choice/3"

    def __init__(self, text: Text, asking: Asking, bos: Bos = "auto", chat: str | None = None):
        self.chat, self.how = chat, dict[str, str]()
        self.text, self.asking, self.bos = text, asking, bos
        check_candidates(text)

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        asking = Asking.from_settings(settings, texts, seed)
        return cls(texts[settings.text], asking, settings.bos, read_chat(settings.chat))

    @property
    def signature(self) -> Signature:
        asked = Signature.of(text=self.text.sha256[:16], protocol=self.protocol, bos=self.bos)
        return (asked + self.asking.sign(self.text)).extend(limit=self.text.sampled)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        if self.chat is not None:
            self.how = adapter.sign_prompts(self.chat)
        documents = self.text.documents
        passages = [passage for d in documents for passage in self.list_passages(d, adapter)]
        ledgers = charge(adapter, passages, Window("half"), progress)
        edges = [0]
        for document in documents:
            edges.append(edges[-1] + len(document.choices))
        samples = [
            _sample(document, passages[a].context, ledgers[a:b])
            for document, (a, b) in zip(documents, pairwise(edges), strict=True)
        ]
        if self.keeps_parts:
            for sample, (a, b) in zip(samples, pairwise(edges), strict=True):
                sample["parts"] = count_parts(ledgers[a:b], 0)
        mark_misread(adapter, [passages[at].context for at in edges[:-1]], samples)
        straddled = sum(ledger.context_bytes > 0 for ledger in ledgers)
        return Outcome(self._score(samples, straddled), samples)

    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        return self._score(samples, sum(row["parts"]["straddled"] for row in samples))

    def _score(self, samples: Sequence[SampleRow], straddled: int) -> list[ScoreRow]:
        documents = self.text.documents
        # of a right candidate that stands twice, either place is right
        shares = [d.choices.count(d.text) / len(d.choices) for d in documents]
        chance = sum(shares) / len(documents)
        repeated = sum(len(set(d.choices)) < len(d.choices) for d in documents)
        accuracy, scores = create_metric("accuracy"), list[ScoreRow]()
        answer, hits = find_common_candidate(documents)
        for norm, suffix in (("none", ""), ("byte", ":byte")):
            statistics = [sample["statistics"][f"accuracy{suffix}"] for sample in samples]
            found = accuracy.value(statistics)
            assert found is not None
            row = accuracy.metric.row(
                found.value,
                found.n,
                str(self.signature.extend(norm=norm, **self.how)),
                found.low,
                found.high,
            )
            tied = sum(sample["tied:byte" if suffix else "tied"] for sample in samples)
            row |= {"norm": norm, "tied": tied, "chance": chance, "straddled": straddled}
            row = {**row, **count_misread(samples)}
            if repeated:
                row["repeated"] = repeated
            if majority := compare_majority(answer, hits, [hit == 1.0 for hit, _ in statistics]):
                row["majority"] = majority
            scores.append(row)
        return scores

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        """Return each candidate after its prompt, with the space before it."""
        bos, found, prompt = gives_bos(self.bos, adapter), [], self.asking.prompt(document)
        for number, choice in enumerate(document.choices):
            context, text = (
                (prompt, choice)  # a target of its own, which nothing stands before
                if adapter.reads_source or self.chat is not None
                else move_space(prompt, self.asking.join + choice)
            )
            found.append(
                Passage(text, context, f"{document.id} {number}", add_bos=bos, chat=self.chat)
            )
        return found


def _sample(document: Document, prompt: str, ledgers: Sequence[Ledger]) -> SampleRow:
    """A question's line: what each candidate costs, which was chosen by either measure, which is
    right.
    """
    bits = [ledger.total() for ledger in ledgers]
    # the bytes that were scored divide, the space before a candidate among them
    rates = [value / max(1, ledger.bytes) for value, ledger in zip(bits, ledgers, strict=True)]
    gold = document.choices.index(document.text)
    (chosen, tied), (by_rate, tied_rates) = _choose(bits), _choose(rates)
    statistics = {
        # by their texts: of a candidate that stands twice, either place will do
        "accuracy": [float(document.choices[chosen] == document.text), 1.0],
        "accuracy:byte": [float(document.choices[by_rate] == document.text), 1.0],
    }
    return {
        "id": document.id,
        "bytes": sum(ledger.bytes for ledger in ledgers),
        "input": prompt,
        "output": document.choices[chosen],
        "output:byte": document.choices[by_rate],
        "reference": document.text,
        "statistics": statistics,
        "bits": bits,
        "chosen": chosen,
        "gold": gold,
        "tied": tied,
        "tied:byte": tied_rates,
    }


def _choose(values: Sequence[float]) -> tuple[int, bool]:
    """Return the first of the smallest values, and whether there are several, but for rounding."""
    least = min(values)
    found = [i for i, value in enumerate(values) if math.isclose(value, least, rel_tol=ROUNDING)]
    return found[0], len(found) > 1
