"""How numbers are printed: the same number of digits in a whole column, the same everywhere."""

from __future__ import annotations

import math


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, as in 12.0 %."""
    return f"{100 * share:.{digits}f} %"


def format_fixed(value: float, digits: int) -> str:
    """A fixed number of decimals, thousands separated by commas; "inf" if infinite."""
    return "inf" if math.isinf(value) else f"{value:,.{digits}f}"


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
