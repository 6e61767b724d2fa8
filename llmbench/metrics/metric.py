"""What a metric is: its name, unit and direction, how it is printed, and how two models are
compared by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict, get_args

from llmbench.errors import ModelError

Better = Literal["lower", "higher"] | None
Group = Literal["likelihood", "answers", "generation", "speed", "memory", "serving"]
# bits: bits of an item / its size; share: right or wrong; mean: a mean over items; ratio: a ratio
# of sums whose denominators differ between models; corpus: a formula over column sums; rate: blocks
# of measuring; items: a corpus formula from outside, compared by its values for single items;
# tasks: a mean over tasks; "": no paired test
Test = Literal["bits", "share", "mean", "ratio", "corpus", "rate", "items", "tasks", ""]
Format = Literal[
    "bits",  # 2.1807 ± 0.0587, or 0.0120 [0.0000, 0.0900]
    "percent",  # 12.0 % [10.1, 14.2]
    "points",  # 23.4 [21.0, 25.9]
    "number",  # 0.123 [0.101, 0.150]
    "scaled",  # 35.5 k
    "rate",  # 2.45 k ± 7 %, or 2.45 k [980, 2.60 k]
    "milliseconds",  # 3.52
    "mebibytes",  # 1,261
    "bytes",  # 151.2
    "count",  # at least 64
]
NEVER, ALWAYS = 0, 100  # of Variant.priority
ANY, POSITIVE = (-math.inf, math.inf), (0.0, math.inf)
UNIT_INTERVAL, PERCENTAGE = (0.0, 1.0), (0.0, 100.0)


class DefinitionRow(TypedDict):
    """The facts of a metric that llmbench does not know, as a record keeps them."""

    label: str
    help: str
    bounds: list[float | None]
    format: Format
    test: Test
    tie: float
    ranked: NotRequired[bool]


class MajorityRow(TypedDict):
    """Always giving one answer, beside a model; `results.rows.Majority` says what each key is."""

    answer: str
    value: float
    p: float


class NearRow(TypedDict):
    """Questions that another program may answer otherwise; `results.rows.Near` says what each key
    is.
    """

    count: int
    ids: list[str]


class ScoreRow(TypedDict):
    """A score of the record without model and task. `results.record.Score` says what each key is;
    those after `signature` are of some tasks only.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    unit: str
    better: Better
    n: int
    signature: str
    definition: NotRequired[DefinitionRow]
    charged: NotRequired[str]
    lossy: NotRequired[str]
    left_out: NotRequired[int]
    straddled: NotRequired[int]
    blind: NotRequired[int]
    empty: NotRequired[int]
    broken: NotRequired[int]
    prompts: NotRequired[int]
    cut: NotRequired[int]
    cut_sources: NotRequired[int]
    misread: NotRequired[int]
    uncounted: NotRequired[int]
    answers: NotRequired[int]
    decoding: NotRequired[str]
    variant: NotRequired[str]
    member: NotRequired[str]
    human: NotRequired[float | None]
    norm: NotRequired[str]
    tied: NotRequired[int]
    near: NotRequired[NearRow]
    repeated: NotRequired[int]
    chance: NotRequired[float]
    majority: NotRequired[MajorityRow]
    batch: NotRequired[int]
    phase: NotRequired[str]
    percentiles: NotRequired[Mapping[str, float]]
    facts: NotRequired[Mapping[str, object]]
    drifted: NotRequired[int]
    depths: NotRequired[Sequence[tuple[int, float]]]
    absent: NotRequired[Mapping[str, str]]
    source: NotRequired[str]
    joules: NotRequired[float]
    budget: NotRequired[int]
    at_least: NotRequired[bool]
    spare: NotRequired[int | None]
    useful: NotRequired[int | None]
    curve: NotRequired[Sequence[tuple[int, float | None, float | None]]]
    load: NotRequired[Mapping[str, object]]


