"""How a model's server answers under load: times, throughput and goodput at each level."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from llmbench import limits
from llmbench.adapter import Adapter, Progress, Request
from llmbench.config.model_card import TextBytes
from llmbench.data.text import Text
from llmbench.errors import ModelError, Unsupported, UsageError
from llmbench.inference.serving.load import Level, Load, LoadRun, LoadTarget
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome
from llmbench.results.signature import Signature
from llmbench.tasks.performance.serving import rows
from llmbench.tasks.performance.serving.quantiles import samples_needed
from llmbench.tasks.performance.serving.schedule import HEAD, cut_prompts, draw_due
from llmbench.tasks.performance.serving.summary import LIMITS, Summary, summarise_load
from llmbench.tasks.task import Process, Task

Rate = Annotated[float, Field(gt=0, le=limits.SERVING_RATE)]
Streams = Annotated[int, Field(ge=1, le=limits.SERVER_REQUESTS)]
Limit = Annotated[float, Field(gt=0, le=limits.CELL_SECONDS)]


class Serving(Task):
    """Levels run one after the other, each after a warm-up of its own requests."""

    class Settings(Task.Settings):
        """How a model behind a server answers many requests: closed loops of so many streams, and
        open loops of so many requests a second.
        """

        process: ClassVar[Process] = "own"
        text: str = "test"
        prompt_bytes: TextBytes = Field(512, ge=2 * HEAD)
        max_tokens: int = Field(64, ge=1, le=limits.TEXT_BYTES, description="of each answer")
        requests: int = Field(
            200,
            ge=samples_needed(50),
            le=limits.SERVING_REQUESTS,
            description="of each level: a percentile needs 10 beyond it, so p90 100 and p99 1000",
        )
        warm_up: int = Field(
            8, ge=0, le=limits.SERVER_REQUESTS, description="requests before each level"
        )
        streams: list[Streams] = Field(
            [], max_length=limits.ENTRIES, description="closed loops: answers at once"
        )
        poisson: list[Rate] = Field(
            [], max_length=limits.ENTRIES, description="open loops: requests a second, at random"
        )
        constant: list[Rate] = Field(
            [], max_length=limits.ENTRIES, description="open loops: requests a second, evenly"
        )
        level_seconds: float = Field(
            300.0,
            gt=0,
            le=limits.CELL_SECONDS,
            description="after which a level is ended; what is not answered is an error",
        )
        goodput: dict[str, Limit] = Field(
            {}, description="limits in seconds that a good answer keeps: ttft, tpot, latency"
        )
        ignore_eos: bool = Field(
            False,
            description="ask for answers of full length: not part of the protocol, vLLM knows it",
        )

        @field_validator("goodput")
        @classmethod
        def _know_limits(cls, goodput: dict[str, float]) -> dict[str, float]:
            for name in goodput:
                if name not in LIMITS:
                    raise ValueError(f"unknown limit {name!r} (known: {', '.join(LIMITS)})")
            return goodput

        @model_validator(mode="after")
        def _have_levels(self) -> Self:
            keys = [level.key for level in self.levels()]
            if not keys:
                raise ValueError("name levels with `streams`, `poisson` or `constant`")
            if len(set(keys)) < len(keys):
                raise ValueError("a level stands there twice")
            return self

        def levels(self) -> list[Level]:
            """Return the levels, in the order in which they run."""
            return [
                *(Level("closed", amount) for amount in sorted(self.streams)),
                *(Level("poisson", amount) for amount in sorted(self.poisson)),
                *(Level("constant", amount) for amount in sorted(self.constant)),
            ]

        def check(self, text: Text) -> None:
            if text.bytes < self.prompt_bytes:
                raise UsageError(
                    f"the text {text.name!r} has {text.bytes} bytes, fewer than a prompt of"
                    f" {self.prompt_bytes}",
                    hint="a longer text, or a smaller `prompt_bytes`",
                )

        def estimate_seconds(self) -> float:
            return sum(self.requests / level.amount for level in self.levels() if level.is_open)

    protocol = "serving/1"
    settings: Settings

    @property
    def signature(self) -> Signature:
        asked = self.settings
        kept = ",".join(f"{name}={asked.goodput[name]:g}" for name in sorted(asked.goodput))
        return Signature.of(
            text=self.text.sha256[:16],
            protocol=self.protocol,
            prompt=asked.prompt_bytes,
            tokens=asked.max_tokens,
            requests=asked.requests,
            warm_up=asked.warm_up,
            seed=self.seed,
            limit=self.text.sampled,
            **({"goodput": kept} if kept else {}),
            **({"ignore_eos": "yes"} if asked.ignore_eos else {}),
        )

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        if not isinstance(adapter, LoadTarget):
            raise Unsupported(
                "the model runs in this process, and not behind a server",
                hint="docs/serving.md says how to serve it",
            )
        levels, nonce = self.settings.levels(), os.urandom(8).hex()
        prompts = self._draw_prompts(len(levels), nonce)
        signature = self.signature.extend(**adapter.prompt_parts)
        found, refused, events = list[ScoreRow](), dict[str, str](), list[rows.EventRow]()
        for number, level in enumerate(levels):
            share = (number / len(levels), 1 / len(levels))
            due = draw_due(level, self.settings.requests, self.seed)
            warm, asked = next(prompts), next(prompts)
            if warm:
                self._load(adapter, warm, None, level, progress, share)
            before, _ = adapter.read_energy()
            run = self._load(adapter, asked, due, level, progress, share)
            after, counter = adapter.read_energy()
            joules = None if before is None or after is None else (after - before, counter)
            summary = summarise_load(
                level, run, due, self.settings.max_tokens, self.settings.goodput
            )
            events += rows.list_events(number, level, run)
            if why := find_refusal(summary):
                refused[level.key] = why
                continue
            found += rows.list_scores(
                summary, run.cost, self.settings.goodput, nonce, signature, joules
            )
        if not found:
            raise ModelError("; ".join(f"{key}: {why}" for key, why in refused.items()))
        if refused:
            found[0]["absent"] = refused
        return Outcome([*found, *self._list_costs(adapter, str(signature))], [], events=events)

    def _draw_prompts(self, levels: int, nonce: str) -> Iterator[Sequence[Request]]:
        """The requests of each warm-up and each level in turn; no prompt begins like another."""
        asked = self.settings
        each = asked.warm_up + asked.requests
        cut = cut_prompts(self.text, asked.prompt_bytes, levels * each, self.seed, nonce)
        made = [Request(prompt, max_tokens=asked.max_tokens, temperature=0.0) for prompt in cut]
        for begin in range(0, len(made), each):
            yield made[begin : begin + asked.warm_up]
            yield made[begin + asked.warm_up : begin + each]

    def _load(
        self,
        target: LoadTarget,
        requests: Sequence[Request],
        due: Sequence[float] | None,
        level: Level,
        progress: Progress,
        share: tuple[float, float],
    ) -> LoadRun:
        what = f"serving, {level.title}"
        extra = {"ignore_eos": True} if self.settings.ignore_eos else {}
        streams = 1 if level.is_open else round(level.amount)  # of an open level's warm-up
        load = Load(requests, due, streams, self.settings.level_seconds, extra)

        def say(ended: int) -> None:
            if ended % max(1, len(requests) // 20) == 0:
                done = share[0] + share[1] * ended / max(1, len(requests))
                progress(what, min(0.99, done), f"{ended} of {len(requests)} answers")

        return target.run_load(load, say)

    def _list_costs(self, target: LoadTarget, signature: str) -> list[ScoreRow]:
        """Peak memory of a server that llmbench started."""
        found = target.measure_server()
        return [
            {**FACTS[name].row(value, 1, signature), "source": found.source}
            for name, value in (("serving_peak_ram", found.ram), ("serving_peak_gpu", found.gpu))
            if value is not None
        ]


def find_refusal(summary: Summary) -> str:
    """Return why a load is no measurement; "" if it is one."""
    if not summary.answered:
        errors = summary.errors or {"nothing was sent": 0}
        return f"no request was answered: {next(iter(errors))}"
    if "serving_ttft" not in summary.times:
        return f"too few answers: {summary.absent['serving_ttft']}" + (
            f" (errors: {', '.join(summary.errors)})" if summary.errors else ""
        )
    return summary.punctuality.refusal
