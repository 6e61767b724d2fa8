"""Whether a model would write an answer token by token: each the likeliest after those before it.
Called `language_modeling` in llm-foundry's gauntlet, and in CORE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Self

from pydantic import Field, model_validator

from llmbench.adapter import Adapter, Passage, Progress
from llmbench.data.text import Document, Text, check_documents
from llmbench.metrics.registry import create_metric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.centring import BASELINE, CENTRED, add_centred, score_centred
from llmbench.tasks.lm_eval.asking import find_greedy
from llmbench.tasks.prompts import (
    BOS_HELP,
    Asking,
    Bos,
    PromptSettings,
    check_sources,
    count_cut,
    count_misread,
    gives_bos,
    mark_misread,
    move_space,
)
from llmbench.tasks.task import Task

AT_ONCE = 512  # passages that are handed over together, so that progress is seen


class GreedyMatch(Task):
    """Each document is a pair: the answer `text` follows the prompt, with the white space that ends
    the prompt. Of several right answers any counts, each whole, to its last token. Of a model whose
    tokens are not visible a greedy answer of as many bytes must be the same.
    """

    class Settings(PromptSettings):
        """Whether each token of an answer is the likeliest one."""

        join: str = " "
        bos: Bos = Field("auto", description=BOS_HELP)
        baseline: float | None = BASELINE

        @model_validator(mode="after")
        def _has_no_chat(self) -> Self:
            if self.chat is not False:
                raise ValueError("`greedy-match` has no `chat`: use the task `answer`")
            return self

        def list_averaged(self) -> Sequence[str]:
            return ["accuracy", *[CENTRED.name] * (self.baseline is not None)]

        def check(self, text: Text) -> None:
            check_answers(text)
            super().check(text)

    protocol = "greedy-match/1"

    def __init__(
        self, text: Text, asking: Asking, bos: Bos = "auto", baseline: float | None = None
    ):
        self.text, self.asking, self.bos, self.baseline = text, asking, bos, baseline
        check_answers(text)

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        asking = Asking.from_settings(settings, texts, seed)
        return cls(texts[settings.text], asking, settings.bos, settings.baseline)

    @property
    def signature(self) -> Signature:
        asked = Signature.of(text=self.text.sha256[:16], protocol=self.protocol, bos=self.bos)
        return (asked + self.asking.sign(self.text)).extend(limit=self.text.sampled)

    def size_items(self, adapter: Adapter) -> Sequence[int]:
        return [document.size for document in self.text.documents]

    def take(self, first: int, last: int) -> Self:
        part = copy(self)
        part.text = self.text.take(first, last)
        return part

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        self._find_hits(adapter, progress)

    def _find_hits(
        self, adapter: Adapter, progress: Progress
    ) -> tuple[list[list[Passage]], list[bool]]:
        """The right answers of each document, and whether each of all these would be written."""
        documents = self.text.documents
        asked = [self.list_passages(document, adapter) for document in documents]
        flat = [passage for some in asked for passage in some]
        hits, total = list[bool](), len(flat)
        for first in range(0, total, AT_ONCE):
            progress("scoring", first / total, f"{len(documents)} documents")
            hits += find_greedy(adapter, flat[first : first + AT_ONCE])
        progress("scoring", 1.0, f"{len(documents)} documents")
        return asked, hits

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        documents = self.text.documents
        asked, hits = self._find_hits(adapter, progress)
        found = iter(hits)
        samples: list[SampleRow] = []
        for document, passages in zip(documents, asked, strict=True):
            right = float(max([next(found) for _ in passages]))
            samples.append(
                {
                    "id": document.id,
                    "bytes": sum(len(passage.text.encode()) for passage in passages),
                    "input": passages[0].context,
                    "output": None,
                    "reference": " | ".join(passage.text for passage in passages),
                    "statistics": {"accuracy": [right, 1.0]},
                }
            )
        if self.baseline is not None:
            add_centred(samples, self.baseline)
        mark_misread(adapter, [passages[0].context for passages in asked], samples)
        return self._score(samples, count_cut(adapter, asked))

    def _score(self, samples: Sequence[SampleRow], cut: int) -> Outcome:
        accuracy = create_metric("accuracy")
        found = accuracy.value([sample["statistics"]["accuracy"] for sample in samples])
        assert found is not None
        signature = str(self.signature)
        row = accuracy.metric.row(found.value, found.n, signature, found.low, found.high)
        scores = [{**row, **count_misread(samples), **({"cut": cut} if cut else {})}]
        if self.baseline is not None:
            scores.append({**score_centred(row, self.baseline)})
        return Outcome(scores, samples)

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        """Return each right answer after its prompt, with the white space between them."""
        prompt, bos = self.asking.prompt(document), gives_bos(self.bos, adapter)
        found = []
        for number, answer in enumerate(document.references):
            if adapter.reads_source:
                context, text = prompt, answer  # a target of its own, which nothing stands before
            else:
                context, text = move_space(prompt, self.asking.join + answer)
            found.append(Passage(text, context, f"{document.id} {number}", add_bos=bos))
        return found


def check_answers(text: Text) -> None:
    """Raise UsageError if a document of `text` is no pair, or has an empty answer."""
    check_sources(text)
    check_documents(
        text,
        lambda one: not one.choices,
        lambda one: ("is a question with candidates", "use the task `multiple-choice`"),
    )
    check_documents(
        text,
        lambda one: all(answer.strip() for answer in one.references),
        lambda one: ("has an empty answer", "leave it out"),
    )
