"""How many answers a model can make side by side within a budget of memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from llmbench.adapter import Adapter, Progress, Request
from llmbench.data.text import Text, passage
from llmbench.errors import ModelError, OutOfMemory, Unsupported
from llmbench.metrics.facts import FACTS
from llmbench.results.outcome import Outcome
from llmbench.results.signature import Signature
from llmbench.tasks.performance.max_batch_search import Fit
from llmbench.tasks.performance.timeline import listen, long_enough, throughput
from llmbench.tasks.task import Task

MAX_BATCH = FACTS["max_batch"]


class MaxBatch(Task):
    """Equal answers of full length. Each attempt is one call of `attempt`, in a process of its own;
    fitting.py makes them.
    """

    protocol = "max-batch/1"

    def __init__(self, text: Text, spec: Any, seed: int = 0):
        self.text, self.spec, self.seed = text, spec, seed
        long_enough(text, spec.prompt_bytes + spec.answer_bytes)
        self.prompt, self.answer = passage(text, seed, spec.prompt_bytes, spec.answer_bytes)

    @classmethod
    def from_spec(
        cls, spec: Any, texts: Mapping[str, Text], options: Mapping[str, Any]
    ) -> MaxBatch:
        return cls(texts[spec.text], spec, int(options.get("seed", 0)))

    @property
    def signature(self) -> Signature:
        return Signature.of(
            text=self.text.sha256[:16],
            protocol=self.protocol,
            prompt=self.spec.prompt_bytes,
            answer=self.spec.answer_bytes,
            most=self.spec.most,
            seed=self.seed,
        )

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        raise Unsupported("every attempt needs a process of its own", hint="run it in a suite")

    def attempt(self, adapter: Adapter, batch: int) -> float | None:
        """Make so many answers; give bytes of text a second."""
        if hasattr(adapter, "side_by_side"):
            adapter.side_by_side = batch
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
        facts = {
            "budget": fit.budget,
            "at_least": fit.at_least,
            "spare": fit.spare,
            "useful": fit.useful,
        }
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
        return Outcome(
            [
                {
                    **row,
                    **facts,
                    "curve": [
                        [a.batch, a.peak, a.rate]
                        for a in sorted(fit.attempts, key=lambda a: a.batch)
                    ],
                }
            ],
            samples,
        )
