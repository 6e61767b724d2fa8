"""Groups of questions, as MMLU's subjects: the accuracy of each, and the mean of these, macro
accuracy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from llmbench import limits
from llmbench.data.text import Document
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ScoreRow
from llmbench.metrics.registry import create_metric
from llmbench.metrics.text import widen
from llmbench.results.outcome import SampleRow
from llmbench.results.signature import Signature
from llmbench.stats import ratio_interval
from llmbench.tasks.answers.choosing import name_norm

MACRO = FACTS["macro_accuracy"]


def weigh(documents: Sequence[Document], by: str) -> list[float]:
    """Return the weight of each question, by which the mean over all questions is that of the
    groups' means: n / (groups * questions of its group). `by`: the field that names its group.
    """
    sizes = Counter(document.fields[by] for document in documents)
    return [len(documents) / (len(sizes) * sizes[document.fields[by]]) for document in documents]


def add_macro(samples: Sequence[SampleRow], documents: Sequence[Document], by: str) -> None:
    """Put into the statistics of each sample what it adds to the macro accuracy."""
    for sample, weight in zip(samples, weigh(documents, by), strict=True):
        hit, _ = sample["statistics"]["accuracy"]
        sample["statistics"][MACRO.name] = [hit * weight, 1.0]


def score_macro(samples: Sequence[SampleRow], signature: str) -> ScoreRow:
    """Return the score of the macro accuracy, from samples that `add_macro` has seen."""
    values = [sample["statistics"][MACRO.name][0] for sample in samples]
    found = widen(ratio_interval(values, [1.0] * len(values)), MACRO.bounds)
    return MACRO.row(found.value, found.n, signature, found.low, found.high)


def simplify(name: str) -> str:
    """Return a name as a record has it: letters, digits, `_` and `-`."""
    return re.sub(r"[^\w-]", "_", name)


def name_groups(documents: Sequence[Document], by: str) -> list[str]:
    """Return what the group of each question is called in the record; [] if there are more groups
    than have rows of their own. Of groups whose names are alike but for signs, the later ones have
    a number.
    """
    found: dict[str, str] = {}
    for document in documents:
        group = document.fields[by]
        if group not in found:
            plain, count = simplify(group) or "_", 1
            name = plain
            while name in found.values():
                count += 1
                name = f"{plain}-{count}"
            found[group] = name
    return [found[d.fields[by]] for d in documents] if len(found) <= limits.GROUPS else []


def add_groups(samples: Sequence[SampleRow], groups: Sequence[str], norms: Sequence[str]) -> None:
    """Put into the statistics of each sample what it adds to the accuracies of its group."""
    for sample, group in zip(samples, groups, strict=True):
        for norm in norms:
            key = name_norm(norm, "accuracy")
            sample["statistics"][f"{key}:{group}"] = sample["statistics"][key]


def score_groups(
    samples: Sequence[SampleRow],
    groups: Sequence[str],
    chances: Sequence[float],
    norms: Sequence[str],
    signature: Signature,
) -> list[ScoreRow]:
    """Return the accuracies of each group, from samples that `add_groups` has seen.

    Args:
        chances: of each question, the share of its candidates that is right.
        signature: of the task, without the norm.
    """
    accuracy, scores = create_metric("accuracy"), list[ScoreRow]()
    for group in sorted(set(groups)):
        numbers = [number for number, name in enumerate(groups) if name == group]
        chance = sum(chances[number] for number in numbers) / len(numbers)
        for norm in norms:
            key = f"{name_norm(norm, 'accuracy')}:{group}"
            found = accuracy.value([samples[number]["statistics"][key] for number in numbers])
            assert found is not None
            signed = str(signature.extend(norm=norm))
            row = accuracy.metric.row(found.value, found.n, signed, found.low, found.high)
            row |= {"variant": key.removeprefix("accuracy"), "member": group, "chance": chance}
            scores.append(row)
    return scores
