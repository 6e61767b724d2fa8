"""How much memory a model holds, in a process of its own: peaks of loading, of reading a prompt, of
speaking and of scoring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Self

from llmbench.adapter import Adapter, Passage, Progress, Request, Window
from llmbench.config.model_card import TextBytes
from llmbench.data.text import Text, passage
from llmbench.errors import Unsupported, UsageError
from llmbench.hardware.memory import Meter
from llmbench.inference.text.answer import stream_answers
from llmbench.metrics.facts import METRICS
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome
from llmbench.results.signature import Signature
from llmbench.tasks.performance.timeline import require_local
from llmbench.tasks.task import Process, Task

GPU = {
    "peak_gpu_allocated": "allocated",
    "peak_gpu_reserved": "reserved",
    "peak_gpu_process": "process",
    "gpu_idle": "idle",
}


class Memory(Task):
    """Feeds the same bytes to every model, so that no end symbol shortens an answer."""

    class Settings(Task.Settings):
        """Peak memory of a model while it loads, prefills, decodes and scores.

        It runs in a process of its own.
        """

        process: ClassVar[Process] = "own"
        is_untimed: ClassVar[bool] = True
        text: str = "test"
        prompt_bytes: TextBytes = 1024
        answer_bytes: TextBytes = 256

        def check(self, text: Text) -> None:
            if not passage(text, None, self.prompt_bytes, self.answer_bytes)[1]:
                raise UsageError(
                    f"the text {text.name!r} has {text.bytes} bytes, and nothing is left to write"
                    f" after a prompt of {self.prompt_bytes}",
                    hint="a longer text, or a smaller `prompt_bytes`",
                )

    protocol = "memory/1"

    def __init__(self, text: Text, prompt_bytes: int, answer_bytes: int):
        self.text, self.prompt_bytes, self.answer_bytes = text, prompt_bytes, answer_bytes

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        return cls(texts[settings.text], settings.prompt_bytes, settings.answer_bytes)

    @property
    def signature(self) -> Signature:
        return Signature.of(
            text=self.text.sha256[:16],
            protocol=self.protocol,
            prompt=self.prompt_bytes,
            answer=self.answer_bytes,
            batch=1,
        )

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        require_local(adapter)
        meter = (
            self.meter or Meter()
        )  # a process that measured its own beginning hands its meter on
        prompt, answer = self.passages()
        skipped: list[str] = []
        works: dict[str, Callable[[], object]] = {
            "prefill": lambda: _speak(adapter, Request(prompt, max_tokens=1)),
            "decode": lambda: _speak(adapter, Request(prompt[:1], forced_text=answer)),
            "scoring": lambda: list(adapter.score([Passage(prompt + answer)], Window("half"))),
        }
        for number, (name, work) in enumerate(works.items()):
            progress("measuring memory", number / 3, name)
            try:
                with meter.phase(name):
                    work()
            except Unsupported as error:
                meter.phases.pop()
                skipped.append(f"{name}: {error}")
        if len(skipped) == 3:
            raise Unsupported(skipped[0])
        samples = [
            {
                "id": row["name"],
                "bytes": 0,
                "input": None,
                "output": None,
                "reference": None,
                "statistics": {},
                **row,
            }
            for row in meter.rows()
        ]
        return Outcome(self._scores(meter), samples)

    def passages(self) -> tuple[str, str]:
        """The prompt and what follows it in the text, from the beginning of its documents, each of
        so many bytes or as many as there are.
        """
        prompt, answer = passage(self.text, None, self.prompt_bytes, self.answer_bytes)
        return prompt, answer

    def _scores(self, meter: Meter) -> list[ScoreRow]:
        found: dict[str, int | None] = {"peak_ram": meter.peak}
        if meter.idle is not None and meter.peak is not None:
            found["peak_ram_over_idle"] = max(0, meter.peak - meter.idle)
        for name, key in GPU.items():
            seen = [phase.gpu[key] for phase in meter.phases if key in phase.gpu]
            found[name] = max(seen) if seen else None
        values = [(metric, found[metric.name]) for metric in METRICS if metric.name in found]
        rows: list[ScoreRow] = []
        for metric, value in values:
            if value is not None:
                row = metric.row(value, len(meter.phases), str(self.signature))
                rows.append({**row, "source": meter.source.name})
        return rows


def _speak(adapter: Adapter, request: Request) -> None:
    for _ in stream_answers(adapter, [request]):
        pass
