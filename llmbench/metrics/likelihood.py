"""Numbers from bit ledgers: bits per byte and its re-expressions, each with an interval over items
of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.ledger import WORD_COUNTER, Totals, two_to
from llmbench.metrics.metric import Metric
from llmbench.stats import Interval, ratio_interval

METRICS = (
    Metric(
        "bits_per_byte",
        "bits/byte",
        "lower",
        "bits of the text / its UTF-8 bytes; comparable across tokenisers",
    ),
    Metric(
        "conditional_bits_per_byte",
        "bits/byte",
        "lower",
        "bits of a target and of its end, given its source / the target's bytes",
    ),
    Metric(
        "pseudo_bits_per_byte",
        "bits/byte",
        "lower",
        "bits that a model that sees both sides pays for gaps / their bytes; PLL-word-l2r, never"
        " beside bits_per_byte",
    ),
    Metric(
        "excess_bits_per_byte",
        "bits/byte",
        "lower",
        "bits of the text less those that its source needs, which are known, / its bytes; 0 is"
        " perfect",
    ),
    Metric("byte_perplexity", "perplexity", "lower", "2^bits_per_byte"),
    Metric(
        "word_perplexity",
        "perplexity",
        "lower",
        f"2^(bits/words), words counted as maximal runs of non-{WORD_COUNTER}",
    ),
    Metric(
        "token_perplexity",
        "perplexity",
        None,
        "2^(token bits/tokens); of the model's own symbols, never compared across tokenisers",
    ),
    Metric(
        "spelling_share",
        "share",
        None,
        "share of the bits that spell pieces outside the vocabulary",
    ),
    Metric(
        "unknown_share",
        "share",
        None,
        "share of the model's symbols that are outside its vocabulary",
    ),
)


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
    found = {"bits_per_byte": per_byte, "byte_perplexity": _power(per_byte)}
    if totals.words:
        found["word_perplexity"] = _power(ratio_interval(bits, [item.words for item in items]))
    for name in ("token_perplexity", "spelling_share", "unknown_share"):
        value = getattr(totals, name)
        if value is not None:
            found[name] = Interval(value, None, None, len(items))
    return found


def _power(interval: Interval) -> Interval:
    low, high = (None if end is None else two_to(end) for end in (interval.low, interval.high))
    return Interval(two_to(interval.value), low, high, interval.n)
