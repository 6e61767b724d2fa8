"""What a model says after fixed prompts: kept and shown side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmbench.adapter import Adapter, Progress, Request
from llmbench.data import Text
from llmbench.tasks import Outcome, Task


class Continuation(Task):
    """Every model gets the same prompts, the same number of bytes, the same seeds."""

    protocol = "continuation/1"

    def __init__(self, requests: Sequence[Request]):
        self.requests = requests

    @classmethod
    def from_spec(cls, spec: Any, texts: Mapping[str, Text], options: Mapping[str, Any]) -> Continuation:
        seed = int(options.get("seed", 0))
        settings = {"max_bytes": spec.max_bytes, "temperature": spec.temperature, "top_k": spec.top_k, "top_p": spec.top_p}
        return cls([Request(prompt, seed=seed + i, **settings) for i, prompt in enumerate(spec.prompts)])

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        said = [""] * len(self.requests)
        done = 0
        for chunk in adapter.generate(self.requests):
            said[chunk.row] += chunk.text
            done += chunk.finish is not None
            progress("generating", done / len(self.requests), f"{done} of {len(self.requests)} prompts")
        samples: list[dict[str, Any]] = [
            {"id": str(i), "bytes": len(text.encode()), "input": request.prompt, "output": text, "reference": None, "statistics": {}}
            for i, (request, text) in enumerate(zip(self.requests, said, strict=True))
        ]
        return Outcome([], samples)
