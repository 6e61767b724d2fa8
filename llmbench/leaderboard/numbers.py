"""How numbers are printed: the same number of digits in a whole column, the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

UNEVEN = 1.25  # a side of an interval that is so many times the other is not told by ±
HUGE = 1e15  # what no digits are written of: a table cell would be hundreds wide


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, as in 12.0 %."""
    return f"{_write_huge(100 * share) or f'{100 * share:.{digits}f}'} %"


def format_fixed(value: float, digits: int) -> str:
    """A fixed number of decimals, thousands separated by commas; "inf" if infinite."""
    return "inf" if math.isinf(value) else _write_huge(value) or f"{value:,.{digits}f}"


def format_plain(value: float, digits: int) -> str:
    """The same without commas, as in a sentence or an axis."""
    return format_fixed(value, digits).replace(",", "")


def format_signed(value: float, digits: int) -> str:
    """A difference: a fixed number of decimals after + or -, neither of which 0.0000 has."""
    if _write_huge(value):
        return f"{value:+.2e}"
    written = f"{value:+.{digits}f}"
    return written[1:] if float(written) == 0 else written


def _write_huge(value: float) -> str:
    """A number that is too long for a cell with its exponent, as 1.00e+300; "" for any other."""
    return f"{value:.2e}" if HUGE <= abs(value) < math.inf else ""


def scale_number(value: float) -> str:
    """Three significant digits with k, M, G or T, trailing zeros kept: 2.40 k, 15.1 k, 999."""
    if math.isinf(value):
        return "inf"
    size, unit = next(
        (
            (size, unit)
            for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))
            if abs(value) >= size * 0.9995
        ),
        (1.0, ""),
    )
    number = value / size
    if huge := _write_huge(value):
        return huge
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
    return f"{number:,.{digits}f}{unit}"


def count(value: int) -> str:
    """A whole number: as it is below 1000, else shortened."""
    return str(value) if abs(value) < 1000 else scale_number(value)


def milliseconds(seconds: float) -> str:
    """A time in milliseconds, without the unit."""
    return format_fixed(1e3 * seconds, 2)


def mebibytes(size: float) -> str:
    """A size of memory in MiB, without the unit."""
    return format_fixed(size / 2**20, 0)


def show_interval(
    value: float,
    low: float,
    high: float,
    bounds: tuple[float, float],
    show: Callable[[float], str],
    show_half: Callable[[float], str] | None = None,
    unit: str = "",
) -> str:
    """A value with its interval: 2.1807 ± 0.0587, or its ends if ± would mislead.

    The ends are printed, 0.0120 [0.0000, 0.0900], if one side is clearly longer, or if one is a
    bound of the metric.

    show: prints the value and the ends. show_half: prints half the width; without it the ends are
    printed. unit: stands behind the value, with its space.
    """
    head, half = f"{show(value)}{unit}", (high - low) / 2
    if show_half is not None and _is_even(value, low, high, bounds, show):
        return f"{head} ± {show_half(half)}"
    return f"{head} [{show(low)}, {show(high)}]"


def _is_even(
    value: float,
    low: float,
    high: float,
    bounds: tuple[float, float],
    show: Callable[[float], str],
) -> bool:
    """Whether value ± half the width says what the interval is, in the digits that are printed."""
    if show(low) == show(value) == show(high):
        return True
    if not math.isfinite(high - low) or low <= bounds[0] or high >= bounds[1]:
        return False
    half = (high - low) / 2
    if show(value - half) == show(low) and show(value + half) == show(high):
        return True
    below, above = value - low, high - value
    return max(below, above) <= UNEVEN * min(below, above)


def insert_unit(text: str, unit: str) -> str:
    """Put a unit behind the value of a text that may have an interval."""
    ends = [text.index(sign) for sign in (" ±", " [") if sign in text]
    at = min(ends, default=len(text))
    return f"{text[:at]} {unit}{text[at:]}"
