"""Numbers from bit ledgers: bits per byte and its re-expressions, each with an interval over items
of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.ledger import Totals, two_to
from llmbench.metrics.facts import BITS_PER_BYTE
from llmbench.stats import Interval, ratio_interval


@dataclass(frozen=True)
class Item:
    """What one document or block contributes."""

    id: str
    bits: float
    bytes: int
    words: int


def intervals(items: Sequence[Item], totals: Totals) -> dict[str, Interval]:
    """Metric name -> value and interval. Perplexities are transformed intervals of the ratio in
    their exponent; shares have none.
    """
    bits = [item.bits for item in items]
    per_byte = ratio_interval(bits, [item.bytes for item in items])
    found = {BITS_PER_BYTE: per_byte, "byte_perplexity": _power(per_byte)}
    if totals.words:
        found["word_perplexity"] = _power(ratio_interval(bits, [item.words for item in items]))
    counted = {
        "token_perplexity": totals.token_perplexity,
        "spelling_share": totals.spelling_share,
        "unknown_share": totals.unknown_share,
    }
    for name, value in counted.items():
        if value is not None:
            found[name] = Interval(value, None, None, len(items))
    return found


def _power(interval: Interval) -> Interval:
    low, high = (None if end is None else two_to(end) for end in (interval.low, interval.high))
    return Interval(two_to(interval.value), low, high, interval.n)
