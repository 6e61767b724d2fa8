"""What all metrics of text have in common: statistics of each sample first, a total second, an
interval over samples.

Statistics are plain numbers that depend on their sample alone: they can be stored, read back, and
put together in any choice of samples. Most totals are a function of the column sums of the
statistics (`Summed`), so that a resample of the samples is one product of matrices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmbench.errors import UsageError
from llmbench.metrics.metric import Metric
from llmbench.stats import LEVEL, Interval, wilson_interval

RESAMPLES = 1000
SEED = 12345  # sacrebleu's own
PORTION = 2_000_000  # counts drawn at once
# for a bootstrap interval: of 5 samples of a skewed quantity, 95 % intervals held the mean in 88
# cases of 100, of 8 in 91
LEAST_SAMPLES = 8


class TextMetric(ABC):
    """A metric of what models say.

    `signature`: all that its number depends on besides the texts. `interval`: how its interval
    comes about. `compares`: whether it needs references.
    """

    metric: Metric
    signature: str
    interval: Literal["bootstrap", "wilson"] = "bootstrap"
    compares = True

    def statistics(self, output: str, reference: str | None = None) -> list[float]:
        """Of one sample; [] where it has nothing that this metric counts: such a sample is left
        out, and missing in the interval's `n`.

        Any str will do: empty, white space alone, half a surrogate pair. An empty reference is a
        reference. Raises UsageError where a metric that compares is given None.
        """
        if reference is None and self.compares:
            raise UsageError(
                f"{self.metric.name} compares with a reference, and a sample has none",
                hint="give each sample its reference text",
            )
        return self._statistics(output, reference or "")

    @abstractmethod
    def _statistics(self, output: str, reference: str) -> list[float]: ...

    def combined(self, rows: Sequence[Sequence[float]]) -> list[float]:
        """The statistics of several answers to one prompt as those of one sample, so that the
        prompt is what is drawn; [] where none has any. By default sums, if `value` is a ratio of
        sums.
        """
        if type(self).value is TextMetric.value:
            return _sum_columns(rows)
        raise UsageError(
            f"{self.metric.name} cannot put several answers to one prompt together", hint="seeds: 1"
        )

    def value(self, rows: Sequence[Sequence[float]]) -> Interval | None:
        """The total over samples in the metric's unit, and its 95 % interval, from their
        statistics; None where no sample has any. By default statistics are [numerator,
        denominator], and the total is the ratio of their sums.
        """
        return _bootstrap_sums(rows, _ratio)


class Summed(TextMetric):
    """A metric whose total is a function of the column sums of its statistics: as many numbers for
    each sample.
    """

    @abstractmethod
    def total(self, sums: Sequence[float]) -> float:
        """The metric, from the column sums. Counts are whole numbers in float64 and their sums
        exact up to 2^53.
        """

    def combined(self, rows: Sequence[Sequence[float]]) -> list[float]:
        return _sum_columns(rows)

    def value(self, rows: Sequence[Sequence[float]]) -> Interval | None:
        return _bootstrap_sums(rows, self.total)


class Mean(Summed):
    """A mean over samples, or a ratio of sums: statistics are [numerator, denominator]."""

    def total(self, sums: Sequence[float]) -> float:
        return _ratio(sums)


class Share(Mean):
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


def _ratio(sums: Sequence[float]) -> float:
    return sums[0] / sums[1] if sums[1] else 0.0


def _sum_columns(rows: Sequence[Sequence[float]]) -> list[float]:
    kept = [row for row in rows if row]
    return np.asarray(kept, dtype=np.float64).sum(axis=0).tolist() if kept else []


def _bootstrap_sums(
    rows: Sequence[Sequence[float]], total: Callable[[Sequence[float]], float]
) -> Interval | None:
    """`total` of the column sums, with its bootstrap interval; None if no sample has statistics."""
    kept = np.asarray([row for row in rows if row], dtype=np.float64)
    if not len(kept):
        return None
    whole = total(kept.sum(axis=0).tolist())
    return bootstrap(
        whole, len(kept), lambda counts: [total(sums) for sums in (counts @ kept).tolist()]
    )


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


def as_numbers(text: str) -> list[float]:
    """A text as statistics, where a total needs the texts themselves: its characters' code points."""
    return [float(ord(character)) for character in text]


def as_text(numbers: Sequence[float]) -> str:
    """The text of such statistics."""
    return "".join(chr(int(number)) for number in numbers)
