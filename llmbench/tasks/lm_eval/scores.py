"""From lm-eval's values of single questions to scores: its filters, metrics and totals, with the
intervals and the statistics for paired tests that every other score has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llmbench.ledger import two_to
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ANY, UNIT_INTERVAL, Metric, ScoreRow, Variant
from llmbench.metrics.text import LEAST_SAMPLES, bootstrap, widen
from llmbench.results.signature import Signature
from llmbench.stats import Interval, ratio_interval, wilson_interval
from llmbench.tasks.answers.choosing import is_near
from llmbench.tasks.answers.groups import simplify
from llmbench.tasks.lm_eval.questions import Question

Key = tuple[str, str]  # a metric of lm-eval's, and a filter
Values = Mapping[int, Any]  # number of a question -> what the metric has for it

# lm-eval's name -> the metric and the variant that say the same here
SHARES = {
    "acc": ("accuracy", ""),
    "acc_norm": ("accuracy", ":char"),
    "acc_bytes": ("accuracy", ":byte"),
    "exact_match": ("exact_match", ""),
}
NEAR = {  # lm-eval's name of a metric of choices, and the norm by which it chooses
    "acc": "none",
    "f1": "none",
    "mcc": "none",
    "acc_norm": "char",
    "acc_bytes": "byte",
    "acc_mutual_info": "pmi",
}
OF_TEXT = ("word_perplexity", "byte_perplexity", "bits_per_byte")
RESAMPLES = 200  # of a total that is no mean: each is computed by lm-eval's own code
SEED = 12345
NO_FILTER = "none"


@dataclass(frozen=True)
class Measured:
    """A metric of a task. `statistics`: number of a question -> [numerator, denominator], of which
    the value is the ratio, or 2 to its power; {} if it has no paired test. `total`: as lm-eval has
    it, which is the value but for perplexities of another base.
    """

    metric: Metric
    variant: str
    interval: Interval
    statistics: Mapping[int, list[float]]
    key: Key
    member: str = ""

    @property
    def name(self) -> str:
        """What its statistics are called in samples."""
        return f"{self.metric.name}{self.variant}"

    def row(self, signature: Signature) -> ScoreRow:
        """Its score."""
        metric, filter = self.key
        found, signed = self.interval, signature.extend(f"metric:{metric}|filter:{filter}")
        row = self.metric.row(found.value, found.n, str(signed), found.low, found.high)
        if self.variant:
            row["variant"] = self.variant
        if self.member:
            row["member"] = self.member
        return row


def evaluate(
    task: Any, questions: Sequence[Question], docs: Sequence[Any], replies: Sequence[Any]
) -> dict[Key, dict[int, Any]]:
    """Return what each metric has for each question, by lm-eval's filters and its own code.

    Args:
        questions: of this task alone, like `docs` and `replies`, in the same order.
    """
    from lm_eval.api.instance import Instance

    task._instances, by_question = [], []
    for question, doc, of_asks in zip(questions, docs, replies, strict=True):
        own = []
        for at, (ask, resps) in enumerate(zip(question.asks, of_asks, strict=True)):
            where = (question.member, question.number, question.repeats)
            own.append(Instance(ask.kind, doc, ask.arguments, at, where, list(resps)))
        by_question.append(own)
        task._instances += own
    task.apply_filters()
    found: dict[Key, dict[int, Any]] = {}
    for filter in task._instances[0].filtered_resps:
        for number, (doc, own) in enumerate(zip(docs, by_question, strict=True)):
            values = task.process_results(doc, [one.filtered_resps[filter] for one in own])
            for metric, value in values.items():
                found.setdefault((metric, filter), {})[number] = value
    return found


def measure(task: Any, values: Mapping[Key, Values]) -> list[Measured]:
    """Return all metrics of a task, in its order; of several filters the first has no suffix."""
    first: dict[str, str] = {}
    found = []
    for (metric, filter), of_questions in values.items():
        if metric == "bypass":
            continue
        usual = first.setdefault(metric, filter)
        suffix = "" if filter == usual else f":{simplify(filter)}"
        found.append(_measure(task, (metric, filter), of_questions, suffix))
    return found


def find_near(task: Any, doc: Any, bits: Sequence[float]) -> list[str]:
    """Return the norms by which the two best candidates of a question are nearly equal; [] of a
    task that chooses by rules of its own. `bits`: of all requests, for PMI those without the prompt
    behind them.
    """
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results):
        return []
    choices = list(task.doc_to_choice(doc))
    count = len(choices)
    own, free = bits[:count], bits[count:]
    sums = [max(1.0, value) for value in own]
    sizes = {
        "none": [1] * count,
        "char": [len(choice) for choice in choices],
        "byte": [len(choice.encode()) for choice in choices],
    }
    metrics = task.aggregation()
    wanted = dict.fromkeys(norm for metric, norm in NEAR.items() if metric in metrics)
    found = [
        norm
        for norm in wanted
        if norm in sizes and is_near(_divide(own, sizes[norm]), _divide(sums, sizes[norm]))
    ]
    if "pmi" in wanted and len(free) == count:
        gains = [a - b for a, b in zip(own, free, strict=True)]
        if is_near(gains, [max(pair) for pair in zip(sums, free, strict=True)]):
            found.append("pmi")
    return found


def _divide(values: Sequence[float], sizes: Sequence[int]) -> list[float]:
    return [value / max(1, size) for value, size in zip(values, sizes, strict=True)]


def find_total(task: Any, metric: str) -> Callable[[list[Any]], float]:
    """Return lm-eval's function from the values of all questions to the task's; the mean if a task
    names none, as lm-eval has it.
    """
    from lm_eval.api.metrics import mean

    total: Callable[[list[Any]], float] = task.aggregation().get(metric, mean)
    return total


def _measure(task: Any, key: Key, values: Values, suffix: str) -> Measured:
    """One metric of a task, by the kind of its total."""
    from lm_eval.api import metrics as theirs

    metric, total = key[0], find_total(task, key[0])
    value = float(total(list(values.values())))
    ratios = (theirs.weighted_perplexity, theirs.bits_per_byte)
    if metric in OF_TEXT and total in ratios:
        pairs = {
            number: [-nats / math.log(2), float(size)] for number, (nats, size) in values.items()
        }
        return _measure_bits(FACTS[metric], suffix, pairs, key)
    if total is theirs.perplexity:
        bits = {number: [-nats / math.log(2), 1.0] for number, nats in values.items()}
        return _measure_bits(FACTS["word_perplexity"], suffix, bits, key)
    better = task.higher_is_better().get(metric, True)
    if total is theirs.mean and all(isinstance(one, _NUMBERS) for one in values.values()):
        return _measure_mean(key, better, suffix, {n: float(x) for n, x in values.items()})
    facts = _define(metric, better, "as lm-eval computes it", is_share=False, test="")
    interval = _resample(value, list(values.values()), total)
    return Measured(facts, suffix, interval, {}, key)


_NUMBERS = (bool, int, float, np.number, np.bool_)


def _measure_bits(
    metric: Metric, suffix: str, pairs: Mapping[int, list[float]], key: Key
) -> Measured:
    """Bits over bytes or words, or 2 to the power of them."""
    tops, bottoms = zip(*pairs.values(), strict=True)
    found = ratio_interval(tops, bottoms)
    if metric.unit == "perplexity":
        low, high = (None if end is None else two_to(end) for end in (found.low, found.high))
        found = Interval(two_to(found.value), low, high, found.n)
    return Measured(metric, suffix, found, pairs, key)


def _measure_mean(key: Key, better: bool, suffix: str, values: Mapping[int, float]) -> Measured:
    """A mean; of values that are all 0 or 1 a share, with Wilson's interval."""
    metric, n = key[0], len(values)
    is_share = all(value in (0.0, 1.0) for value in values.values())
    if is_share:
        name, variant = SHARES.get(metric, ("", ""))
        facts = FACTS[name] if name else _define(metric, better, "a share", True, "share")
        found = wilson_interval(sum(value == 1.0 for value in values.values()), n)
    else:
        facts, variant = _define(metric, better, "a mean", _is_within(values), "mean"), ""
        table = np.asarray(list(values.values()))
        found = bootstrap(float(table.mean()), n, lambda counts: (counts @ table / n).tolist())
        found = widen(found, facts.bounds)
    statistics = {number: [value, 1.0] for number, value in values.items()}
    return Measured(facts, f"{variant}{suffix}", found, statistics, key)


