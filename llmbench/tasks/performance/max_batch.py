"""How many answers a model can make side by side within a budget of memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar

from pydantic import Field

from llmbench.adapter import Adapter, Progress, Request
from llmbench.config.model_card import Rows, TextBytes
from llmbench.data.text import Text, passage
from llmbench.errors import ModelError, OutOfMemory, Unsupported
from llmbench.metrics.facts import FACTS
from llmbench.results.outcome import Outcome
from llmbench.results.signature import Signature
from llmbench.tasks.performance.max_batch_search import Fit
from llmbench.tasks.performance.timeline import listen, long_enough, require_local, throughput
from llmbench.tasks.task import Process, Task

MAX_BATCH = FACTS["max_batch"]


class MaxBatch(Task):
    """Equal answers of full length. Each attempt is one call of `attempt`, in a process of its own;
    fitting.py makes them.
    """

    class Settings(Task.Settings):
        """How many answers a model can make side by side within a budget of memory.

        Every attempt runs in a process of its own.
        """

        process: ClassVar[Process] = "attempts"
        text: str = "test"
        prompt_bytes: TextBytes = 256
        answer_bytes: TextBytes = 64
        most: Rows = Field(1024, description="the search ends here; a model that fits says so")

        def check(self, text: Text) -> None:
            long_enough(text, self.prompt_bytes + self.answer_bytes)

    protocol = "max-batch/1"

    settings: Settings

    def __init__(self, text: Text, settings: Settings, seed: int = 0):
        super().__init__(text, settings, seed)
        settings.check(text)
        self.prompt, self.answer = passage(text, seed, settings.prompt_bytes, settings.answer_bytes)

    @property
    def signature(self) -> Signature:
        return Signature.of(
            text=self.text.sha256[:16],
            protocol=self.protocol,
            prompt=self.settings.prompt_bytes,
            answer=self.settings.answer_bytes,
            most=self.settings.most,
            seed=self.seed,
        )

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        raise Unsupported("every attempt needs a process of its own", hint="run it in a suite")

    def attempt(self, adapter: Adapter, batch: int) -> float | None:
        """Make so many answers; give bytes of text a second."""
        require_local(adapter)
        adapter.generation_batch_size = batch
        listen(
            adapter, [Request(self.prompt, forced_text=self.answer[:2])]
        )  # what the first call makes ready is no part of the rate
        lines = listen(adapter, [Request(self.prompt, forced_text=self.answer)] * batch)
        if (
            len(lines) != batch
            or len({line.events[-1].bytes for line in lines if line.events}) != 1
            or not all(line.events for line in lines)
        ):
            raise ModelError(
                "answers to the same request, fed with the same text, are not of the same length"
            )
        found = throughput(lines)
        return None if found is None else found.bytes / found.seconds

    def outcome(self, fit: Fit, budget_words: str) -> Outcome:
        """The score, and an attempt a line; OutOfMemory where not even one answer fits."""
        if not fit.fits:
            least = min((a.peak for a in fit.attempts if a.peak is not None), default=None)
            needs = (
                f"one answer needs {least:,} bytes"
                if least is not None
                else "the memory for one answer was refused"
            )
            raise OutOfMemory(
                f"{needs}, and the budget is {fit.budget:,}", hint="a larger --memory-budget"
            )
        row = MAX_BATCH.row(
            fit.fits, len(fit.attempts), str(self.signature.extend(budget=budget_words))
        )
        samples = [
            {
                "id": f"attempt {i}",
                "bytes": 0,
                "input": None,
                "output": None,
                "reference": None,
                "statistics": {},
                **asdict(a),
            }
            for i, a in enumerate(fit.attempts)
        ]
        row["budget"], row["at_least"] = fit.budget, fit.at_least
        row["spare"], row["useful"] = fit.spare, fit.useful
        row["curve"] = [
            (a.batch, a.peak, a.rate) for a in sorted(fit.attempts, key=lambda a: a.batch)
        ]
        return Outcome([row], samples)
