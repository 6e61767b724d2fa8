"""The settings of each task, as a suite's YAML has them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from llmbench.adapter import Window
from llmbench.config.model_card import Positive
from llmbench.config.strict_yaml import NAME, Strict
from llmbench.metrics.registry import BESIDE_HELD_OUT, OF_PAIRS

# shared: the model's worker; fresh: one that does nothing else; probes: one for every attempt;
# parked: one that waits for its turn among all models
Process = Literal["shared", "fresh", "probes", "parked"]
Name = Annotated[str, Field(pattern=NAME)]

Temperature = Annotated[float, Field(ge=0)]


class LikelihoodSpec(Strict):
    """Bits of a text."""

    task: Literal["likelihood"]
    name: Name = "likelihood"
    text: str = "test"
    window: Literal["half", "rolling"] | Positive = "half"
    pseudo_positions: Positive | None = Field(
        None,
        description=(
            "of models that see both sides: a seeded sample of so many tokens; all by default"
        ),
    )


class WikitextLmEvalSpec(Strict):
    """Bits of a detokenised text over the bytes and words of the original, as lm-eval's task
    `wikitext` has them.
    """

    task: Literal["wikitext-lm-eval"]
    name: Name = "wikitext-lm-eval"
    text: str = "test"


class ConditionalSpec(Strict):
    """Bits of targets given their sources: a text of pairs."""

    task: Literal["conditional"]
    name: Name = "conditional"
    text: str = "test"


class ContinuationSpec(Strict):
    """What a model says after prompts: given ones, or ones that are cut from a text."""

    task: Literal["continuation"]
    name: Name = "continuation"
    prompts: list[str] = []
    text: str | None = Field(
        None,
        description=(
            "the text that further prompts are cut from; what it goes on with is the human's answer"
        ),
    )
    count: int = Field(20, ge=1, le=1000, description="prompts that are cut")
    prompt_bytes: Positive = 100
    max_bytes: Positive = 200
    temperature: Temperature | list[Temperature] = Field(
        0.8, description="0 is greedy; [0, 1]: both, each judged by itself"
    )
    seeds: int = Field(
        1, ge=1, le=100, description="answers to each prompt, where they are sampled"
    )
    top_k: Positive | None = None
    top_p: float | None = Field(None, gt=0, le=1)
    metrics: list[str] | None = Field(
        None,
        description=(
            "of prompts that are cut, by default all that need no reference; of given ones none"
        ),
    )

    @property
    def temperatures(self) -> tuple[float, ...]:
        return (
            tuple(self.temperature) if isinstance(self.temperature, list) else (self.temperature,)
        )

    @model_validator(mode="after")
    def _asks_something(self) -> ContinuationSpec:
        if not self.prompts and self.text is None:
            raise ValueError("there are neither `prompts` nor a `text` to cut them from")
        compares = next((name for name in self.metrics or () if name in OF_PAIRS), None)
        if compares and self.prompts:
            raise ValueError(
                f"the metric {compares} compares with a reference, and `prompts` that are given"
                " have none"
            )
        measured = next((name for name in self.metrics or () if name in BESIDE_HELD_OUT), None)
        if measured and self.text is None:
            raise ValueError(
                f"the metric {measured} compares with the text that prompts are cut from, and there"
                " is none"
            )
        above = [t for t in self.temperatures if t > 0]
        if (
            not self.temperatures
            or len(above) > 1
            or len(self.temperatures) > 2
            or len(set(self.temperatures)) < len(self.temperatures)
        ):
            raise ValueError("temperature is a number, or [0, T]: greedy answers and sampled ones")
        return self


class Asked(Strict):
    """How the documents of a text become prompts."""

    text: str = "test"
    template: str = Field(
        "{given}",
        description="the prompt of a model that goes on with a text; {given} is the document's own",
    )
    join: str = Field("", description="between a prompt and its answer")
    between: str = Field("\n\n", description="between two examples")
    shots: int = Field(
        0,
        ge=0,
        description="examples before the question, drawn by the seed, never the one that is asked",
    )
    shots_from: str = Field("train", description="the text that examples come from")

    @model_validator(mode="after")
    def _has_a_place(self) -> Asked:
        if "{given}" not in self.template:
            raise ValueError("the template has no {given}")
        return self


class Written(Asked):
    """How far a model writes, and by which metrics that is judged."""

    stop: list[str] = ["\n"]
    max_bytes: Positive = 300
    metrics: list[str] | None = Field(
        None,
        min_length=1,
        description="instead of the task's own; evaluate:NAME is one of Hugging Face's",
    )


class TranslationSpec(Written):
    """A source in, a target out: BLEU, chrF, TER."""

    task: Literal["translation"]
    name: Name = "translation"


class AnswerSpec(Written):
    """A question in, a short answer out: exact match, F1."""

    task: Literal["answer"]
    name: Name = "answer"
    max_bytes: Positive = 60


class MultipleChoiceSpec(Asked):
    """Questions with candidates: accuracy of the one that needs the fewest bits."""

    task: Literal["multiple-choice"]
    name: Name = "multiple-choice"
    join: str = " "


class LastWordSpec(Strict):
    """Whether a model says the last word of a text, and what it costs."""

    task: Literal["last-word"]
    name: Name = "last-word"
    text: str = "test"


class MemorySpec(Strict):
    """Most memory that a model holds while it is loaded, reads, speaks and scores; in a process of
    its own.
    """

    process: ClassVar[Process] = "fresh"
    task: Literal["memory"]
    name: Name = "memory"
    text: str = "test"
    prompt_bytes: Positive = 1024
    answer_bytes: Positive = 256


class SpeedSpec(Strict):
    """How fast a model reads and writes, in blocks that are interleaved with those of the other
    models.
    """

    process: ClassVar[Process] = "parked"
    task: Literal["speed"]
    name: Name = "speed"
    text: str = "test"
    prompt_bytes: Positive = 256
    answer_bytes: Positive = Field(
        64, description="fed as given text, so that every model writes the same"
    )
    blocks: int = Field(
        16,
        ge=8,
        le=1000,
        description="short ones, and many: what a machine does to one model it then does to all",
    )
    block_seconds: float = Field(
        0.1, gt=0, le=600, description="a block repeats its work until it takes about so long"
    )
    batches: list[Positive] = Field(
        [1], description="answers side by side: the best of these is measured beside 1"
    )
    depths: list[Positive] = Field(
        [], description="bytes of prompts: how the time of a token grows with what stands before it"
    )
    energy_seconds: float | None = Field(
        None, ge=5, description="read the machine's energy counter over so long a time of writing"
    )


class MaxBatchSpec(Strict):
    """How many answers a model can make side by side within a budget of memory; every attempt in a
    process of its own.
    """

    process: ClassVar[Process] = "probes"
    task: Literal["max-batch"]
    name: Name = "max-batch"
    text: str = "test"
    prompt_bytes: Positive = 256
    answer_bytes: Positive = 64
    most: Positive = Field(1024, description="the search ends here; a model that fits says so")


TaskSpec = Annotated[
    LikelihoodSpec
    | WikitextLmEvalSpec
    | ConditionalSpec
    | ContinuationSpec
    | TranslationSpec
    | AnswerSpec
    | MultipleChoiceSpec
    | LastWordSpec
    | MemorySpec
    | SpeedSpec
    | MaxBatchSpec,
    Field(discriminator="task"),
]


def process_of(task: TaskSpec) -> Process:
    """Which process a task needs."""
    found: Process = getattr(task, "process", "shared")
    return found


def asked_about(task: TaskSpec) -> str | None:
    """The role of the text that a task asks about, if it does."""
    return getattr(task, "text", None)


def examples_from(task: TaskSpec) -> str | None:
    """The role of the text that a task takes its examples from, if it does."""
    return task.shots_from if isinstance(task, Asked) and task.shots else None


def window_of(task: LikelihoodSpec) -> Window:
    """The window rule of a likelihood task."""
    return Window(task.window)