def _is_within(values: Mapping[int, float]) -> bool:
    return all(0.0 <= value <= 1.0 for value in values.values())


def _define(metric: str, better: bool, what: str, is_share: bool, test: str) -> Metric:
    """The facts of a metric that is lm-eval's alone; of another name where llmbench has one of the
    same name.
    """
    name = simplify(metric)
    if name in FACTS or not name[:1].isalpha():
        name = f"lm_eval_{name}"
    return Metric(
        name,
        "share" if is_share else "",
        "higher" if better else "lower",
        f"lm-eval's {metric}, {what} over the questions",
        bounds=UNIT_INTERVAL if is_share else ANY,
        variants=(Variant("", metric),),
        format="percent" if is_share else "number",
        test=test,  # type: ignore[arg-type]
        is_custom=True,
    )


def _resample(value: float, values: list[Any], total: Callable[[list[Any]], float]) -> Interval:
    """A total that is no mean, with the normal interval of a bootstrap of the questions."""
    n = len(values)
    if n < LEAST_SAMPLES or not math.isfinite(value):
        return Interval(value, None, None, n)
    rng = np.random.default_rng(SEED)
    try:
        drawn = [float(total([values[i] for i in rng.integers(0, n, n)])) for _ in range(RESAMPLES)]
    except Exception:  # a total that some choice of questions does not have
        return Interval(value, None, None, n)
    half = 1.96 * float(np.std(drawn, ddof=1))
    if not math.isfinite(half) or half <= 1e-9 * max(1.0, abs(value)):
        return Interval(value, None, None, n)
    return Interval(value, value - half, value + half, n)


