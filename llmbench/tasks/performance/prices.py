"""What a million tokens cost, from what an hour of the machine costs."""

from __future__ import annotations

from llmbench.metrics.facts import FACTS
from llmbench.results.record import Score, key_of
from llmbench.results.signature import Signature


def add_prices(scores: list[Score], price: float | None) -> list[Score]:
    """Add the price of a million tokens, from what an hour of this machine costs: at the best batch
    where one was measured.
    """
    if price is None:
        return scores
    rates = {
        (score.model, score.task): score
        for score in scores
        if key_of(score) == "decode_tokens_per_second"
    }
    rates |= {
        (score.model, score.task): score
        for score in scores
        if key_of(score) == "decode_tokens_per_second@best"
    }
    for (model, _), rate in rates.items():
        value, low, high = (
            None if end is None else price / 3600 / float(end) * 1e6
            for end in (rate.value, rate.high, rate.low)
        )
        facts = {
            "model": model,
            "task": rate.task,
            "batch": rate.batch,
            "low": low,
            "high": high,
        }
        row = FACTS["price_per_million_tokens"].row(
            value or 0.0,
            rate.n,
            str(Signature.parse(rate.signature).extend(price_per_hour=f"{price:g}")),
        )
        scores.append(Score.model_validate({**row, **facts}))
    return scores
