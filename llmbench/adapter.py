"""What a model implements: text in, numbers out.

Most people subclass `TokenAdapter` (adapters/token.py), which asks for less. What a model can do is
said by the methods that it overrides; a method that is missing gives "unsupported" on the board.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from llmbench.config.fingerprints import sign_class
from llmbench.errors import Unavailable, Unsupported, UsageError, check_utf8
from llmbench.ledger import Ledger
from llmbench.storage import default_cache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmbench.data.text import Text
    from llmbench.inference.token_model import TokenModel

# what is being done, share done in [0, 1], a short remark
Progress = Callable[[str, float, str], None]
GENERATION_BATCH = 64  # requests answered in one batch, unless an adapter says otherwise


@dataclass(frozen=True)
class ModelInfo:
    """What the board says about a model. Sizes in bytes; None if unknown or not applicable."""

    name: str
    family: str
    tokenizer: str
    parameters: int | None
    context: int | None
    dtype: str | None
    device: str
    fingerprint: str
    weights_bytes: int | None = None
    # how weights are rounded and by what, as in "int8 (torchao, weight-only)"; dtype is of the rest
    quantization: str | None = None
    # by what its step of generation is compiled; scoring is not
    compiled: str | None = None
    training: Mapping[str, Any] | None = None  # seconds, steps, curve
    # of a checkpoint: id, commit, weights_sha256, trust_remote_code
    origin: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Passage:
    """A text to score.

    `context` is conditioned on but not scored. With `score_eos` the end of the text is scored too.
    Without `add_bos` no start symbols are put before the context, as in some other harnesses. With
    `chat` the context is a user's message: see Request. A context that is `rendered` was written by
    the model's chat template: its markers of turns are tokens.
    """

    text: str
    context: str = ""
    id: str = ""
    score_eos: bool = False
    add_bos: bool = True
    chat: str | None = None
    rendered: bool = False


@dataclass(frozen=True)
class Request:
    """A prompt and how to continue it.

    Generation ends after `max_tokens` or `max_bytes`, whichever comes first, or before any of
    `stop`. Temperature 0 is greedy. `forced_text` is fed instead of sampled tokens (teacher
    forcing). Without `add_bos` no start symbols precede the prompt, of which the last
    `prompt_tokens` are read (behind a server all). With `chat` the prompt is a user's message,
    after this system message ("": none), in the model's own chat template. `rendered`: see Passage.
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
    chat: str | None = None
    prompt_tokens: int | None = None
    rendered: bool = False

    def __post_init__(self) -> None:
        for what, text in (
            ("the prompt", self.prompt),
            ("the forced text", self.forced_text or ""),
            ("the system message", self.chat or ""),
            *(("a stop text", stop) for stop in self.stop),
        ):
            check_utf8(text, what)
        if self.max_tokens is None and self.max_bytes is None and self.forced_text is None:
            raise UsageError("a request needs max_tokens or max_bytes")
        limits = (self.max_tokens, self.max_bytes, self.prompt_tokens)
        if any(n is not None and n < 1 for n in limits) or self.forced_text == "":
            raise UsageError("a request must ask for at least one token or byte")
        if not all(self.stop):
            raise UsageError(
                "a stop text is empty, and would end every answer before it begins",
                hint="leave it out, or name the text to stop before",
            )
        if self.temperature < 0:
            raise UsageError(f"temperature {self.temperature} is below 0", hint="0 is greedy")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k {self.top_k} is below 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top_p {self.top_p} is outside (0, 1]")


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer to request number `row`. `tokens` are those so far. The last piece has
    `finish`, and the `prompt_tokens` that a server says it read."""

    row: int
    text: str
    tokens: int
    finish: Literal["length", "stop"] | None = None
    prompt_tokens: int | None = None


WindowRule = Literal["rolling", "half"] | int
Splitter = Literal["characters", "words", "bpe"]


@dataclass(frozen=True)
class Window:
    """How a text longer than the context is split: `rolling`, `half`, or a stride in tokens."""

    rule: WindowRule = "half"

    def __post_init__(self) -> None:
        if isinstance(self.rule, int) and self.rule < 1:
            raise UsageError(
                f"the window's stride {self.rule} is below 1",
                hint="half, rolling, or a stride of 1 token or more",
            )

    def stride(self, context: int) -> int:
        """Number of tokens that each window after the first scores, in 1 .. context."""
        if self.rule == "rolling":
            return context
        if self.rule == "half":
            return max(1, context // 2)
        return min(self.rule, context)

    def __str__(self) -> str:
        return f"stride:{self.rule}" if isinstance(self.rule, int) else self.rule


KeptSeal = tuple[int, str]  # the size of a file's beginning in bytes, and its sha256


@dataclass(frozen=True)
class BuildContext:
    """What an adapter's `build` may use: texts, a seed, a device, a folder for what it trains.

    `train`, `valid`: the suite's texts to learn from; `domain`, `domain_valid`: those to fine-tune
    on. `kept_answers`: where a model behind a server keeps its answers, so that a resumed run asks
    for none of them again; `kept_seal`: how much of that file is believed, None for all of it;
    `tell_kept`: given the next seal before an answer is written. `missing`: for each text of the
    suite that is not on this machine, the reason and a hint. `retrain_since`: seconds since 1970;
    what was trained before is trained anew. `on_loss`: told each step of training and its loss.
    """

    train: Text | None = None
    valid: Text | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    cache: Path = field(default_factory=default_cache)
    kept_answers: Path | None = None
    kept_seal: KeptSeal | None = None
    tell_kept: Callable[[KeptSeal], None] = lambda seal: None
    domain: Text | None = None
    domain_valid: Text | None = None
    offline: bool = False
    progress: Progress = lambda what, share, remark: None
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    retrain_since: float | None = None
    on_loss: Callable[[int, float], None] | None = None

    def require_text(self, name: str) -> Text:
        """Return the text `train`, `valid`, `domain` or `domain_valid`.

        Raises Unavailable, with the reason, if the suite has this text but not on this machine, and
        UsageError if there is none.
        """
        text = self.find_text(name)
        if text is None:
            words = {"train": "training text", "valid": "validation text"}
            raise UsageError(
                f"this model needs a {words.get(name, f'text `{name}`')}",
                hint=f"give one with --data {name}=PATH",
            )
        return text

    def find_text(self, name: str) -> Text | None:
        """Return the same text, or None if there is none. Raises Unavailable as `require_text`."""
        if name in self.missing:
            reason, hint = self.missing[name]
            raise Unavailable(reason, hint=hint)
        texts = {
            "train": self.train,
            "valid": self.valid,
            "domain": self.domain,
            "domain_valid": self.domain_valid,
        }
        return texts[name]


@dataclass(frozen=True)
class AdapterFacts:
    """The class attributes of an adapter that a run is planned by, before the class is imported."""

    needs_torch: bool = True
    learns_from_text: bool | None = None
    required_parts: tuple[str, ...] = ()
    default_splitter: Splitter = "characters"

    @classmethod
    def of(cls, adapter: type[Adapter]) -> AdapterFacts:
        """Read the attributes of a class."""
        kind, parts = (adapter.needs_torch, adapter.learns_from_text), tuple(adapter.required_parts)
        return cls(*kind, parts, adapter.default_splitter)


class Adapter(ABC):
    """One model. A method that the model does not support raises Unsupported.

    Class attributes:
        needs_torch: whether torch computes its numbers, on the device of the run. If not, it runs
            on the CPU.
        learns_from_text: True if `build` always learns from the suite's text `train`; False if the
            model has learnt from no text at all; None if it brings its own training.
        required_parts: what its card must have: `network`, `recipe`, `checkpoint`.
        default_splitter: how the vocabulary of a card's network is made if the card does not say.
        network_class: what a card's network must be a subclass of.
        reads_source: whether a prompt is a source that it reads whole before it writes (an
            encoder-decoder), not a text that it continues.
        adds_bos: whether its own tokenizer puts the start symbols before a text.
        generation_batch_size: the most requests that `generate` answers in one batch; a task may
            set it.
        is_remote: whether another process computes its numbers, so that the time and the memory of
            this one say nothing about it.
        prompt_parts: parts of the signature of what it writes, if it does not read prompts as a
            model in this process does: through a chat template, for example.
    """

    needs_torch: ClassVar[bool] = True
    learns_from_text: ClassVar[bool | None] = None
    required_parts: ClassVar[tuple[str, ...]] = ()
    default_splitter: ClassVar[Splitter] = "characters"
    network_class: ClassVar[type] = object
    reads_source: ClassVar[bool] = False
    is_remote: ClassVar[bool] = False
    adds_bos: bool = True
    prompt_parts: Mapping[str, str] = MappingProxyType({})
    generation_batch_size: int = GENERATION_BATCH

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the code of a class that inherits `info` part of its fingerprint."""
        super().__init_subclass__(**kwargs)
        if "info" not in vars(cls) and not cls.__module__.startswith("llmbench."):

            def info(self: Adapter) -> ModelInfo:
                found: ModelInfo = super(cls, self).info  # type: ignore[misc]
                return replace(found, fingerprint=sign_class(found.fingerprint, cls))

            cls.info = property(info)  # type: ignore[assignment]

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Adapter:
        """Make the model. The default calls the class with the card's `arguments`.

        Override it to train: on `build_context.require_text("train")`.
        """
        return cls(**arguments)

    def to(self, device: str, dtype: str = "float32") -> Self:
        """Move the model to a device and a number format; the default has nothing to move."""
        return self

    @property
    @abstractmethod
    def info(self) -> ModelInfo:
        """What this model is."""

    @property
    def can_score(self) -> bool:
        """Whether it predicts text from the left: `score` is overridden."""
        return type(self).score is not Adapter.score

    @property
    def can_generate(self) -> bool:
        """Whether `generate` is overridden."""
        return type(self).generate is not Adapter.generate

    @property
    def is_masked(self) -> bool:
        """Whether it only fills gaps, seeing both sides of them: pseudo-bits instead of bits."""
        return type(self).pseudo_score is not Adapter.pseudo_score and not self.can_score

    @property
    def token_model(self) -> TokenModel | None:
        """What runs its forward passes one by one, for measuring them; None if they are hidden."""
        return None

    def measure_prompt(self, prompt: str) -> tuple[int, int | None]:
        """Return the (bytes, tokens) of `prompt` that the model reads; tokens None if unknown."""
        return len(prompt.encode()), None

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        """Yield for each passage, in order, the bits of `text` after `context`: the chain rule."""
        raise Unsupported(f"{type(self).__name__} does not score text")

    def find_loss(self, passage: Passage) -> str:
        """Return what the model's tokenizer loses of a passage; "" if it holds all of it.

        Only asked where a task leaves out such documents. The default loses nothing: a model that
        then raises Unsupported in `score` is refused for the whole text.
        """
        return ""

    def find_prompt_loss(self, prompt: str) -> str:
        """Return what the model does not read of a prompt or source as it stands; "" if nothing.

        Such prompts are read as the tokenizer reads them, and counted on the board.
        """
        return self.find_loss(Passage(prompt))

    def describe_chat(self) -> str:
        """Return what tells its chat template from others, as a digest does.

        Raises Unsupported if it has none; then it is asked for no `chat`.
        """
        raise Unsupported(
            f"{type(self).__name__} has no chat template", hint="ask it without `chat`"
        )

    def sign_prompts(self, chat: str | None) -> dict[str, str]:
        """Return the parts of a signature that say how it reads prompts, with this `chat`.

        Raises Unsupported as `describe_chat`.
        """
        if chat is None:
            return dict(self.prompt_parts)
        system = {"system": repr(chat)} if chat else {}
        how = {"prompt": "chat", "chat_template": self.describe_chat()}
        return {**self.prompt_parts, **how, **system}

    def pseudo_score(
        self, passages: Sequence[Passage], positions: int | None = None, seed: int = 0
    ) -> Iterator[Ledger]:
        """Yield for each passage, in order, the pseudo-bits of masked tokens.

        Of all tokens, or of a sample of `positions` of them drawn by `seed`.
        """
        raise Unsupported(f"{type(self).__name__} does not fill gaps")

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        """Stream the answers to these requests; a chunk that is yielded is on the host."""
        raise Unsupported(f"{type(self).__name__} does not generate text")

    def compile_ahead(self, rows: int) -> float | None:
        """Compile what writing so many answers side by side needs, before anything is timed.

        Returns the seconds of all compiling so far, or None if nothing is compiled.
        """
        return None

    def next_distribution(self, context: str) -> tuple[Sequence[bytes], NDArray[np.float64]]:
        """Return the bytes of each symbol that may follow `context`, and its probability.

        A symbol that stands for all pieces outside the vocabulary has no bytes.
        """
        raise Unsupported(f"{type(self).__name__} does not give a next-symbol distribution")

    def forget_answers(self) -> None:
        """Compute from now on whatever is asked, also what was answered before: for checks."""
        return

    def close(self) -> None:
        """Free what the model holds."""
        return
