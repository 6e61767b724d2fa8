"""What a model says after prompts: kept, shown side by side, and judged beside what a human wrote
there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from llmbench import limits
from llmbench.adapter import Adapter, Progress, Request
from llmbench.config.model_card import Ids, TextBytes
from llmbench.data.text import Text
from llmbench.metrics.metric import ScoreRow
from llmbench.metrics.registry import (
    BESIDE_HELD_OUT,
    BESIDE_TRAINING,
    OF_OUTPUTS,
    OF_PAIRS,
    MetricName,
    create_metrics,
)
from llmbench.metrics.text import TextMetric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.text_prompts import Prompt, cut_prompts, long_documents
from llmbench.tasks.answers.uncounted import Uncounted
from llmbench.tasks.prompts import CHAT_HELP, read_chat, trim_prompt
from llmbench.tasks.reference_based import WRITING, counts, generate_texts
from llmbench.tasks.task import Task

Temperature = Annotated[float, Field(ge=0, le=limits.TEMPERATURE)]
GREEDY, SAMPLED = "greedy", "sampled"
SEEDS_APART = limits.PROMPTS  # between the seeds of two answers to one prompt


@dataclass(frozen=True)
class Decoding:
    """How answers are made: greedily, and at a temperature above 0 with so many seeds; either may
    be left out.
    """

    max_bytes: int
    temperatures: tuple[float, ...]
    seeds: int = 1
    top_k: int | None = None
    top_p: float | None = None

    @property
    def signature(self) -> Signature:
        cuts = {"top_k": self.top_k, "top_p": self.top_p}
        return Signature.of(
            max_bytes=self.max_bytes,
            temperature=",".join(f"{t:g}" for t in self.temperatures),
            seeds=self.seeds,
            **{name: value for name, value in cuts.items() if value is not None},
        )

    def ways(self) -> list[tuple[str, float, int]]:
        """(greedy or sampled, temperature, number of the answer) for each answer to a prompt."""
        return [
            (SAMPLED if t else GREEDY, t, number)
            for t in self.temperatures
            for number in range(self.seeds if t else 1)
        ]


class Continuation(Task):
    """Every model gets the same prompts, the same number of bytes, the same seeds."""

    class Settings(Task.Settings):
        """What a model says after prompts: given ones, or ones that are cut from a text."""

        prompts: list[str] = Field([], max_length=limits.PROMPTS)
        text: str | None = Field(
            None,
            description=(
                "the text that further prompts are cut from; what it goes on with is the human's"
                " answer"
            ),
        )
        count: int = Field(20, ge=1, le=limits.PROMPTS, description="prompts that are cut")
        prompt_bytes: TextBytes = 100
        max_bytes: TextBytes = 200
        temperature: Temperature | list[Temperature] = Field(
            0.8, description="0 is greedy; [0, 1]: both, each judged by itself"
        )
        seeds: int = Field(
            1, ge=1, le=limits.ANSWERS, description="answers to each prompt, where they are sampled"
        )
        top_k: Ids | None = None
        top_p: float | None = Field(None, gt=0, le=1)
        chat: bool | str = Field(False, description=CHAT_HELP)
        metrics: list[MetricName] | None = Field(
            None,
            description=(
                "of prompts that are cut, by default all that need no reference; of given ones none"
            ),
        )

        @property
        def temperatures(self) -> tuple[float, ...]:
            return (
                tuple(self.temperature)
                if isinstance(self.temperature, list)
                else (self.temperature,)
            )

        @model_validator(mode="after")
        def _asks_something(self) -> Self:
            if not self.prompts and self.text is None:
                raise ValueError("there are neither `prompts` nor a `text` to cut them from")
            compares = next(
                (name for name in self.metrics or () if name.partition(":")[0] in OF_PAIRS), None
            )
            if compares and self.prompts:
                raise ValueError(
                    f"the metric {compares} compares with a reference, and `prompts` that are given"
                    " have none"
                )
            measured = next((name for name in self.metrics or () if name in BESIDE_HELD_OUT), None)
            if measured and self.text is None:
                raise ValueError(
                    f"the metric {measured} compares with the text that prompts are cut from, and"
                    " there is none"
                )
            above = [t for t in self.temperatures if t > 0]
            if (
                not self.temperatures
                or len(above) > 1
                or len(self.temperatures) > 2
                or len(set(self.temperatures)) < len(self.temperatures)
            ):
                raise ValueError(
                    "temperature is a number, or [0, T]: greedy answers and sampled ones"
                )
            return self

        def metric_names(self) -> Sequence[str]:
            return self.metrics or ()

        def check(self, text: Text) -> None:
            long_documents(text, self.prompt_bytes + self.max_bytes)

    protocol = "continuation/2"
    _first = 0  # the number of the first prompt

    def __init__(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        scorers: Sequence[TextMetric] = (),
        seed: int = 0,
        source: Signature | None = None,
        chat: str | None = None,
    ):
        self.chat = chat
        self.prompts, self.decoding, self.scorers, self.seed, self.source = (
            list(prompts),
            decoding,
            list(scorers),
            seed,
            source or Signature.of(prompts="given"),
        )

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        text, train = texts.get(settings.text or ""), texts.get("train")
        usual = (
            [*OF_OUTPUTS, *(BESIDE_TRAINING if train is not None else ()), *BESIDE_HELD_OUT]
            if text is not None
            else []
        )
        names = usual if settings.metrics is None else settings.metrics
        scorers = create_metrics(names, train=train, held_out=text)
        prompts = [Prompt(prompt) for prompt in settings.prompts]
        if text is not None:
            prompts += cut_prompts(
                text, settings.count, settings.prompt_bytes, settings.max_bytes, seed
            )
        decoding = Decoding(
            settings.max_bytes,
            settings.temperatures,
            settings.seeds,
            settings.top_k,
            settings.top_p,
        )
        given = (
            [f"given {hashlib.sha256(json.dumps(settings.prompts).encode()).hexdigest()[:16]}"]
            if settings.prompts
            else []
        )
        cut = (
            [f"text {text.sha256[:16]} {settings.count}x{settings.prompt_bytes}"]
            if text is not None
            else []
        )
        source = Signature.of(prompts=" and ".join([*given, *cut]))
        if text is not None:
            source = source.extend(limit=text.sampled)
        return cls(prompts, decoding, scorers, seed, source, read_chat(settings.chat))

    @property
    def signature(self) -> Signature:
        asked = Signature.of(protocol=self.protocol) + self.source + self.decoding.signature
        return asked.extend(seed=self.seed)

    def size_items(self, adapter: Adapter) -> Sequence[int]:
        written = WRITING * self.decoding.max_bytes * len(self.decoding.ways())
        return [len(prompt.text.encode()) + written for prompt in self.prompts]

    def take(self, first: int, last: int) -> Self:
        part = copy(self)
        part.prompts, part._first = self.prompts[first:last], self._first + first
        return part

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        self._write(adapter, progress)

    def _write(
        self, adapter: Adapter, progress: Progress
    ) -> list[tuple[int, Prompt, tuple[str, float, int], str]]:
        """Each prompt's number, the prompt, how it is answered, and the answer."""
        prompts = [
            Prompt(trim_prompt(prompt.text, adapter), prompt.human) for prompt in self.prompts
        ]
        ways = self.decoding.ways()
        asked = [(i, one, way) for i, one in enumerate(prompts, self._first) for way in ways]
        requests = [self._request(i, prompt, way) for i, prompt, way in asked]
        said = generate_texts(adapter, requests, progress)
        return [(*one, text) for one, text in zip(asked, said, strict=True)]

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        ways, how = self.decoding.ways(), adapter.sign_prompts(self.chat)
        samples = [
            self._sample(i, prompt, way, text, len(ways) > 1)
            for i, prompt, way, text in self._write(adapter, progress)
        ]
        scores, uncounted = list[ScoreRow](), Uncounted(samples)
        self._gather(samples)
        for kind in dict.fromkeys(kind for kind, _, _ in ways):
            mine = [sample for sample in samples if sample["decoding"] == kind]
            facts = counts(adapter, mine)
            for scorer in self.scorers:
                name = f"{scorer.full_name}{self._variant(kind)}"
                rows = [sample["statistics"].get(name, []) for sample in mine]
                found = scorer.value(rows)
                for sample, kept in zip(mine, scorer.comparable_rows(rows), strict=True):
                    if name in sample["statistics"]:
                        sample["statistics"][name] = kept
                if found is None:
                    uncounted.note_absent(name)
                else:
                    row = scorer.metric.row(
                        found.value,
                        found.n,
                        str(self.signature.extend(scorer.signature, decoding=kind, **how)),
                        found.low,
                        found.high,
                    )
                    scores.append(
                        {
                            **row,
                            **facts,
                            **uncounted.count(name),
                            "decoding": kind,
                            "variant": f"{scorer.variant}{self._variant(kind)}",
                            "human": self._human(scorer),
                        }
                    )
        uncounted.add_to(scores)
        return Outcome(scores, samples)

    def _request(self, number: int, prompt: Prompt, way: tuple[str, float, int]) -> Request:
        decoding, (_, temperature, again) = self.decoding, way
        seed = self.seed + number + SEEDS_APART * again
        return Request(
            prompt.text,
            max_bytes=decoding.max_bytes,
            temperature=temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            seed=seed,
            chat=self.chat,
        )

    def _sample(
        self, number: int, prompt: Prompt, way: tuple[str, float, int], said: str, several: bool
    ) -> SampleRow:
        kind, _, again = way
        name = (
            f"{number}"
            f" {kind}{f' {again + 1}' if kind == SAMPLED and self.decoding.seeds > 1 else ''}"
            if several
            else str(number)
        )
        numbers = {
            f"{scorer.full_name}{self._variant(kind)}": scorer.measure(said, prompt.human or None)
            for scorer in self.scorers
        }
        return {
            "id": name,
            "bytes": len(said.encode(errors="replace")),
            "input": prompt.text,
            "output": said,
            "reference": prompt.human or None,
            "decoding": kind,
            "statistics": numbers,
        }

    def _gather(self, samples: Sequence[SampleRow]) -> None:
        """The item is the prompt: of several answers to one, the first holds the statistics of all,
        and the others none.
        """
        if self.decoding.seeds == 1:
            return
        scorers = {scorer.full_name: scorer for scorer in self.scorers}
        answers: dict[str, list[SampleRow]] = {}
        for sample in samples:
            if sample["decoding"] == SAMPLED:
                answers.setdefault(sample["id"].partition(" ")[0], []).append(sample)
        for first, *others in answers.values():
            rows = {
                name: [sample["statistics"][name] for sample in (first, *others)]
                for name in first["statistics"]
            }
            first["statistics"] = {
                name: scorers[name].combine(found) for name, found in rows.items()
            }
            for sample in others:
                sample["statistics"] = {}

    def _variant(self, kind: str) -> str:
        """What parts the names of greedy answers' statistics and scores from those of the sampled
        ones beside them.
        """
        return f":{GREEDY}" if kind == GREEDY and len(self.decoding.temperatures) > 1 else ""

    def _human(self, scorer: TextMetric) -> float | None:
        """The metric of what the human wrote after the same prompts; None where that is not known,
        or where human text is the measure itself.
        """
        humans = [prompt.human for prompt in self.prompts if prompt.human]
        known = humans and not scorer.needs_reference and scorer.metric.name not in BESIDE_HELD_OUT
        found = scorer.value([scorer.measure(human, human) for human in humans]) if known else None
        return None if found is None else found.value
