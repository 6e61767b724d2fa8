"""From the exchanges of one load to the numbers of its level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.inference.serving.load import Level, LoadRun
from llmbench.stats import Interval, ratio_interval
from llmbench.tasks.performance.serving.answers import Answer, Punctuality, check_sends, derive
from llmbench.tasks.performance.serving.quantiles import Quantile, find_quantiles, samples_needed

TIME_BLOCKS = 10  # of a load, over which the interval of a rate is taken
KEPT_UP = 0.9  # of an open loop's rate that is answered, or the queue has grown all the time
KINDS = 5  # of errors that are told apart
LIMITS = ("ttft", "tpot", "latency")  # that goodput may have


@dataclass(frozen=True)
class Summary:
    """The numbers of a level, by metric; `absent`: why others are not there.

    times: metric -> quantiles by percent. rates: metric -> value a second with its interval.
    counts: metric -> samples behind its quantiles.
    attained: the share of requests that kept to the limits of goodput.
    short: answers that ended before the tokens that were asked for. several: answers with several
    tokens in a message. is_overloaded: whether an open loop's requests came faster than answers.
    """

    level: Level
    times: Mapping[str, Mapping[int, Quantile]]
    rates: Mapping[str, Interval]
    counts: Mapping[str, int]
    absent: Mapping[str, str]
    punctuality: Punctuality
    requests: int
    answered: int
    errors: Mapping[str, int]
    attained: float | None
    seconds: float
    short: int
    several: int
    doubt: str
    is_overloaded: bool


def summarise_load(
    level: Level,
    run: LoadRun,
    due: Sequence[float] | None,
    most: int,
    limits: Mapping[str, float],
) -> Summary:
    """Return the numbers of a level. most: tokens asked for; limits: of goodput, in seconds."""
    found = [derive(exchange, level, most) for exchange in run.exchanges]
    answers = [answer for answer in found if answer is not None]
    errors = Counter(
        exchange.error or "an answer without text"
        for exchange, answer in zip(run.exchanges, found, strict=True)
        if answer is None
    )
    absent: dict[str, str] = {}
    times, counts = _find_times(answers, absent)
    begin = min((one.scheduled for one in run.exchanges), default=0)
    end = max((answer.ended for answer in answers), default=begin)
    good = [meets(answer, limits) for answer in answers]
    seconds = (end - begin) / 1e9
    last = (due[len(run.exchanges) - 1] if due and run.exchanges else 0.0) or seconds
    in_time = sum((answer.ended - begin) / 1e9 <= last for answer in answers)
    return Summary(
        level,
        times,
        _find_rates(answers, good, limits, begin, end, absent),
        counts,
        absent,
        check_sends(run.exchanges, due),
        len(run.exchanges),
        len(answers),
        dict(errors.most_common(KINDS)),
        sum(map(bool, good)) / len(run.exchanges) if limits and run.exchanges else None,
        seconds,
        sum(answer.tokens is not None and answer.tokens < most for answer in answers),
        sum(not answer.is_by_token for answer in answers if answer.tokens is not None),
        next((answer.doubt for answer in answers if answer.doubt), ""),
        level.is_open and len(run.exchanges) > 1 and _falls_behind(answers, in_time, last),
    )


def _falls_behind(answers: Sequence[Answer], in_time: int, last: float) -> bool:
    """Whether fewer answers than KEPT_UP of those that could have ended did so while requests came.

    The last ones could not: those that came within a usual latency of the end.
    """
    if not answers:
        return True
    best = min(answer.latency for answer in answers)
    begin = min(answer.exchange.scheduled for answer in answers)
    possible = sum((one.exchange.scheduled - begin) / 1e9 + best <= last for one in answers)
    return in_time < KEPT_UP * possible


def meets(answer: Answer, limits: Mapping[str, float]) -> bool:
    """Whether an answer keeps to all limits; a number that it does not have keeps to none, but for
    the time per token of an answer of one token.
    """
    values = {"ttft": answer.first, "tpot": answer.per_token, "latency": answer.latency}
    if answer.tokens == 1:
        values["tpot"] = 0.0
    return all(
        (value := values[name]) is not None and value <= limit for name, limit in limits.items()
    )


def _find_times(
    answers: Sequence[Answer], absent: dict[str, str]
) -> tuple[dict[str, Mapping[int, Quantile]], dict[str, int]]:
    """The quantiles of each time; `absent` is told why one is missing."""
    by_token = bool(answers) and all(answer.is_by_token for answer in answers)
    gap = "serving_itl" if by_token else "serving_chunk_gap"
    if not by_token:
        absent["serving_itl"] = "messages are not single tokens"
    found: dict[str, list[Sequence[float]]] = {
        "serving_ttft": [(answer.first,) for answer in answers],
        "serving_tpot": [(a.per_token,) for a in answers if a.per_token is not None],
        "serving_latency": [(answer.latency,) for answer in answers],
        gap: [answer.gaps for answer in answers],
    }
    if not found["serving_tpot"]:
        absent["serving_tpot"] = "the tokens of answers are not known, or each is one message"
    counts = {name: sum(map(len, groups)) for name, groups in found.items()}
    times: dict[str, Mapping[int, Quantile]] = {}
    for name, groups in found.items():
        if quantiles := find_quantiles(groups):
            times[name] = quantiles
        else:
            absent.setdefault(name, f"{counts[name]} samples of {samples_needed(50)}")
    return times, counts


def _find_rates(
    answers: Sequence[Answer],
    good: Sequence[bool],
    limits: Mapping[str, float],
    begin: int,
    end: int,
    absent: dict[str, str],
) -> dict[str, Interval]:
    """Answers, tokens and good answers a second: of the whole load, its begin and end included."""
    if end <= begin:
        return {}
    events: dict[str, list[tuple[int, float]]] = {
        "serving_requests_per_second": [(answer.ended, 1.0) for answer in answers]
    }
    if limits:
        pairs = zip(answers, good, strict=True)
        events["serving_goodput"] = [(answer.ended, 1.0) for answer, is_good in pairs if is_good]
    if all(answer.tokens is not None for answer in answers):
        events["serving_tokens_per_second"] = [
            (at, (answer.tokens or 0) / len(answer.exchange.pieces))
            for answer in answers
            for at, _ in answer.exchange.pieces
        ]
    else:
        absent["serving_tokens_per_second"] = "the tokens of some answers are not known"
    return {name: find_rate(found, begin, end) for name, found in events.items()}


def find_rate(events: Sequence[tuple[int, float]], begin: int, end: int) -> Interval:
    """Return what came a second, with a t interval over equal blocks of time.

    events: (time in ns, how much came), between `begin` and `end`.
    """
    sums = [0.0] * TIME_BLOCKS
    for at, amount in events:
        sums[min(TIME_BLOCKS - 1, (at - begin) * TIME_BLOCKS // (end - begin))] += amount
    found = ratio_interval(sums, [(end - begin) / 1e9 / TIME_BLOCKS] * TIME_BLOCKS)
    low = None if found.low is None else max(0.0, found.low)
    return Interval(found.value, low, found.high, len(events))
