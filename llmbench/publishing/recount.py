"""Values, intervals and ranks of a published run, computed again from its published samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmbench.metrics.facts import BITS_PER_BYTE, FACTS
from llmbench.metrics.metric import Metric
from llmbench.publishing.figures import Figure, name_figure
from llmbench.publishing.intervals import follows_interval
from llmbench.results.paired_tests import is_consistent
from llmbench.results.ranking import Items, rank_scores
from llmbench.results.record import Record, Score, is_ranked_by, metric_of, notes_key
from llmbench.results.samples import Opened, statistic_of
from llmbench.tasks.answers.averages import MEANS, average_tasks

BYTE_PERPLEXITY = "byte_perplexity"  # 2^(bits/byte), which the samples hold as bits
NOT_FOLLOWING = "does not follow from the published samples"
AVERAGED = {mean: of for of, mean in MEANS.items()}
Told = Callable[[float, str], None]


@dataclass(frozen=True)
class Followed:
    """How many values, intervals and ranks follow from the samples, and which do not. `without`:
    values that have nothing to follow from, because samples do not hold what they are made of, or
    were not published.
    """

    count: int
    intervals: int
    ranks: int
    contradicted: tuple[Figure, ...]
    without: int


@dataclass(frozen=True)
class _Checked:
    """A score; whether its value follows, and its interval. None: from nothing that is there."""

    score: Score
    value: bool | None
    interval: bool | None = None


def _ignore(share: float, what: str) -> None:
    """Nobody watches."""


def follow_samples(opened: Opened, report: Told = _ignore) -> Followed:
    """Compute each figure again from the published statistics of its items: values, intervals, and
    ranks by the paired tests. report: told the share of the tests that is done.
    """
    checked = [*_check_scores(opened), *_check_means(opened.record)]
    wrong = [_contradict(one.score, f"it {NOT_FOLLOWING}") for one in checked if one.value is False]
    wrong += [
        _contradict(one.score, f"its interval {_show_interval(one.score)} {NOT_FOLLOWING}")
        for one in checked
        if one.value and one.interval is False
    ]
    ranks, misplaced = _follow_ranks(opened, report)
    return Followed(
        sum(one.value is True for one in checked),
        sum(bool(one.value and one.interval) for one in checked),
        ranks,
        (*wrong, *misplaced),
        sum(one.value is None for one in checked),
    )


def _check_scores(opened: Opened) -> Iterator[_Checked]:
    cells: dict[tuple[str, str], list[Score]] = {}
    for score in opened.record.scores:
        if score.metric not in AVERAGED:
            cells.setdefault((score.model, score.task), []).append(score)
    for (model, task), scores in cells.items():
        items = opened.items(model, task, texts=False)
        for score in scores:
            name, metric = _find_statistic(score)
            found = [row for item in items if (row := item.statistics.get(name, []))]
            if metric.test in ("", "items") or not found or not math.isfinite(score.value):
                yield _Checked(score, None)
            elif not (metric.is_custom or len(found) == score.n) or not is_consistent(
                metric, found, score.value
            ):
                yield _Checked(score, False)
            else:
                yield _Checked(score, True, follows_interval(score, metric, found))


def _find_statistic(score: Score) -> tuple[str, Metric]:
    """What the statistics of a score are called, and the facts by which they give it."""
    if score.metric != BYTE_PERPLEXITY:
        return statistic_of(score), metric_of(score)
    name = statistic_of(score).replace(BYTE_PERPLEXITY, BITS_PER_BYTE, 1)
    return name, FACTS["word_perplexity"]  # of bytes instead of words


def _check_means(record: Record) -> Iterator[_Checked]:
    """Means over tasks, from the scores of these."""
    for score in record.scores:
        if score.metric not in AVERAGED:
            continue
        of = AVERAGED[score.metric]
        own = [s for s in record.scores if (s.model, s.metric) == (score.model, of)]
        tasks = [one.task for one in own]
        found, _ = average_tasks(score.task, of, tasks, [score.model], own)
        if not found or found[0].signature != score.signature:  # a mean over other tasks
            yield _Checked(score, None)
            continue
        pairs = [(score.value, found[0].value), *_pair_ends(score, found[0])]
        near = [a == b or _is_near(a, b) for a, b in pairs]
        yield _Checked(score, near[0], all(near[1:]))


def _pair_ends(one: Score, other: Score) -> list[tuple[float | None, float | None]]:
    return [(one.low, other.low), (one.high, other.high)]


def _is_near(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def _follow_ranks(opened: Opened, report: Told) -> tuple[int, list[Figure]]:
    """How many ranks the paired tests give again, and those that they give otherwise."""
    record, chosen = opened.record, _choose_ranked(opened)
    refused = [row.name for row in record.models if row.certificate and row.certificate.is_refused]
    again = [score.model_copy(update={"rank": None}) for score in chosen]
    proven = rank_scores(again, lambda score: _read_items(opened, score), refused, report)
    count, wrong = 0, list[Figure]()
    for score, other in zip(chosen, again, strict=True):
        key = notes_key(score.task, score.metric)
        notes = record.notes.tasks.get(key)
        beaten = sorted(notes.better_than.get(score.model, [])) if notes else []
        computed = proven[key]["better_than"].get(score.model, []) if key in proven else []
        if score.rank != other.rank:
            said = f"its rank {_show_rank(score)} {NOT_FOLLOWING}: {_show_rank(other)}"
            wrong.append(_contradict(score, said))
        elif beaten != computed:
            said = f"which models it is better than {NOT_FOLLOWING}"
            wrong.append(_contradict(score, said))
        else:
            count += score.rank is not None
    return count, wrong


def _choose_ranked(opened: Opened) -> list[Score]:
    """The scores of the tables of which every ranked model has samples."""
    tables: dict[tuple[str, str], list[Score]] = {}
    for score in opened.record.scores:
        if is_ranked_by(score):
            tables.setdefault((score.task, score.metric), []).append(score)
    return [
        score
        for scores in tables.values()
        if all(len(_read_items(opened, score)) for score in scores if score.rank is not None)
        for score in scores
    ]


def _read_items(opened: Opened, score: Score) -> Items:
    return Items.of(opened.table(score.model, score.task), score.metric)


def _contradict(score: Score, why: str) -> Figure:
    return Figure(*name_figure(score), float(score.value), None, 0.0, why)


def _show_interval(score: Score) -> str:
    low, high = ("none" if end is None else f"{end:.6g}" for end in (score.low, score.high))
    return f"{low} to {high}"


def _show_rank(score: Score) -> str:
    if score.rank is None:
        return "none"
    first, last = score.rank
    return str(first) if first == last else f"{first}-{last}"
