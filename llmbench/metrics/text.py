"""What all metrics of text have in common: statistics of each sample first, a value over samples
second, with an interval.

Statistics are plain numbers that depend on their sample alone: they can be stored, read back, and
combined for any choice of samples. Most values are a function of the column sums of the statistics
(`TextMetric.total`), so that a resample of the samples is one product of matrices.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from llmbench.config.plugins import class_place
from llmbench.errors import ModelError, UsageError
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ANY, UNIT_INTERVAL, Better, Metric, Test, Variant
from llmbench.stats import LEVEL, Interval, wilson_interval

RESAMPLES = 1000
SEED = 12345  # sacrebleu's own
PORTION = 2_000_000  # counts drawn at once
# for a bootstrap interval: of 5 samples of a skewed quantity, 95 % intervals held the mean in 88
# cases of 100, of 8 in 91
LEAST_SAMPLES = 8


class TextMetric(ABC):
    """A metric of generated text: statistics of each sample first, one value over samples second.

    To write one, subclass this, set its facts, and define `statistics`:

        class Vowels(TextMetric):
            name, unit, better, bounds, label = "vowels", "share", None, (0, 1), "vowels"
            needs_reference = False

            def statistics(self, output: str, reference: str) -> list[float]:
                return [sum(c in "aeiou" for c in output), len(output)]

    The value is the sum of the first numbers over the sum of the second ones, and its interval a
    bootstrap over samples; another formula of the column sums goes into `total`.

    name: of the metric in records and on the command line; letters, digits and underscores.
    unit, better, bounds, label: its unit, direction, possible values, and its column's title.
    help: what it is, in a line; by default the first line of the docstring.
    tie: the largest difference that makes no practical difference.
    needs_reference: whether it compares an output with a reference text.
    signature: whatever its value depends on besides the texts and its code.
    """

    name: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    better: ClassVar[Better] = None
    bounds: ClassVar[tuple[float, float]] = ANY
    label: ClassVar[str] = ""
    help: ClassVar[str] = ""
    tie: ClassVar[float] = 0.0
    metric: Metric
    signature: str = ""
    variant: str = ""  # behind its name, of one that stands beside another of the same metric
    interval: Literal["bootstrap", "wilson"] = "bootstrap"
    needs_reference = True

    def is_blind_to(self, text: str) -> bool:
        """Whether its tokenizer does not see some letters of a text, so that its value says less
        than it seems to; such samples are counted, and the board says so.
        """
        return False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.name:
            cls.metric = _define(cls)

    @property
    def full_name(self) -> str:
        """What its statistics are called in samples: its name, and its variant."""
        return f"{self.metric.name}{self.variant}"

    @abstractmethod
    def statistics(self, output: str, reference: str) -> Sequence[float] | float:
        """Return the numbers of one sample: [numerator, denominator], or one column for each sum
        that `total` needs; a single number x stands for [x, 1]. [] leaves the sample out.
        """

    def total(self, sums: Sequence[float]) -> float:
        """Return the value, from the column sums of the statistics."""
        return sums[0] / sums[1] if sums[1] else 0.0

    def measure(self, output: str, reference: str | None = None) -> list[float]:
        """Return the statistics of one sample, checked; [] if the metric does not count it.

        Any str will do: empty, white space alone, half a surrogate pair. An empty reference is a
        reference. Raises UsageError if the metric needs a reference and gets None, and ModelError
        if `statistics` gives anything but finite numbers.
        """
        if reference is None and self.needs_reference:
            raise UsageError(
                f"{self.metric.name} compares with a reference, and a sample has none",
                hint="give each sample its reference text",
            )
        found = self.statistics(output, reference or "")
        try:
            if isinstance(found, (int, float)):
                found = [found, 1.0]
            numbers = [float(number) for number in found]
        except (TypeError, ValueError):
            numbers = [math.nan]
        if len(numbers) == 1 or not all(map(math.isfinite, numbers)):
            raise ModelError(
                f"{self.metric.name}: `statistics` gave {str(found)[:80]}, not a finite number or"
                " [numerator, denominator]"
            )
        return numbers

    def measure_best(self, output: str, references: Sequence[str]) -> list[float]:
        """Return the statistics of one sample beside the reference that is best for it, as SQuAD
        has it; of equal ones beside the first.
        """
        rows = [self.measure(output, reference) for reference in references]
        known = [row for row in rows if row]
        if len(known) < 2:
            return known[0] if known else []
        best = min if self.metric.better == "lower" else max
        return best(known, key=self.total)

    def combine(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """Return the statistics of several answers to one prompt as those of one sample, so that
        prompts are resampled; [] if none has any.
        """
        kept = [row for row in rows if row]
        return np.asarray(kept, dtype=np.float64).sum(axis=0).tolist() if kept else []

    def value(self, rows: Sequence[Sequence[float]]) -> Interval | None:
        """Return the value over samples with its 95 % interval; None without any statistics."""
        table = [row for row in rows if row]
        if not table:
            return None
        if len({len(row) for row in table}) > 1:
            raise ModelError(f"{self.metric.name}: samples have different numbers of statistics")
        kept = np.asarray(table, dtype=np.float64)
        whole = self.total(kept.sum(axis=0).tolist())
        found = bootstrap(
            whole, len(kept), lambda counts: [self.total(sums) for sums in (counts @ kept).tolist()]
        )
        return widen(found, self.metric.bounds)

    def comparable_rows(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return what is stored of each sample, for the paired test of two models: its statistics,
        or its own value if only this metric's code can make a value of several.
        """
        if self.metric.test != "items":
            return [list(row) for row in rows]
        return [[self.total(row), 1.0] if row else [] for row in rows]


