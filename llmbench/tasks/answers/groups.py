"""The mean of the accuracies of groups of questions, as of MMLU's subjects: macro accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llmbench.data.text import Document
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ScoreRow
from llmbench.metrics.text import widen
from llmbench.results.outcome import SampleRow
from llmbench.stats import ratio_interval

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
