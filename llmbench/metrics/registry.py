"""The metrics of text by name: the one place that knows them all. A metric's library is imported
when the metric is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import metadata

from llmbench.config.plugins import load_object
from llmbench.data.text import Text
from llmbench.errors import UsageError, did_you_mean
from llmbench.metrics.copying import LongCopyShare, LongestCopy
from llmbench.metrics.diversity import AnswerBytes, Distinct2, Repetition4
from llmbench.metrics.exact_match import F1, Accuracy, ExactMatch
from llmbench.metrics.facts import FACTS
from llmbench.metrics.hf_evaluate import PREFIX, Plugged
from llmbench.metrics.metric import Metric
from llmbench.metrics.ngram_distance import NgramDistance
from llmbench.metrics.rouge import Rouge
from llmbench.metrics.sacrebleu import Bleu, Chrf, Ter
from llmbench.metrics.text import TextMetric

OF_PAIRS: dict[str, Callable[[], TextMetric]] = {
    "bleu": Bleu,
    "chrf": Chrf,
    "ter": Ter,
    "exact_match": ExactMatch,
    "f1": F1,
    "accuracy": Accuracy,
    "rouge1": lambda: Rouge("rouge1"),
    "rouge2": lambda: Rouge("rouge2"),
    "rougeL": lambda: Rouge("rougeL"),
}
OF_OUTPUTS: dict[str, Callable[[], TextMetric]] = {
    "distinct_2": Distinct2,
    "repetition_4": Repetition4,
    "answer_bytes": AnswerBytes,
}
BESIDE_TRAINING: dict[str, type[LongestCopy | LongCopyShare]] = {
    "longest_copy_bytes": LongestCopy,
    "long_copy_share": LongCopyShare,
}
BESIDE_HELD_OUT: dict[str, type[NgramDistance]] = {"ngram_distance": NgramDistance}
ENTRY_POINTS = "llmbench.metrics"
NAMES = (*OF_PAIRS, *OF_OUTPUTS, *BESIDE_TRAINING, *BESIDE_HELD_OUT)


def outside() -> dict[str, str]:
    """Metrics that other packages register, and where they live."""
    points = metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: point.value for point in points if point.name not in NAMES}


def _locate(name: str) -> str:
    """The file.py:Class or module:Class of a metric from outside; "" of any other name."""
    if name.startswith(PREFIX):
        return ""
    return name if ":" in name else outside().get(name, "")


def make_outside(name: str) -> TextMetric:
    """The metric of a registered name, file.py:Class or module:Class.

    Raises UsageError if it cannot be imported or made, or is not a complete TextMetric.
    """
    where = _locate(name)
    place, _, cls = where.rpartition(":")
    found = load_object(where)
    if not (isinstance(found, type) and issubclass(found, TextMetric)):
        raise UsageError(
            f"{cls!r} is not a TextMetric", where=place, hint="subclass llmbench.TextMetric"
        )
    try:
        made = found()
        metric, signature = made.metric, made.signature
    except Exception as error:
        raise UsageError(f"{cls}() raised {type(error).__name__}: {error}", where=place) from error
    if not isinstance(metric, Metric) or not isinstance(signature, str):
        raise UsageError(f"{cls} needs a Metric `metric` and a string `signature`", where=place)
    if metric.name in FACTS:
        raise UsageError(
            f"{cls} calls itself {metric.name!r}, which is a metric of llmbench", where=place
        )
    made.metric = replace(metric, is_custom=True)
    return made


def check(name: str, has_train: bool) -> None:
    """UsageError where `named` would not know a name, or would lack the training text; evaluate's
    own are looked for when they are asked for.
    """
    if name in BESIDE_TRAINING and not has_train:
        raise UsageError(f"the metric {name} compares with a text `train`, and there is none")
    if _locate(name):
        make_outside(name)
        return
    if name not in NAMES and not name.startswith(PREFIX):
        raise UsageError(
            f"no metric of text is called {name!r}",
            hint=did_you_mean(name, (*NAMES, *outside(), f"{PREFIX}NAME")),
        )


def named(
    name: str, *, train: Text | None = None, held_out: Text | None = None, key: str | None = None
) -> TextMetric:
    """The metric `name`: one of NAMES, or evaluate:NAME or evaluate:DIRECTORY for one of the
    library `evaluate`; evaluate:NAME:KEY is the number that it calls KEY.

    `train`: the text that the model learnt from, which the metrics of copying need. `held_out`:
    human text that it did not, which ngram_distance needs. `key`: which of its numbers a metric of
    `evaluate` is to give. What a metric does not need is ignored, so that all that is known may be
    given for every name. Raises UsageError for an unknown name, and where the text that a metric
    needs is not given.
    """
    if _locate(name):
        return make_outside(name)
    if name.startswith(PREFIX):
        own, _, of_these = name.removeprefix(PREFIX).partition(":")
        return Plugged(own, of_these or key)
    for table, text, role in (
        (BESIDE_TRAINING, train, "train"),
        (BESIDE_HELD_OUT, held_out, "held_out"),
    ):
        if name in table:
            if text is None:
                raise UsageError(
                    f"the metric {name} compares with a text, and none is given as `{role}`",
                    hint="it is for tasks that have one",
                )
            return table[name](text)
    check(name, train is not None)
    return (OF_PAIRS | OF_OUTPUTS)[name]()