@dataclass(frozen=True)
class Variant:
    """A column of a metric.

    suffix: what `record.key_of` adds to the metric's name, as in ":greedy"; "" for the usual value.
    label: the column's title.
    help: what it is, in a line; the metric's own if empty.
    priority: in a narrow terminal columns of low priority go first; NEVER: only in files; ALWAYS:
        stays.
    is_brief: whether a page shows it before it is asked for all columns.
    is_cost: whether every table shows it, beside what a model can do.
    """

    suffix: str
    label: str
    help: str = ""
    priority: int = ALWAYS
    is_brief: bool = True
    is_cost: bool = False


@dataclass(frozen=True)
class Metric:
    """The facts of a metric.

    better: which direction is better; None if neither is.
    help: what it is, in a line, with its source.
    bounds: the values that it can take.
    variants: its columns; none for what only the record holds.
    format: how a value is printed.
    test: how two models are compared by it, item by item.
    tie: the largest difference that makes no practical difference, in its unit (of rates, a share).
    is_headline: whether it has a table of its own; is_ranked: whether models are ranked in it.
    is_power: whether it is 2 to the power of a ratio, by which it is tested.
    is_derived: whether it only re-expresses another metric.
    repeats: the metric that it is on another scale, with the same test: compared only if named.
    is_distance: whether it tells how far a model is from another one: the nearest is not the best.
    """

    name: str
    unit: str
    better: Better
    help: str
    group: Group = "generation"
    bounds: tuple[float, float] = POSITIVE
    variants: tuple[Variant, ...] = ()
    format: Format = "number"
    test: Test = ""
    tie: float = 0.0
    is_headline: bool = False
    is_ranked: bool = False
    is_power: bool = False
    is_derived: bool = False
    repeats: str = ""
    is_distance: bool = False
    is_custom: bool = False  # not of llmbench's own table

    def __post_init__(self) -> None:
        """Raise ValueError if a fact is none of the words that it can be."""
        for fact, found, words in (
            ("better", self.better, ("lower", "higher", None)),
            ("format", self.format, get_args(Format)),
            ("test", self.test, get_args(Test)),
        ):
            if found not in words:
                said = ", ".join(repr(word) for word in words)
                raise ValueError(f"metric {self.name!r}: {fact} is {found!r}, not one of {said}")

    @property
    def label(self) -> str:
        """The title of its column."""
        return self.variants[0].label if self.variants else self.name

    @property
    def depends_on_machine(self) -> bool:
        """Whether its values hold for one machine alone."""
        return self.group in ("speed", "memory", "serving")

    @property
    def difference_unit(self) -> str:
        """The unit of a difference between two models."""
        return "bits/word" if self.is_power else self.unit

    def row(
        self,
        value: float,
        n: int,
        signature: str,
        low: float | None = None,
        high: float | None = None,
    ) -> ScoreRow:
        """The score row of a value over `n` items, without model and task; its interval ends at the
        metric's bounds. Raises ModelError if the value is outside them.
        """
        least, most = self.bounds
        slack = 1e-9 * max(1.0, abs(value)) if math.isfinite(value) else 0.0
        if not least - slack <= value <= most + slack:
            raise ModelError(
                f"{self.name} is {value:g}, outside its bounds {least:g} to {most:g}",
                hint="correct the metric, or its `bounds`",
            )
        row: ScoreRow = {
            "metric": self.name,
            "value": value,
            "low": None if low is None else max(low, min(least, value)),
            "high": None if high is None else min(high, max(most, value)),
            "unit": self.unit,
            "better": self.better,
            "n": n,
            "signature": signature,
        }
        if self.is_custom:
            row["definition"] = self.definition()
        return row

    def definition(self) -> DefinitionRow:
        """What the record of a run keeps of a metric that is not of this table, so that a board can
        be drawn without the metric's code.
        """
        bounds = [None if math.isinf(end) else end for end in self.bounds]
        found: DefinitionRow = {
            "label": self.label,
            "help": self.help,
            "bounds": bounds,
            "format": self.format,
            "test": self.test,
            "tie": self.tie,
        }
        if self.is_ranked:
            found["ranked"] = True
        return found
