"""The sentences that a board begins with: which model is best, whether the difference is
statistically significant, and what the model costs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llmbench.metrics.facts import SPEED
from llmbench.results.record import ModelRow, Score

MOST_NAMES = 4  # of models in a sentence


@dataclass(frozen=True)
class Contender:
    """A model in a table: its value of the metric, as a number and as text, and its rank.

    `beats`: models that it is significantly better than; None if the record does not say.
    `is_rankable`: whether its value may be compared: no compressor's, nor an untrusted model's.
    `low`, `high`: the interval of the value, if there is one.
    """

    model: str
    value: float | None
    text: str
    rank: tuple[int, int] | None = None
    beats: Collection[str] | None = None
    cost: str = ""
    is_rankable: bool = True
    low: float | None = None
    high: float | None = None


def summarise(
    task: str, label: str, better: Literal["lower", "higher"] | None, models: Sequence[Contender]
) -> str:
    """Return which model is best on a task, whether that is significant, and its cost, or
    that none can be.

    Args:
        label: The metric's name.
        better: Its direction. Without one no model is best, and the result is "".
        models: Those of the table, in any order.
    """
    if better is None:
        return ""
    finite = [one for one in models if one.value is not None and math.isfinite(one.value)]
    if not finite:
        return f"No model has a finite {label} on {task}."
    rankable = [one for one in finite if one.is_rankable]
    if not rankable:
        return f"No model with a finite {label} on {task} can be ranked."
    ranked = [one for one in rankable if one.rank is not None]
    order = sorted(ranked or rankable, key=lambda one: _badness(one, better))
    best, others = order[0], order[1:]
    if not others:
        kind = "model measured"
        if len(models) > 1:
            of_finite = f"model with a finite {label}"
            kind = of_finite if len(finite) == 1 else "model that can be ranked"
            kind = "ranked model" if ranked else kind
        said = f"{best.model} is the only {kind} on {task} ({label} {best.text})."
    elif equal := [one.model for one in others if one.value == best.value]:
        said = f"{_list([best.model, *equal])} share the best {label} on {task} ({best.text})."
    elif not ranked:
        said = (
            f"{best.model} has the best {label} on {task} ({best.text}); whether the difference is"
            " statistically significant was not tested here."
        )
    else:
        said = _compare(task, label, best, [one.model for one in others])
    ahead = [
        one.model
        for one in finite
        if one not in order and _badness(one, better) < _badness(best, better)
    ]
    if ahead:
        are = "has a better value but is" if len(ahead) == 1 else "have better values but are"
        said += f" {_list(ahead)} {are} not ranked."
    return f"{said} {best.cost}".strip()


def _badness(one: Contender, better: Literal["lower", "higher"]) -> float:
    assert one.value is not None
    return -one.value if better == "higher" else one.value


def _compare(task: str, label: str, best: Contender, others: Sequence[str]) -> str:
    """The sentence on the best of at least two ranked models."""
    beats = best.beats
    if beats is None and best.rank == (1, 1):
        beats = others
    lead = f"{best.model} has the best {label} on {task} ({best.text})"
    if beats is None:
        return f"{lead}; the record does not say whether the difference is significant."
    close = [name for name in others if name not in beats]
    many = f"the other {len(others)} ranked models" if len(others) > 1 else others[0]
    if not close:
        return (
            f"{best.model} is best on {task} ({label} {best.text}): the difference from {many} is"
            " statistically significant."
        )
    if len(close) == len(others):
        return f"{lead}, but the difference from {many} is not statistically significant."
    beaten = len(others) - len(close)
    return (
        f"{lead}, but the difference from {_list(close)} is not statistically significant; it is"
        f" significantly better than the other {beaten if beaten > 1 else 'model'}"
        f"{' ranked models' if beaten > 1 else ''}."
    )


def describe_cost(model: ModelRow, scores: Mapping[str, Score], metric: str) -> str:
    """Return a sentence on what a model costs, as far as it was measured.

    Args:
        scores: The model's scores by record.key_of.
        metric: The one of the table; a table of speed says the speed already.
    """
    rate = scores.get(SPEED)
    gpu, ram = scores.get("peak_gpu_reserved"), scores.get("peak_ram")
    memory = gpu if gpu is not None and gpu.value else ram
    known, unknown = [], []
    if rate is not None:
        known += [f"{_amount(float(rate.value))} bytes/s decode"] if metric != SPEED else []
    else:
        unknown.append("speed")
    if memory is not None:
        kind = "GPU memory" if memory is gpu else "RAM"
        known.append(f"{_amount(float(memory.value) / 2**20)} MiB peak {kind}")
    else:
        unknown.append("memory")
    if model.training is not None and model.training.seconds is not None:
        known.append(f"{_amount(float(model.training.seconds))} s of training")
    said = f"Cost: {', '.join(known)}." if known else ""
    verb = "was" if unknown == ["speed"] or unknown == ["memory"] else "were"
    missing = f"Its {' and '.join(unknown)} {verb} not measured." if unknown else ""
    return f"{said} {missing}".strip()


def _amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"


def _list(names: Sequence[str]) -> str:
    """Names in a sentence, and how many more there are."""
    shown = [*names[:MOST_NAMES]]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def summarise_nothing(failures: int) -> str:
    """Return the sentence of a board without a table."""
    if not failures:
        return "Nothing was measured."
    cells = "the only cell failed" if failures == 1 else f"all {failures} cells failed"
    return f"Nothing was measured: {cells}."
