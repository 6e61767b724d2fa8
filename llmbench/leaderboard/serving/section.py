"""The section on serving: a table for each task, a line for each model and level of load."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.numbers import (
    format_fixed,
    format_plain,
    mebibytes,
    milliseconds,
    percent,
    show_interval,
)
from llmbench.leaderboard.serving.remarks import describe_loads
from llmbench.leaderboard.words import cut
from llmbench.results.record import Record, Score, metric_of
from llmbench.results.rows import LoadFacts

TITLES = {"closed": "{:g} streams", "poisson": "Poisson, {:g}/s", "constant": "constant, {:g}/s"}
RATES = {
    "serving_requests_per_second": "requests/s",
    "serving_goodput": "goodput/s",
    "serving_tokens_per_second": "tokens/s",
}
TIMES = {
    "serving_ttft": "TTFT",
    "serving_tpot": "TPOT",
    "serving_itl": "inter-token",
    "serving_chunk_gap": "chunk gap",
    "serving_latency": "latency",
}
PERCENTILES = ("p50", "p90", "p95", "p99")
HELP = {
    "serving_ttft": "time to first token",
    "serving_tpot": "time per output token after the first",
    "serving_itl": "time between two tokens of an answer",
    "serving_chunk_gap": "time between two messages of an answer, which are not single tokens",
    "serving_latency": "time to the end of the answer",
}


@dataclass(frozen=True)
class LoadRow:
    """A model at a level. `values`: column -> (text, number). `scores`: by metric."""

    model: str
    stage: int | None
    arrivals: str
    amount: float
    values: Mapping[str, tuple[str, float]]
    scores: Mapping[str, Score]

    @property
    def key(self) -> str:
        """The level in files: closed-8, poisson-50."""
        return f"{self.arrivals}-{self.amount:g}"

    @property
    def title(self) -> str:
        """The level in words."""
        if self.arrivals == "closed" and self.amount == 1:
            return "1 stream"
        return TITLES[self.arrivals].format(self.amount)


@dataclass(frozen=True)
class LoadTable:
    """A task's levels. columns: key -> (title, help), those that are not empty."""

    task: str
    columns: Mapping[str, tuple[str, str]]
    rows: Sequence[LoadRow]
    notes: Sequence[str]
    signature: str
    summary: str


def build_load_tables(record: Record, run: str = "") -> list[LoadTable]:
    """Return a table for each task that put servers under load. run: its name among several, whose
    loads are not comparable line by line: each has tables of its own.
    """
    tasks = dict.fromkeys(score.task for score in record.scores if score.load is not None)
    return [_build(record, task, f"{task}, {run}" if run else task) for task in tasks]


def _build(record: Record, task: str, name: str) -> LoadTable:
    scores = [score for score in record.scores if score.task == task]
    groups: dict[tuple[str, str, float], dict[str, Score]] = {}
    for score in scores:
        if score.load is not None:
            key = (score.model, score.load.arrivals, float(score.load.amount))
            groups.setdefault(key, {})[score.metric] = score
    stages = {model.name: model.stage for model in record.models}
    rows = [
        LoadRow(
            cut(model, NAME_CHARACTERS),
            stages.get(model),
            arrivals,
            amount,
            dict(_list_values(found, scores)),
            found,
        )
        for (model, arrivals, amount), found in groups.items()
    ]
    rows.sort(key=lambda row: (list(TITLES).index(row.arrivals), row.amount, row.model))
    used = {key for row in rows for key in row.values}
    columns = {key: words for key, words in _list_columns() if key in used}
    first = next(score for score in scores if score.load is not None)
    signature = first.signature.rpartition(";load=")[0] or first.signature
    notes = describe_loads([(row.model, row.title, row.scores) for row in rows])
    return LoadTable(
        cut(name, NAME_CHARACTERS), columns, rows, notes, signature, _summarise(name, rows)
    )


