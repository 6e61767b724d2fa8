"""Tasks in which a model writes, and what it wrote is held against a reference: translation, and
answers to questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field

from llmbench.adapter import Adapter, Progress, Request
from llmbench.config.model_card import TextBytes
from llmbench.data.text import Text
from llmbench.errors import Unsupported
from llmbench.inference.text.answer import stream_answers, trim_answer
from llmbench.metrics.metric import MajorityRow, ScoreRow
from llmbench.metrics.registry import create_metrics
from llmbench.metrics.text import TextMetric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.majority import compare_majority, find_common_answer
from llmbench.tasks.answers.uncounted import Uncounted
from llmbench.tasks.prompts import (
    Asking,
    PromptCounts,
    PromptSettings,
    check_sources,
    count_prompts,
    read_chat,
    trim_prompt,
)
from llmbench.tasks.task import Task

RIGHT_OR_WRONG = ("accuracy", "exact_match")  # metrics by which an answer is one or the other
SIDE_BY_SIDE = 256  # requests handed over at once, so that progress is seen


class Writing(Task):
    """Each document is a pair: `given` is the question, `text` the reference. Greedy decoding."""

    class Settings(PromptSettings):
        """How far a model writes, and by which metrics that is judged."""

        stop: list[Annotated[str, Field(min_length=1)]] = ["\n"]
        max_bytes: TextBytes = 300
        metrics: list[str] | None = Field(
            None,
            min_length=1,
            description=(
                "instead of the task's own; bleu:zh is BLEU by another of sacrebleu's tokenizers,"
                " evaluate:NAME one of Hugging Face's"
            ),
        )

        def metric_names(self) -> Sequence[str]:
            return self.metrics or ()

        def check(self, text: Text) -> None:
            check_sources(text)
            super().check(text)

        def check_texts(self, texts: Mapping[str, Text]) -> None:
            if self.shots:
                check_sources(texts[self.shots_from])
            super().check_texts(texts)

    metrics: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        text: Text,
        asking: Asking,
        stop: Sequence[str],
        max_bytes: int,
        metrics: Sequence[str] | None = None,
        train: Text | None = None,
        chat: str | None = None,
    ):
        self.chat = chat
        self.text, self.asking, self.stop, self.max_bytes = text, asking, tuple(stop), max_bytes
        self.scorers = create_metrics(metrics or self.metrics, train=train, held_out=text)

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        return cls(
            texts[settings.text],
            Asking.from_settings(settings, texts, seed),
            settings.stop,
            settings.max_bytes,
            settings.metrics,
            texts.get("train"),
            read_chat(settings.chat),
        )

    @property
    def signature(self) -> Signature:
        asked = Signature.of(text=self.text.sha256[:16], protocol=self.protocol)
        return (asked + self.asking.sign(self.text) + _sign_references(self.text)).extend(
            stop=list(self.stop), max_bytes=self.max_bytes, limit=self.text.sampled
        )

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        how = adapter.sign_prompts(self.chat)
        requests = self._requests(adapter)
        said = generate_texts(adapter, requests, progress)
        outputs = [text.strip() for text in said]
        samples: list[SampleRow] = []
        for document, request, output, raw in zip(
            self.text.documents, requests, outputs, said, strict=True
        ):
            numbers = {
                scorer.full_name: scorer.measure_best(output, document.references)
                for scorer in self.scorers
            }
            samples.append(
                {
                    "id": document.id,
                    "bytes": len(raw.encode(errors="replace")),
                    "input": request.prompt,
                    "output": output,
                    "reference": " | ".join(document.references),
                    "statistics": numbers,
                }
            )
        facts = counts(adapter, samples)
        scores, uncounted = list[ScoreRow](), Uncounted(samples)
        for scorer in self.scorers:
            name = scorer.full_name
            rows = [sample["statistics"][name] for sample in samples]
            found = scorer.value(rows)
            for sample, kept in zip(samples, scorer.comparable_rows(rows), strict=True):
                sample["statistics"][name] = kept
            if found is None:
                uncounted.note_absent(name)
            else:
                row = scorer.metric.row(
                    found.value,
                    found.n,
                    str(self.signature.extend(scorer.signature, **how)),
                    found.low,
                    found.high,
                )
                blind = sum(
                    any(map(scorer.is_blind_to, (output, *document.references)))
                    for output, document in zip(outputs, self.text.documents, strict=True)
                )
                if scorer.variant:
                    row["variant"] = scorer.variant
                if blind:
                    row["blind"] = blind
                if majority := self._compare_majority(scorer, rows):
                    row["majority"] = majority
                scores.append({**row, **facts, **uncounted.count(name)})
        uncounted.add_to(scores)
        return Outcome(scores, samples)

    def _compare_majority(
        self, scorer: TextMetric, rows: Sequence[Sequence[float]]
    ) -> MajorityRow | None:
        """Return always giving the most common answer beside `rows`, of a share of right ones."""
        if scorer.metric.name not in RIGHT_OR_WRONG or not all(rows):
            return None
        documents = self.text.documents
        answer = find_common_answer(documents)
        hits = [scorer.measure_best(answer, document.references)[0] for document in documents]
        return compare_majority(
            answer, [hit == 1.0 for hit in hits], [row[0] == 1.0 for row in rows]
        )

    def _requests(self, adapter: Adapter) -> list[Request]:
        prompts = [
            trim_prompt(self.asking.prompt(document), adapter) for document in self.text.documents
        ]
        return [
            Request(prompt, max_bytes=self.max_bytes, stop=self.stop, chat=self.chat)
            for prompt in prompts
        ]


def _sign_references(text: Text) -> Signature:
    """Return what several right answers to a question add to a signature."""
    most = max(len(document.references) for document in text.documents)
    return Signature.of(references=f"best of {most}") if most > 1 else Signature()


class Counts(PromptCounts):
    """How many outputs are empty or white space alone, how many hold bytes that are no UTF-8, and
    what was not read of their prompts.
    """

    empty: int
    broken: int


def counts(adapter: Adapter, samples: Sequence[SampleRow]) -> Counts:
    """Count what went wrong with these samples. Their outputs show U+FFFD for invalid UTF-8."""
    outputs = [sample["output"] or "" for sample in samples]
    return {
        "empty": sum(not output.strip() for output in outputs),
        "broken": sum("\N{REPLACEMENT CHARACTER}" in output for output in outputs),
        **count_prompts(adapter, samples),
    }


def generate_texts(adapter: Adapter, requests: Sequence[Request], progress: Progress) -> list[str]:
    """Return the answer to each request, in order; what goes beyond its request is cut off."""
    said = [""] * len(requests)
    for first in range(0, len(requests), SIDE_BY_SIDE):
        some = requests[first : first + SIDE_BY_SIDE]
        for chunk in stream_answers(adapter, some):
            said[first + chunk.row] += chunk.text
        done = first + len(some)
        progress("writing", done / len(requests), f"{done} of {len(requests)}")
    if not requests:
        raise Unsupported("there is nothing to write")
    return [trim_answer(text, request) for text, request in zip(said, requests, strict=True)]


class Translation(Writing):
    """A source in, a target out: BLEU, chrF, TER."""

    protocol = "translation/1"
    metrics = ("bleu", "chrf", "ter")


class Answer(Writing):
    """A question in, a short answer out: exact match, F1."""

    class Settings(Writing.Settings):
        """A question in, a short answer out."""

        max_bytes: TextBytes = 60

    protocol = "answer/1"
    metrics = ("exact_match", "f1")
