"""A clock that a test moves, and an adapter that moves it by what each answer costs."""

from __future__ import annotations

from llmbench.adapter import Adapter, Chunk, ModelInfo
from llmbench.data.text import Document, Text

MS = 1_000_000  # ns
TEXT = Text(
    "test",
    tuple(
        Document(str(i), f"Document {i}: " + "the tap dripped and the kettle counted. " * 12)
        for i in range(4)
    ),
)


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


class Typist(Adapter):
    """Each symbol is a byte. A call costs `call` ms, the prompt `prompt` ms a byte, a step `step`
    ms, however many rows it has; `rows` ms more for each row beyond the first. The clock is moved
    by nothing else.
    """

    def __init__(self, clock, call=0, prompt=0.0, step=10.0, rows=0.0):
        self.clock, self.call, self.prompt, self.step, self.rows = clock, call, prompt, step, rows
        self.calls = 0

    @property
    def info(self):
        return ModelInfo("typist", "", "bytes", None, None, None, "cpu", "f")

    def generate(self, requests):
        self.calls += 1
        self.clock.now += round(
            (self.call + self.prompt * len(requests[0].prompt.encode()) * len(requests)) * MS
        )
        for at in range(len(requests[0].forced_text)):
            self.clock.now += round((self.step + self.rows * (len(requests) - 1)) * MS)
            for row, request in enumerate(requests):
                yield Chunk(
                    row,
                    request.forced_text[at],
                    at + 1,
                    "length" if at + 1 == len(request.forced_text) else None,
                )
