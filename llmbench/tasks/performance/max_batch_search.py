"""How many answers fit side by side into a budget of memory: from a few small batches a straight
line, from the line a guess, and from the guess the very number, every attempt measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

FIRST = (1, 2, 4)
SPARE = 0.9  # of the budget, for "with a tenth to spare"
USEFUL = 0.95  # of the best rate


@dataclass(frozen=True)
class Attempt:
    """One batch, tried. `peak`: most bytes held; None where the memory was refused, with `refused`
    saying how. `rate`: bytes of text a second.
    """

    batch: int
    peak: int | None
    rate: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class Fit:
    """`fits`: the largest batch within the budget, 0 where none is; `at_least`: the search ended
    there though more may fit. `spare`: with a tenth of the budget to spare, by the line through all
    attempts. `useful`: the smallest batch with 95 % of the best rate.
    """

    budget: int
    fits: int
    at_least: bool
    spare: int
    useful: int | None
    attempts: list[Attempt] = field(default_factory=list)


def search(attempt: Callable[[int], Attempt], budget: int, most: int) -> Fit:
    """The largest batch up to `most` that stays within `budget` bytes. Memory is taken to grow with
    the batch; nothing else is assumed.
    """
    made: list[Attempt] = []
    low, high = 0, most + 1  # low fits, high does not

    def try_batch(batch: int) -> None:
        nonlocal low, high
        made.append(attempt(batch))
        peak = made[-1].peak
        if peak is not None and peak <= budget:
            low = max(low, batch)
        else:
            high = min(high, batch)

    for batch in FIRST:
        if low < batch < high:
            try_batch(batch)
    guessing = True
    while low and high - low > 1:
        guess = guess_batch(made, budget) if guessing else None
        if guess is None:
            batch = (low + high) // 2 if high <= most else 2 * low
        else:
            batch = guess if guess > low else low + 1
        before = high - low
        try_batch(min(max(batch, low + 1), high - 1))
        guessing = (
            not guessing or high - low < before / 4
        )  # a line that misses is left for halving, every other time
    return Fit(budget, low, low == most, _spare(made, budget, low), _useful(made, budget), made)


def line(made: Sequence[Attempt]) -> tuple[float, float] | None:
    """(a, c) of peak = a + c x batch by least squares; None where it does not grow, or fewer than
    two batches are known.
    """
    points = [(a.batch, a.peak) for a in made if a.peak is not None]
    if len({batch for batch, _ in points}) < 2:
        return None
    mean_x, mean_y = (math.fsum(values) / len(points) for values in zip(*points, strict=True))
    spread = math.fsum((x - mean_x) ** 2 for x, _ in points)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return (mean_y - slope * mean_x, slope) if slope > 0 else None


def guess_batch(made: Sequence[Attempt], budget: int) -> int | None:
    """Return the largest batch by the line through the two attempts closest to the budget."""
    known = sorted(
        (a for a in made if a.peak is not None), key=lambda a: abs(budget - (a.peak or 0))
    )
    found = line(known[:2])
    return None if found is None else math.floor((budget - found[0]) / found[1])


def _spare(made: Sequence[Attempt], budget: int, fits: int) -> int:
    found = line([a for a in made if a.peak is not None])
    if found is None:
        return max(
            (a.batch for a in made if a.peak is not None and a.peak <= SPARE * budget), default=0
        )
    return max(0, min(fits, math.floor((SPARE * budget - found[0]) / found[1])))


def _useful(made: Sequence[Attempt], budget: int) -> int | None:
    rates = {
        a.batch: a.rate
        for a in made
        if a.rate is not None and a.peak is not None and a.peak <= budget
    }
    best = max(rates.values(), default=None)
    return (
        None
        if best is None
        else min(batch for batch, rate in rates.items() if rate >= USEFUL * best)
    )