def join_members(
    members: Mapping[str, Sequence[Measured]],
    offsets: Mapping[str, Sequence[int]],
    key: Key,
    is_by_size: bool,
    member: str = "",
) -> Measured | None:
    """Return a group's score by a metric: the mean over all questions, or over tasks.

    Args:
        members: of each task its metrics, whose statistics go by numbers in the task.
        offsets: of each task, the numbers of its questions in the group.
        is_by_size: whether a task counts as often as it has questions, as lm-eval's
            `weight_by_size`.
        member: the group's name, if it is one in another.

    None if no task has the metric, or if it is no mean.
    """
    found = {
        name: one
        for name, own in members.items()
        for one in own
        if one.key == key and one.statistics
    }
    if not found or any(one.metric.test not in ("share", "mean") for one in found.values()):
        return None
    some = next(iter(found.values()))
    sizes = {name: len(one.statistics) for name, one in found.items()}
    n = sum(sizes.values())
    statistics = {}
    for name, one in found.items():
        weight = 1.0 if is_by_size else n / (len(found) * sizes[name])
        for number, (top, bottom) in one.statistics.items():
            statistics[offsets[name][number]] = [top * weight, bottom * weight]
    tops, bottoms = zip(*statistics.values(), strict=True)
    if is_by_size and some.metric.test == "share":
        own = replace(some, interval=wilson_interval(sum(top == 1.0 for top in tops), n))
        return beneath(replace(own, statistics=statistics), member)
    metric = some.metric if is_by_size else _average(key[0], some.metric)
    interval = widen(ratio_interval(tops, bottoms), metric.bounds)
    return beneath(Measured(metric, "", interval, statistics, key), member)


def _average(name: str, metric: Metric) -> Metric:
    """The facts of a mean over tasks."""
    is_share = metric.bounds == UNIT_INTERVAL
    made = _define(f"{name}_macro", metric.better == "higher", "", is_share, "ratio")
    return replace(made, help=f"lm-eval's {name}, the mean over the tasks of the group")


def move(one: Measured, offsets: Sequence[int], member: str) -> Measured:
    """Return a member's metric beneath its group's."""
    moved = {offsets[number]: row for number, row in one.statistics.items()}
    return beneath(replace(one, statistics=moved), member)


def beneath(one: Measured, member: str) -> Measured:
    """Return a metric as that of a member of a group; as it is if `member` is empty."""
    return replace(one, variant=f"{one.variant}:{member}", member=member) if member else one


def join_group(
    group: Any, members: Mapping[str, Sequence[Measured]], places: Mapping[str, Sequence[int]]
) -> list[Measured]:
    """Return a group's scores, then those of the groups in it and of its tasks, beneath it."""
    found = list[Measured]()
    for one in (group, *group.get_all_groups()):
        names = [task.task_name for task in one.get_all_tasks()]
        own = {name: members[name] for name in names if name in members}
        inner = "" if one is group else simplify(one.name)
        for entry in one.aggregate_metric_list or ():
            for filter in entry.filter_list or _find_filters(entry.metric, own):
                key: Key = (entry.metric, filter)
                joined = join_members(own, places, key, entry.weight_by_size, inner)
                found += [] if joined is None else [joined]
    for name, metrics in members.items():
        found += [move(one, places[name], simplify(name)) for one in metrics]
    return found


def _find_filters(metric: str, members: Mapping[str, Sequence[Measured]]) -> list[str]:
    """The filters of a metric, as lm-eval looks for them where a group names none."""
    return sorted({one.key[1] for own in members.values() for one in own if one.key[0] == metric})
