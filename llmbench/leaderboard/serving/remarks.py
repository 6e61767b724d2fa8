"""The notes below a table of loads: how it was measured, and what is to be known of its levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmbench.leaderboard.columns import NAME_CHARACTERS
from llmbench.leaderboard.numbers import percent
from llmbench.leaderboard.words import cut, join_words
from llmbench.results.record import Score
from llmbench.results.rows import LoadFacts

Level = tuple[str, str, Mapping[str, Score]]  # model, level in words, scores by metric
HOW = (
    "Times count from when a request was due in an open loop, and from when it was sent in a closed"
    " one. Percentiles have at least 10 samples beyond them; their intervals are of a bootstrap"
    " over 20 blocks of consecutive requests, those of rates are over 10 blocks of time."
)
MOST_NOTES = 30


def describe_loads(levels: Sequence[Level]) -> list[str]:
    """Return the notes on these levels."""
    known = [
        (model, title, facts)
        for model, title, scores in levels
        for facts in (_find(scores),)
        if facts is not None
    ]
    notes = [HOW, *_describe_limits([facts for _, _, facts in known])]
    for model, _, scores in levels:
        for score in scores.values():
            notes += [f"Not measured: {model}, {key}: {why}." for key, why in score.absent.items()]
    for model, title, facts in known:
        notes += [f"{model}, {title}: {said}" for said in _describe(facts)]
    notes += _describe_client([facts for _, _, facts in known])
    return [cut(note, 4 * NAME_CHARACTERS) for note in notes[:MOST_NOTES]]


def _find(scores: Mapping[str, Score]) -> LoadFacts | None:
    return next((s.load for s in scores.values() if s.load and s.load.requests), None)


def _describe_limits(known: Sequence[LoadFacts]) -> Iterator[str]:
    limits = {name: float(value) for facts in known for name, value in facts.limits.items()}
    if limits:
        words = [f"{name} at most {1e3 * value:g} ms" for name, value in limits.items()]
        yield f"Goodput counts the answers with {join_words(words)}."


def _describe(facts: LoadFacts) -> Iterator[str]:
    """What is to be known of one level."""
    if facts.is_overloaded:
        yield "requests came faster than answers, so times grow with the length of the run."
    for what, count in facts.errors.items():
        yield f"{count:,} of {facts.requests:,} requests failed: {what}."
    if facts.doubt:
        yield f"the server's counts of tokens are not believed: {facts.doubt}."
    if facts.several:
        yield (
            f"messages of {facts.several:,} of {facts.answered:,} answers are not single tokens, so"
            " gaps between them are not inter-token latencies, and TPOT may be too low."
        )
    if facts.short:
        yield f"{facts.short:,} of {facts.answered:,} answers ended before the tokens asked for."
    for name in ("serving_tpot", "serving_tokens_per_second"):
        if name in facts.absent:
            yield f"no {name.removeprefix('serving_')}: {facts.absent[name]}."


def _describe_client(known: Sequence[LoadFacts]) -> Iterator[str]:
    """What the client took itself: the worst of all levels."""
    costs = [facts.client for facts in known if facts.client]
    if not costs:
        return
    cpu, handling, lag = (
        max(float(cost.get(name, 0.0)) for cost in costs) for name in ("cpu", "handling", "lag_p99")
    )
    late, sent = sum(facts.late for facts in known), sum(facts.requests for facts in known)
    worst = max(float(facts.worst) for facts in known)
    yield (
        f"The client, at its worst level: {percent(cpu)} of a core, {percent(handling)} of the time"
        f" taking apart what came; its event loop was up to {1e3 * lag:.1f} ms late (p99)."
        f" {late:,} of {sent:,} requests were sent late, the worst {1e3 * worst:.1f} ms."
    )
