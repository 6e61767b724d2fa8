"""Tasks in which a model writes, and what it wrote is held against a reference: translation, and
answers to questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from llmbench.adapter import Adapter, Progress, Request
from llmbench.config.model_card import TextBytes
from llmbench.data.text import Text
from llmbench.errors import Unsupported
from llmbench.inference.text.answer import stream_answers, trim_answer
from llmbench.metrics.metric import MajorityRow, ScoreRow
from llmbench.metrics.registry import MetricName, create_metrics
from llmbench.metrics.text import TextMetric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.extraction import Extract, Pattern, Reading
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
from llmbench.tasks.shards.recording import ask_texts
from llmbench.tasks.task import Task

RIGHT_OR_WRONG = ("accuracy", "exact_match")  # metrics by which an answer is one or the other
SIDE_BY_SIDE = 256  # requests handed over at once, so that progress is seen
WRITING = 8  # times what a byte costs that is read: a byte that is written


class Writing(Task):
    """Each document is a pair: `given` is the question, `text` the reference. Greedy decoding."""

    class Settings(PromptSettings):
        """How far a model writes, and by which metrics that is judged."""

        stop: list[Annotated[str, Field(min_length=1)]] = ["\n"]
        max_bytes: TextBytes = 300
        metrics: list[MetricName] | None = Field(
            None,
            min_length=1,
            description=(
                "instead of the task's own; bleu:zh, or bleu: {tokenize: zh}, is BLEU by another of"
                " sacrebleu's tokenizers, evaluate:NAME one of Hugging Face's"
            ),
        )
        extract: list[Extract] = Field(
            [],
            description="parts of an answer that are scored instead of all of it, each by itself",
        )
        ignore: list[Pattern] = Field(
            [], description="regexes whose matches are removed from answers and references"
        )
        ignore_case: bool = Field(False, description="whether case counts in no answer")
        no_answer: str = Field(
            "",
            description="what says that there is no answer: it is read, and shown, as an empty one",
        )

        @model_validator(mode="after")
        def _name_each_once(self) -> Self:
            names = [part.name for part in self.extract]
            if len(set(names)) < len(names):
                raise ValueError("two parts of `extract` have the same name")
            return self

        @property
        def readings(self) -> list[Reading]:
            """How an answer is read: whole, or one of its parts after another."""
            rules = (tuple(self.ignore), self.ignore_case, self.no_answer)
            parts: list[Extract | None] = [*self.extract] or [None]
            return [Reading(*rules, part) for part in parts]

        def metric_names(self) -> Sequence[str]:
            return self.metrics or ()

        def list_averaged(self) -> Sequence[str]:
            return [name for name in self.metrics or () if name == "accuracy"]

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
        *,
        readings: Sequence[Reading] = (Reading(),),
    ):
        self.chat, self.readings = chat, readings
        self.text, self.asking, self.stop, self.max_bytes = text, asking, tuple(stop), max_bytes
        self.scorers = create_metrics(metrics or self.metrics, train=train, held_out=text)

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        asking = Asking.from_settings(settings, texts, seed)
        return cls(
            texts[settings.text],
            replace(asking, empty=settings.no_answer),
            settings.stop,
            settings.max_bytes,
            settings.metrics,
            texts.get("train"),
            read_chat(settings.chat),
            readings=settings.readings,
        )

    @property
    def signature(self) -> Signature:
        asked = Signature.of(text=self.text.sha256[:16], protocol=self.protocol)
        return (asked + self.asking.sign(self.text) + _sign_references(self.text)).extend(
            stop=list(self.stop), max_bytes=self.max_bytes, limit=self.text.sampled
        )

    def size_items(self, adapter: Adapter) -> Sequence[int]:
        return [d.size + WRITING * self.max_bytes for d in self.text.documents]

    def take(self, first: int, last: int) -> Self:
        part = copy(self)
        part.text = self.text.take(first, last)
        return part

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        generate_texts(adapter, self._requests(adapter), progress)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        how = adapter.sign_prompts(self.chat)
        requests = self._requests(adapter)
        said = generate_texts(adapter, requests, progress)
        outputs = [text.strip() for text in said]
        samples: list[SampleRow] = []
        for document, request, output, raw in zip(
            self.text.documents, requests, outputs, said, strict=True
        ):
            samples.append(
                {
                    "id": document.id,
                    "bytes": len(raw.encode(errors="replace")),
                    "input": request.prompt,
                    "output": output,
                    "reference": " | ".join(document.references),
                    "statistics": {},
                }
            )
        facts = counts(adapter, samples)
        scores, uncounted = list[ScoreRow](), Uncounted(samples)
        for number, reading in enumerate(self.readings):
            read = [reading.read(output) for output in outputs]
            if reading.extract is not None:
                for sample, answer in zip(samples, read, strict=True):
                    sample.setdefault("extracted", {})[reading.extract.name] = answer
            for scorer in self.scorers:
                scorer = _name_apart(scorer, reading, number)
                row = self._measure(scorer, reading, read, samples)
                name = scorer.full_name
                uncounted.add(name, [sample["statistics"][name] for sample in samples])
                if row is None:
                    uncounted.note_absent(name)
                else:
                    row["signature"] = str(
                        self.signature.extend(scorer.signature, **how, **reading.signature)
                    )
                    scores.append({**row, **facts, **uncounted.count(name)})
        uncounted.add_to(scores)
        return Outcome(scores, samples)

    def _measure(
        self,
        scorer: TextMetric,
        reading: Reading,
        read: Sequence[str],
        samples: Sequence[SampleRow],
    ) -> ScoreRow | None:
        """Return a metric's score of the answers, and put its statistics into their samples; None
        if it counts none of them.
        """
        references = [
            [reading.clean(reference) for reference in document.references]
            for document in self.text.documents
        ]
        rows = [
            scorer.measure_best(answer, right)
            for answer, right in zip(read, references, strict=True)
        ]
        for sample, kept in zip(samples, scorer.comparable_rows(rows), strict=True):
            sample["statistics"][scorer.full_name] = kept
        found = scorer.value(rows)
        if found is None:
            return None
        row = scorer.metric.row(found.value, found.n, "", found.low, found.high)
        blind = sum(
            any(map(scorer.is_blind_to, (answer, *right)))
            for answer, right in zip(read, references, strict=True)
        )
        if scorer.variant:
            row["variant"] = scorer.variant
        if blind:
            row["blind"] = blind
        if reading.extract is None and (majority := self._compare_majority(scorer, rows)):
            row["majority"] = majority
        return row

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


def _name_apart(scorer: TextMetric, reading: Reading, number: int) -> TextMetric:
    """The metric of a reading, of all but the first one under its own name."""
    if not number or reading.extract is None:
        return scorer
    other = copy(scorer)
    other.variant = f"{scorer.variant}:{reading.extract.name}"
    return other


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
        for at, text in enumerate(ask_texts(some, partial(_join_answers, adapter))):
            said[first + at] = text
        done = first + len(some)
        progress("writing", done / len(requests), f"{done} of {len(requests)}")
    if not requests:
        raise Unsupported("there is nothing to write")
    return [trim_answer(text, request) for text, request in zip(said, requests, strict=True)]


def _join_answers(adapter: Adapter, requests: Sequence[Request]) -> list[str]:
    """The whole answer to each request, though they come in pieces."""
    said = [""] * len(requests)
    for chunk in stream_answers(adapter, requests):
        said[chunk.row] += chunk.text
    return said


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
