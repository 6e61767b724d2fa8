"""THE interface. A suite sees text in and numbers out; how a model makes them is the adapter's
affair.

Most people subclass `TokenAdapter` (token_adapter.py), which is smaller. A capability is a method
that is overridden; one that is missing becomes a row "unsupported" on the board, not a crash.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmbench.errors import Unsupported, UsageError
from llmbench.ledger import Ledger
from llmbench.storage import default_cache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmbench.data.text import Text

Progress = Callable[
    [str, float, str], None
]  # what is being done, share done in [0, 1], a short remark


@dataclass(frozen=True)
class ModelInfo:
    """What the board says about a model. Sizes in bytes; None where it does not apply or is not
    known.
    """

    name: str
    family: str
    tokenizer: str
    parameters: int | None
    context: int | None
    dtype: str | None
    device: str
    fingerprint: str
    weights_bytes: int | None = None
    training: Mapping[str, Any] | None = None  # seconds, steps, curve
    origin: Mapping[str, Any] | None = (
        None  # of a checkpoint: id, commit, weights_sha256, trust_remote_code
    )


@dataclass(frozen=True)
class Passage:
    """A text to be charged, after `given`, which is free; with `end`, that it ends there is charged
    too. Without `start`, no start symbol stands before what is given, as other harnesses have it.
    """

    text: str
    context: str = ""
    id: str = ""
    score_eos: bool = False
    add_bos: bool = True


@dataclass(frozen=True)
class Request:
    """A prompt and how to go on. Ends after `max_tokens` or `max_bytes`, whichever is first, or
    before any of `stop`.

    temperature 0 is greedy. `forced_text` feeds these bytes of text instead of sampling. Without
    `start`, no start symbol stands before the prompt.
    """

    prompt: str
    max_tokens: int | None = None
    max_bytes: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    forced_text: str | None = None
    add_bos: bool = True

    def __post_init__(self) -> None:
        if self.max_tokens is None and self.max_bytes is None and self.forced_text is None:
            raise UsageError("a request needs max_tokens or max_bytes")
        if (
            any(limit is not None and limit < 1 for limit in (self.max_tokens, self.max_bytes))
            or self.forced_text == ""
        ):
            raise UsageError("a request must ask for at least one token or byte")
        if self.temperature < 0:
            raise UsageError(f"temperature {self.temperature} is below 0", hint="0 is greedy")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k {self.top_k} is below 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p {self.top_p} is outside (0, 1]")


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer to request number `row`, as it arrives; `finish` is set on the last
    one.
    """

    row: int
    text: str
    tokens: int
    finish: Literal["length", "stop"] | None = None


WindowRule = Literal["rolling", "half"] | int


@dataclass(frozen=True)
class Window:
    """How a text longer than the context is cut: `rolling`, `half`, or a stride in tokens."""

    rule: WindowRule = "half"

    def __post_init__(self) -> None:
        if isinstance(self.rule, int) and self.rule < 1:
            raise UsageError(f"stride {self.rule} is below 1")

    def stride(self, context: int) -> int:
        """Tokens charged by each window after the first, in 1 .. context."""
        if self.rule == "rolling":
            return context
        if self.rule == "half":
            return max(1, context // 2)
        return min(self.rule, context)

    def __str__(self) -> str:
        return f"stride:{self.rule}" if isinstance(self.rule, int) else self.rule


@dataclass(frozen=True)
class BuildContext:
    """What an adapter may use to get ready: the suite's training text, the text of a domain to go
    on with, a seed, a device, a place to keep what it trained.
    """

    train: Text | None = None
    valid: Text | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    cache: Path = field(default_factory=default_cache)
    domain: Text | None = None
    domain_valid: Text | None = None
    offline: bool = False
    progress: Progress = lambda what, share, remark: None


class Adapter(ABC):
    """One model. `score` and `generate` raise Unsupported where a model cannot."""

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Adapter:
        """The model, ready. The default calls the class with the card's `arguments`; override it to
        train on `build_context.train`.
        """
        return cls(**arguments)

    @property
    @abstractmethod
    def info(self) -> ModelInfo:
        """What this model is."""

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        """For each passage, in order, the ledger of chain-rule bits of `text` after `given`, and of
        nothing else.
        """
        raise Unsupported(f"{type(self).__name__} does not score text")

    def pseudo_score(
        self, passages: Sequence[Passage], positions: int | None = None, seed: int = 0
    ) -> Iterator[Ledger]:
        """For each passage, in order, what a model that sees both sides pays for gaps: charges of
        kind pseudo, of all tokens or of a seeded sample of `positions`.
        """
        raise Unsupported(f"{type(self).__name__} does not fill gaps")

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        """Answers, streamed; a chunk that is yielded is on the host."""
        raise Unsupported(f"{type(self).__name__} does not generate text")

    def next_distribution(self, context: str) -> tuple[Sequence[bytes], NDArray[np.float64]]:
        """The symbols that may follow `given` (their bytes) and the probability of each; the symbol
        for all other pieces has no bytes.
        """
        raise Unsupported(f"{type(self).__name__} does not show its next-symbol distribution")

    def close(self) -> None:
        """Free what the model holds."""
        return
