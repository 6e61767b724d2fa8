"""From the numbers of a level to rows of the record."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TypedDict

import numpy as np

from llmbench.inference.serving.load import ClientCost, Exchange, Level, LoadRun
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ScoreRow
from llmbench.results.signature import Signature
from llmbench.tasks.performance.serving.quantiles import Quantile
from llmbench.tasks.performance.serving.summary import Summary

LEAST_SECONDS = 5.0  # of a load whose energy is counted: counters move in steps


class EventRow(TypedDict):
    """What came of a request, as the run's folder keeps it: (ns, messages, bytes of text) so far.

    The first event is when it was sent. asked: when it was due.
    """

    block: int
    what: str
    answer: int
    asked: int
    events: list[tuple[int, int, int]]


def list_events(number: int, level: Level, run: LoadRun) -> list[EventRow]:
    """Return the events of a level, the `number`-th."""
    return [
        {
            "block": number,
            "what": level.key,
            "answer": answer,
            "asked": exchange.scheduled,
            "events": _list_times(exchange),
        }
        for answer, exchange in enumerate(run.exchanges)
    ]


def _list_times(exchange: Exchange) -> list[tuple[int, int, int]]:
    sizes = accumulate(len(text.encode("utf-8", "replace")) for _, text in exchange.pieces)
    pieces = zip(exchange.pieces, sizes, strict=True)
    return [
        (exchange.started - exchange.scheduled, 0, 0),
        *(
            (at - exchange.scheduled, number, size)
            for number, ((at, _), size) in enumerate(pieces, 1)
        ),
    ]


def list_scores(
    summary: Summary,
    cost: ClientCost,
    limits: Mapping[str, float],
    nonce: str,
    asked: Signature,
    energy: tuple[float, str] | None,
) -> list[ScoreRow]:
    """Return the scores of a level; the first has what is known about the load. energy: joules that
    it took, and their counter, if they were counted.
    """
    level = summary.level
    signature = str(asked.extend(load=level.key))
    found: list[ScoreRow] = []
    for name, interval in summary.rates.items():
        row = FACTS[name].row(interval.value, interval.n, signature, interval.low, interval.high)
        found.append({**row, "variant": f":{level.key}", "load": _name(level)})
    for name, quantiles in summary.times.items():
        found.append(_row_of_times(name, quantiles, summary, signature))
    tokens = summary.rates.get("serving_tokens_per_second")
    if energy is not None and tokens is not None and summary.seconds >= LEAST_SECONDS:
        joules, source = energy
        each = joules / (tokens.value * summary.seconds)
        row = FACTS["serving_joules_per_token"].row(each, summary.answered, signature)
        row["joules"], row["source"] = joules, source
        found.append({**row, "variant": f":{level.key}", "load": _name(level)})
    found[0]["load"] = {**_name(level), **_list_facts(summary, cost, limits), "nonce": nonce}
    return found


def _name(level: Level) -> dict[str, object]:
    return {"arrivals": level.arrivals, "amount": level.amount}


def _row_of_times(
    name: str, quantiles: Mapping[int, Quantile], summary: Summary, signature: str
) -> ScoreRow:
    middle = quantiles[50]
    row = FACTS[name].row(middle.value, summary.counts[name], signature, middle.low, middle.high)
    ends = {
        f"p{percent}": (one.low, one.high)
        for percent, one in quantiles.items()
        if one.low is not None and one.high is not None
    }
    return {
        **row,
        "variant": f":{summary.level.key}",
        "percentiles": {f"p{percent}": one.value for percent, one in quantiles.items()},
        "load": {**_name(summary.level), "ends": ends},
    }


def _list_facts(
    summary: Summary, cost: ClientCost, limits: Mapping[str, float]
) -> dict[str, object]:
    lags = np.asarray(cost.lags or (0.0,))
    return {
        "requests": summary.requests,
        "answered": summary.answered,
        "errors": dict(summary.errors),
        "limits": dict(limits),
        "attained": summary.attained,
        "seconds": summary.seconds,
        "short": summary.short,
        "several": summary.several,
        "doubt": summary.doubt,
        "is_overloaded": summary.is_overloaded,
        "late": summary.punctuality.late,
        "worst": summary.punctuality.worst,
        "client": {
            "cpu": cost.cpu,
            "handling": cost.handling,
            "lag_p50": float(np.quantile(lags, 0.5)),
            "lag_p99": float(np.quantile(lags, 0.99)),
        },
        "absent": dict(summary.absent),
    }
