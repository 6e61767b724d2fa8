"""Axes of the page's pictures: from values to places, ticks, and a range that outliers leave
readable.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from llmbench.leaderboard.numbers import format_plain

FENCE = 1.5  # of the middle half's width: what lies farther out is an outlier (Tukey)
LEAST_VALUES = 4  # with fewer, nothing is an outlier


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `begin` to `end`; logarithmic if `log`."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return the pixel of a value; of one beyond the range, the nearer end."""
        kept = min(max(value, self.low), self.high)
        if self.high <= self.low:
            return round((self.begin + self.end) / 2, 1)
        if self.log:
            share = math.log(kept / self.low) / math.log(self.high / self.low)
        else:
            share = (kept - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    def extend(self, value: float) -> float:
        """Return the pixel of a value on a linear axis, beyond its ends too."""
        if self.high <= self.low:
            return self.place(value)
        share = (value - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    def holds(self, value: float) -> bool:
        """Return whether a value is in the range."""
        return self.low <= value <= self.high

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return the pixels of round values in the range, and what is written there."""
        values = _log_ticks(self, most) if self.log else _linear_ticks(self, most)
        return [(self.place(value), text) for value, text in values]


def _linear_ticks(axis: Axis, most: int) -> list[tuple[float, str]]:
    width = axis.high - axis.low
    if width <= 0:
        return [(axis.low, f"{axis.low:.4g}")]
    size = 10.0 ** math.floor(math.log10(width / most))
    step = next(size * times for times in (1, 2, 5, 10) if width / (size * times) <= most)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(axis.low / step - 1e-9)
    last = math.floor(axis.high / step + 1e-9)
    return [
        (number * step, format_plain(number * step, digits)) for number in range(first, last + 1)
    ]


def _log_ticks(axis: Axis, most: int) -> list[tuple[float, str]]:
    decades = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
    for times in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        values = [10.0**decade * time for decade in decades for time in times]
        inside = [value for value in values if axis.low <= value <= axis.high]
        if len(inside) <= most:
            break
    if len(inside) > most:
        inside = inside[:: math.ceil(len(inside) / most)]
    if len(inside) < 2:
        inside = [axis.low, axis.high]
    return [(value, shorten(value)) for value in inside]


def shorten(value: float) -> str:
    """Return a number of an axis, as short as it can be: 500, 2 k, 1.5 M."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size * 0.9995:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def make_log_axis(values: Sequence[float], begin: float, end: float, pad: float = 0.06) -> Axis:
    """Return a logarithmic axis that holds values above 0, with room at both ends."""
    low, high = min(values), max(values)
    room = max(high / low, 1.2) ** pad
    return Axis(low / room, high * room, begin, end, log=True)


def make_axis(
    values: Sequence[float], begin: float, end: float, kept: Collection[float] = ()
) -> Axis:
    """Return a linear axis for values of which the lesser is the better: those far beyond the
    others are left out, but never one of `kept`.
    """
    low, high = find_range(values, kept)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - room, high + room, begin, end)


def find_range(
    values: Sequence[float], kept: Collection[float] = (), better: str | None = "lower"
) -> tuple[float, float]:
    """Return the least and the greatest value, without those that are far worse than the others
    (Tukey's fence, on the worse side alone), but with all of `kept`.
    """
    sign = -1.0 if better == "higher" else 1.0
    order = sorted(sign * value for value in values if math.isfinite(value))
    if not order:
        return 0.0, 1.0
    if len(order) >= LEAST_VALUES:
        first, third = (order[round(share * (len(order) - 1))] for share in (0.25, 0.75))
        fence = third + FENCE * (third - first)
        inside = [v for v in order if v <= fence] + [sign * value for value in kept]
        order = sorted(inside)
    ends = sign * order[0], sign * order[-1]
    return min(ends), max(ends)