def _list_columns() -> Iterator[tuple[str, tuple[str, str]]]:
    """Key, title and help of all columns, in order."""
    for name, title in RATES.items():
        yield name, (title, metric_help(name))
    yield "attained", ("within limits", "share of the requests that kept to the limits")
    for name, title in TIMES.items():
        for place in PERCENTILES:
            yield f"{name} {place}", (f"{title} {place}, ms", f"{HELP[name]}, {place}")
    yield "errors", ("errors", "requests without a whole answer, of those that were sent")
    yield "serving_joules_per_token", ("J/token", "energy by the machine's counter / tokens")
    yield "ram", ("server RAM, MiB", "peak memory of the server's processes, sampled")
    yield "gpu", ("server GPU, MiB", "peak GPU memory of the server's processes, sampled")


def metric_help(name: str) -> str:
    """Return what one of RATES is."""
    return {
        "serving_requests_per_second": "requests answered a second",
        "serving_goodput": "requests a second that were answered within the stated limits",
        "serving_tokens_per_second": "tokens generated a second by all answers",
    }[name]


def _list_values(
    found: Mapping[str, Score], scores: Sequence[Score]
) -> Iterator[tuple[str, tuple[str, float]]]:
    """Column, text and number of each cell of a row."""
    for name in RATES:
        if name in found:
            yield name, (_show(found[name], lambda value: format_fixed(value, 1)), _of(found[name]))
    for name in TIMES:
        for place, value in (found[name].percentiles or {}).items() if name in found else ():
            if value is not None and place in PERCENTILES:
                score = found[name] if place == "p50" else _move(found[name], place, float(value))
                yield f"{name} {place}", (_show(score, milliseconds), float(value))
    facts = find_facts(found)
    if facts is not None:
        if facts.attained is not None:
            share = float(facts.attained)
            yield "attained", (percent(share), share)
        failed = facts.requests - facts.answered
        yield "errors", (f"{failed:,} of {facts.requests:,}", failed)
    if "serving_joules_per_token" in found:
        value = _of(found["serving_joules_per_token"])
        yield "serving_joules_per_token", (format_plain(value, 3), value)
    model = next(iter(found.values())).model
    for key, name in (("ram", "serving_peak_ram"), ("gpu", "serving_peak_gpu")):
        for score in scores:
            if score.metric == name and score.model == model:
                yield key, (mebibytes(_of(score)), _of(score))


def _move(score: Score, place: str, value: float) -> Score:
    """The score of another percentile of the same times."""
    low, high = (score.load.ends.get(place) if score.load else None) or (None, None)
    return score.model_copy(update={"value": value, "low": low, "high": high})


def _of(score: Score) -> float:
    return float(score.value)


def _show(score: Score, show: Callable[[float], str]) -> str:
    if score.low is None or score.high is None:
        return show(_of(score))
    bounds = metric_of(score).bounds
    return show_interval(_of(score), float(score.low), float(score.high), bounds, show)


def find_facts(found: Mapping[str, Score]) -> LoadFacts | None:
    """Return what is known about a level's load."""
    facts = (score.load for score in found.values() if score.load and score.load.requests)
    return next(facts, None)


def _summarise(task: str, rows: Sequence[LoadRow]) -> str:
    """Return the level with the most tokens (or requests) a second, and its times."""
    for name in ("serving_tokens_per_second", "serving_requests_per_second"):
        known = [row for row in rows if name in row.values]
        if len(known) == len(rows):
            break
    top = max(known, key=lambda row: row.values[name][1], default=None)
    if top is None or not math.isfinite(top.values[name][1]):
        return ""
    times = [
        f"median {title} {milliseconds(top.values[f'{key} p50'][1])} ms"
        for key, title in TIMES.items()
        if key in ("serving_ttft", "serving_tpot") and f"{key} p50" in top.values
    ]
    said = f": {', '.join(times)}" if times else ""
    return (
        f"{cut(task, NAME_CHARACTERS)}: most {RATES[name]} by {top.model} at {top.title},"
        f" {format_fixed(top.values[name][1], 1)}{said}."
    )