def _define(cls: type[TextMetric]) -> Metric:
    """The facts of a metric class from outside. UsageError if they cannot be."""
    where = class_place(cls)
    facts: dict[str, tuple[bool, str]] = {
        "name": (
            isinstance(cls.name, str) and re.fullmatch(r"[A-Za-z]\w{0,63}", cls.name) is not None,
            "letters, digits and underscores",
        ),
        "unit": (isinstance(cls.unit, str), "a string"),
        "better": (cls.better in ("lower", "higher", None), '"lower", "higher" or None'),
        "bounds": (_is_range(cls.bounds), "two numbers, the lower first"),
        "label": (isinstance(cls.label, str), "a string"),
        "tie": (isinstance(cls.tie, int | float) and cls.tie >= 0, "a number from 0"),
    }
    for key, (is_right, wanted) in facts.items():
        if not is_right:
            raise UsageError(
                f"the metric's `{key}` is {vars(cls).get(key)!r}", where=where, hint=f"use {wanted}"
            )
    if cls.name in FACTS:
        raise UsageError(f"{cls.name!r} is a metric of llmbench", where=where, hint="rename yours")
    is_percent = cls.unit == "share" or tuple(cls.bounds) == UNIT_INTERVAL
    lines = (cls.help or cls.__doc__ or cls.name).strip().splitlines()
    test: Test = "ratio" if cls.total is TextMetric.total else "items"
    return Metric(
        cls.name,
        cls.unit,
        cls.better,
        lines[0],
        bounds=(float(cls.bounds[0]), float(cls.bounds[1])),
        variants=(Variant("", cls.label or cls.name),),
        format="percent" if is_percent else "number",
        test="share" if issubclass(cls, Share) else test,
        tie=float(cls.tie),
        is_custom=True,
    )


def _is_range(bounds: object) -> bool:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        return False
    return all(isinstance(end, int | float) for end in bounds) and bounds[0] < bounds[1]


class Share(TextMetric):
    """The share of samples that are so: statistics are [1, 1] or [0, 1], and the interval is
    Wilson's. Of several answers to each prompt statistics are [how many are so, of how many], and
    it is a bootstrap.
    """

    interval = "wilson"

    def value(self, rows: Sequence[Sequence[float]]) -> Interval | None:
        kept = [row for row in rows if row]
        if any(many > 1.0 for _, many in kept) and all(
            hit == int(hit) and 0 <= hit <= many == int(many) for hit, many in kept
        ):
            return super().value(rows)
        if any(hit not in (0.0, 1.0) or one != 1.0 for hit, one in kept):
            raise ValueError(
                f"{self.metric.name}: a sample either is so or is not, and its statistics are [1,"
                " 1] or [0, 1]"
            )
        return wilson_interval(sum(hit == 1.0 for hit, _ in kept), len(kept)) if kept else None


def bootstrap(
    whole: float,
    n: int,
    totals: Callable[[NDArray[np.int64]], Sequence[float]],
    centred: bool = False,
) -> Interval:
    """`whole`, the total over `n` samples, with the percentile interval of the bootstrap over
    samples (Efron 1979; for BLEU: Koehn 2004). No interval with fewer than 8 samples.

    `totals`: the totals of resamples, from a matrix that says in each row how often each sample is
    in it; the same rows for all metrics of `n` samples. The percentiles lie further out than 2.5
    and 97.5, by what the plain ones are too narrow for a mean of few samples (the expanded
    percentile interval of Hesterberg 2015, The American Statistician 69:4).
    `centred`: totals are moved so that `whole` is their mean, for a total that resampling itself
    makes larger or smaller.
    """
    if n < LEAST_SAMPLES:
        return Interval(whole, None, None, n)
    from scipy.special import ndtr, stdtrit

    rng, found = np.random.default_rng(SEED), list[float]()
    while len(found) < RESAMPLES:
        size = max(1, min(RESAMPLES - len(found), PORTION // n))
        found += totals(rng.multinomial(n, np.full(n, 1 / n), size=size))
    if centred:
        excess = float(np.mean(found)) - whole
        found = [total - excess for total in found]
    tail = float(ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + LEVEL) / 2)))
    low, high = np.percentile(found, [100 * tail, 100 * (1 - tail)])
    return Interval(whole, float(low), float(high), n)


def widen(interval: Interval, bounds: tuple[float, float]) -> Interval:
    """Give an interval without width, of samples that are all alike, the one that is honest.

    Of n samples without one that differs, up to q = z^2 / (n + z^2) of all could differ (the upper
    end of Wilson's interval of 0 of n); they could be as bad, or as good, as `bounds` allow. Where
    all are right this is Wilson's interval of n of n. No interval if a bound is infinite.
    """
    low, high = interval.low, interval.high
    if low is None or high is None or high - low > 1e-9 * max(1.0, abs(interval.value)):
        return interval
    rest = wilson_interval(0, interval.n).high
    assert rest is not None
    value, (least, most) = interval.value, bounds
    if not math.isfinite(least) or not math.isfinite(most):
        return Interval(value, None, None, interval.n)
    low, high = value - rest * (value - least), value + rest * (most - value)
    return Interval(value, max(low, least), min(high, most), interval.n)


def as_numbers(text: str) -> list[float]:
    """Return a text as statistics, the code points of its characters, for totals over texts."""
    return [float(ord(character)) for character in text]


def as_text(numbers: Sequence[float]) -> str:
    """The text of such statistics."""
    return "".join(chr(int(number)) for number in numbers)
