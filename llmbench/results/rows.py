"""The base of a record's parts: numbers as JSON has them, and rows that keep unknown keys; and
the rows inside a score and those that reviewed records alone have.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictFloat,
    StrictInt,
    WithJsonSchema,
    model_serializer,
)

from llmbench.metrics.metric import Format, Test


def _number(value: Any) -> Any:
    """Infinite bits are the string "inf" in JSON. Less than nothing is never infinite, and what no
    float can hold is no measurement.
    """
    if value == "inf":
        return math.inf
    if isinstance(value, int | float) and (
        value == -math.inf or (isinstance(value, int) and value.bit_length() > 1000)
    ):
        raise ValueError("beyond all that can be measured")
    return value


Number = Annotated[
    StrictFloat | StrictInt,
    BeforeValidator(_number),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"const": "inf"}]}),
]


class Row(BaseModel):
    """A part of the record. Keys that only a newer llmbench knows are kept aside and written back;
    no code reads them.
    """

    model_config = ConfigDict(extra="allow")


class SparseRow(Row):
    """A part of the record that is written without the fields it was not given, except ALWAYS."""

    ALWAYS: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_absent(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        absent = type(self).model_fields.keys() - self.model_fields_set - self.ALWAYS
        return {key: value for key, value in write(self).items() if key not in absent}


class Definition(SparseRow):
    """The facts of a metric that llmbench does not know: its board needs none of its code."""

    label: str
    help: str = ""
    bounds: tuple[Number | None, Number | None] = (None, None)
    format: Format = "number"
    test: Test = ""
    tie: Number = 0.0
    ranked: bool = False  # whether models are ranked by it


class SpeedFacts(SparseRow):
    """What is known about a speed measurement besides its rates."""

    cold: dict[str, Number | None] = Field(default_factory=dict)  # seconds of the first answer
    repeats: int | None = None  # of the work, in a block
    scan: list[tuple[int, Number]] = Field(default_factory=list)  # batch, bytes/s
    refused: dict[str, str] = Field(default_factory=dict)  # batch -> why it could not run
    warm_up_seconds: Number | None = None
    compile_seconds: Number | None = None  # of which the warm-up has none
    cache: str | None = None  # what the model keeps between two tokens
    parts: dict[str, Number] = Field(default_factory=dict)  # seconds of the steps of a token


class LoadFacts(SparseRow):
    """What is known about a load on a server, and what came of it, besides the score."""

    ALWAYS: ClassVar[frozenset[str]] = frozenset({"arrivals", "amount"})
    arrivals: Literal["closed", "poisson", "constant"]
    amount: Number  # streams at once if closed, else requests a second
    ends: dict[str, tuple[Number, Number]] = Field(default_factory=dict)  # of percentiles
    requests: int = 0  # that were sent
    answered: int = 0
    errors: dict[str, int] = Field(default_factory=dict)  # what was wrong -> requests
    limits: dict[str, Number] = Field(default_factory=dict)  # of goodput, in seconds
    attained: Number | None = None  # share of the requests that kept to them
    seconds: Number = 0.0
    short: int = 0  # answers that ended before the tokens that were asked for
    several: int = 0  # answers whose messages are not single tokens
    doubt: str = ""  # what is wrong with the server's counts of tokens
    is_overloaded: bool = False  # requests came faster than answers
    late: int = 0  # requests that were sent late
    worst: Number = 0.0  # seconds by which the latest was
    client: dict[str, Number] = Field(default_factory=dict)  # what the client took itself
    nonce: str = ""  # what the beginnings of the prompts depend on
    absent: dict[str, str] = Field(default_factory=dict)  # metric, or level -> why it is not there


class Majority(Row):
    """Always giving the most common right answer, `answer`, beside a model on the same items.

    value: the share that this would answer rightly. p: of the model's difference from it, two-sided
    and exact (McNemar).
    """

    answer: str
    value: Number
    p: Number


class Near(Row):
    """Questions whose two best candidates are nearly equal, or equal, by the measure that decides,
    so that another program, which rounds otherwise, may choose otherwise: how many, and the first
    of their ids.
    """

    count: int
    ids: list[str]


class Items(Row):
    """Statistics of the items of a task, for all models that were asked the same ones: model ->
    metric -> a row for each of `ids`. `sessions`: of blocks, in which session of measuring each was
    taken.
    """

    ids: list[str]
    sessions: list[str] | None = None
    models: dict[str, dict[str, list[list[Number]]]]


class Review(Row):
    """What makes a record a reviewed one: when it was promoted, from which commit, and the digest
    of all the rest of the file.
    """

    promoted: str
    commit: str | None = None
    sha256: str


class Training(SparseRow):
    """How a network was trained."""

    ALWAYS = frozenset({"seconds"})
    seconds: Number | None = None
    steps: int | None = None
    best_step: int | None = None
    curve: Any = None  # rows of [step, bits per byte]; renderers skip other rows
    began_with: str | None = None  # the model that fine-tuning started from
    shipped: str | None = None  # of weights that came with llmbench: when and where it was


class SuiteRow(Row):
    name: str
    version: int
    sha256: str
    gate: dict[str, Number | str] = Field(
        default_factory=dict, description="metric -> the loss that `llmbench gate` allows"
    )


class Against(SparseRow):
    """A model beside the one that it was made from, on the same `n` items: the difference in the
    metric's unit, of rates the logarithm of their ratio, with its 95 % interval.
    """

    ALWAYS: ClassVar[frozenset[str]] = frozenset({"parent", "difference", "n"})
    parent: str
    difference: Number
    low: Number | None = None
    high: Number | None = None
    n: int


class LeftOut(Row):
    """Documents of a task's text that tokenizers cannot hold, left out of the scores of `models`.

    documents: id -> model -> what its tokenizer loses of it, with `bytes` together. all_documents,
    all_bytes: those of the text, these included.
    """

    documents: dict[str, dict[str, str]]
    bytes: int
    all_documents: int
    all_bytes: int
    models: list[str]

    def describe(self) -> str:
        """Return in words how many there are, and for how many each model is the cause."""
        causes = Counter(name for models in self.documents.values() for name in models)
        named = ", ".join(f"{name} ({count:,})" for name, count in causes.items())
        share = 100 * self.bytes / max(1, self.all_bytes)
        count = len(self.documents)
        return (
            f"{count:,} of {self.all_documents:,} documents ({share:.1f} % of the bytes)"
            f" {'is' if count == 1 else 'are'} left out for all models: lossy for {named}"
        )


class RunState(Row):
    """How far a run came. `end`: interrupted, by a person or the system; unfinished: at work, or
    killed, when this was written.

    not_reached: model -> tasks that were asked for and not tried. not_asked: models of the suite
    that `--only` left out.
    """

    end: Literal["done", "interrupted", "unfinished"] = "done"
    not_reached: dict[str, list[str]] = Field(default_factory=dict)
    not_asked: list[str] = Field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was asked for is missing, although a person may have stopped the run
        after its last cell. One that was killed lacks what is computed last of all.
        """
        return not self.not_reached and self.end != "unfinished"


class Proof(Row):
    """One level of a certificate: why it is not earned, what was tried, and how long that took."""

    state: Literal["earned", "refused", "not tested"]
    why: str = ""
    tried: list[str] = Field(default_factory=list)
    seconds: Number = 0.0


class Certificate(Row):
    """What an adapter was proven to be: A1 consistent, A2 normalised and causal, A3 decodable. See
    conformance.py.
    """

    version: str  # of the checks
    fingerprint: str
    levels: dict[str, Proof] = Field(default_factory=dict)
    noise: float = 0.0  # bits a byte between equal questions, of an engine that rounds activations

    @property
    def is_refused(self) -> bool:
        """Whether a level is refused, so that the model's numbers cannot be trusted."""
        return any(proof.state == "refused" for proof in self.levels.values())
