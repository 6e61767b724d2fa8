"""The metrics of text by name: built in, from the entry-point group `llmbench.metrics`, or by
file.py:Class and module:Class. A metric's library is imported when the metric is asked for.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from llmbench.config.plugins import class_place, load_object, source_files
from llmbench.data.text import Text
from llmbench.errors import UsageError, did_you_mean
from llmbench.metrics.copying import LongCopyShare, LongestCopy
from llmbench.metrics.diversity import AnswerBytes, Distinct2, Repetition4
from llmbench.metrics.exact_match import F1, Accuracy, ExactMatch
from llmbench.metrics.facts import FACTS
from llmbench.metrics.hf_evaluate import PREFIX, EvaluateMetric
from llmbench.metrics.metric import Metric
from llmbench.metrics.ngram_distance import NgramDistance
from llmbench.metrics.rouge import Rouge
from llmbench.metrics.sacrebleu import Bleu, Chrf, ChrfPlusPlus, Ter
from llmbench.metrics.text import TextMetric

ENTRY_POINTS = "llmbench.metrics"
OF_PAIRS: dict[str, Callable[[], TextMetric]] = {
    "bleu": Bleu,
    "chrf": Chrf,
    "chrf_pp": ChrfPlusPlus,
    "ter": Ter,
    "exact_match": ExactMatch,
    "f1": F1,
    "accuracy": Accuracy,
    "rouge1": lambda: Rouge("rouge1"),
    "rouge2": lambda: Rouge("rouge2"),
    "rougeL": lambda: Rouge("rougeL"),
    "rougeLsum": lambda: Rouge("rougeLsum"),
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
BLEU = "bleu:"  # before the name of one of sacrebleu's tokenizers


def read_metric(entry: object) -> object:
    """Return the name of a metric that a suite gives as `bleu: {tokenize: zh}`, or the entry.
    ValueError for any other mapping.
    """
    match entry:
        case {"bleu": {"tokenize": str(tokenizer), **rest}, **more} if not rest and not more:
            return f"{BLEU}{tokenizer}"
        case {"bleu": {**settings}, **more} if not more and settings.keys() - {"tokenize"}:
            wrong = next(iter(settings.keys() - {"tokenize"}))
            raise ValueError(f"`bleu` has no setting {wrong!r}: write bleu: {{tokenize: zh}}")
        case {"bleu": _, **more} if not more:
            raise ValueError("write bleu: {tokenize: NAME}, such as zh, char or intl")
        case {**settings}:
            named = ", ".join(map(repr, settings)) or "nothing"
            hint = "each metric is an entry of its own, and `bleu` alone has a setting, `tokenize`"
            raise ValueError(f"a mapping with {named} is no metric: {hint}")
    return entry


MetricName = Annotated[
    str, BeforeValidator(read_metric, json_schema_input_type=str | dict[str, dict[str, str]])
]
NAMES = (*OF_PAIRS, *OF_OUTPUTS, *BESIDE_TRAINING, *BESIDE_HELD_OUT)


def find_outside() -> dict[str, str]:
    """Return the metrics of other packages: name -> module:Class."""
    points = metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: point.value for point in points if point.name not in NAMES}


def anchor_metric(name: str, folder: Path) -> str:
    """Return the name with its path, if it has one, made absolute: paths are relative to the suite
    in `folder`.
    """
    if name.startswith(PREFIX):
        place, colon, key = name.removeprefix(PREFIX).partition(":")
        beside = folder / Path(place).expanduser()
        if not place or not (beside.is_dir() or place.startswith((".", "/", "~"))):
            return name
        return f"{PREFIX}{beside.resolve()}{colon}{key}"
    file, _, cls = name.rpartition(":")
    return f"{(folder / Path(file).expanduser()).resolve()}:{cls}" if file.endswith(".py") else name


def check_metric(name: str, has_train: bool) -> str:
    """Return the name that a metric has in a record.

    Raises UsageError if `create_metric` would not know it, if its class or folder is wrong, or if
    it needs a training text and there is none. A metric of `evaluate` by its name on the hub is
    only looked for when it is created.
    """
    if name in BESIDE_TRAINING and not has_train:
        raise UsageError(f"the metric {name} compares with a text `train`, and there is none")
    if name.startswith(PREFIX):
        _check_script(name.removeprefix(PREFIX).partition(":")[0])
        return name
    if name.startswith(BLEU):
        return Bleu(name.removeprefix(BLEU)).metric.name
    return name if name in NAMES else _create_custom(name).metric.name


def _check_script(place: str) -> None:
    """UsageError if a folder has no metric of `evaluate`."""
    folder = Path(place)
    if not folder.is_absolute():
        return
    script = folder / f"{folder.name}.py"
    if not script.is_file():
        raise UsageError(
            f"there is no metric of `evaluate` in {folder}", hint=f"it needs the script {script}"
        )
    try:
        ast.parse(script.read_bytes())
    except SyntaxError as error:
        raise UsageError(
            f"syntax error: {error.msg}", where=f"{script}:{error.lineno}:{error.offset}"
        ) from None


def _load_class(name: str) -> type[TextMetric]:
    """The class of a metric from outside. UsageError if there is none, or if it is not a complete
    metric.
    """
    outside = find_outside()
    spec = outside.get(name, name)
    if ":" not in spec:
        raise UsageError(
            f"there is no metric {name!r}",
            hint=did_you_mean(name, (*NAMES, *outside, f"{PREFIX}NAME")),
        )
    cls = load_object(spec)
    if not (isinstance(cls, type) and issubclass(cls, TextMetric)):
        raise UsageError(
            f"{spec.rpartition(':')[2]!r} is not a TextMetric",
            where=class_place(cls) if isinstance(cls, type) else spec.rpartition(":")[0],
            hint="subclass llmbench.TextMetric",
        )
    where = class_place(cls)
    missing = sorted(cls.__abstractmethods__)
    if missing:
        raise UsageError(f"{cls.__name__} does not define {', '.join(missing)}", where=where)
    metric = vars(cls).get("metric")
    if not isinstance(metric, Metric):
        raise UsageError(
            f"{cls.__name__} has no `name` and no `metric`", where=where, hint='name = "my_metric"'
        )
    if metric.name in FACTS:
        raise UsageError(
            f"{cls.__name__} calls itself {metric.name!r}, which is a metric of llmbench",
            where=where,
            hint="rename it",
        )
    if not isinstance(cls.signature, str):
        raise UsageError(f"the `signature` of {cls.__name__} is not a string", where=where)
    return cls


def _create_custom(name: str) -> TextMetric:
    cls = _load_class(name)
    try:
        made = cls()
    except Exception as error:  # whatever somebody's class does
        raise UsageError(
            f"{cls.__name__}() raised {type(error).__name__}: {error}", where=name
        ) from error
    made.metric = replace(cls.metric, is_custom=True)
    spec = find_outside().get(name, name)
    code = hashlib.sha256(b"".join(file.read_bytes() for file in source_files(spec)))
    mark = f"metric:{cls.metric.name}|code:{code.hexdigest()[:16]}"
    made.signature = f"{mark}|{made.signature}" if made.signature else mark
    return made


def identify_metric(name: str) -> str:
    """Return what sets a metric apart from the others of a task: the name of BLEU by another
    tokenizer than the usual one has it, any other metric's is that in a record.
    """
    return name.removesuffix(f":{Bleu.TOKENIZER}") if name.startswith(BLEU) else name


def create_metrics(
    names: Sequence[str], *, train: Text | None = None, held_out: Text | None = None
) -> list[TextMetric]:
    """Return the metrics of a task; see `create_metric`."""
    return [create_metric(name, train=train, held_out=held_out) for name in names]


def create_metric(
    name: str, *, train: Text | None = None, held_out: Text | None = None, key: str | None = None
) -> TextMetric:
    """Return the metric `name`: one of NAMES, bleu:TOKENIZER, an entry point's, file.py:Class,
    module:Class, or evaluate:NAME or evaluate:FOLDER for one of the library `evaluate`
    (evaluate:NAME:KEY is the number that it calls KEY).

    Args:
        train: The text that the model learnt from, which the metrics of copying need.
        held_out: Human text that it did not learn from, which ngram_distance needs.
        key: Which of its numbers a metric of `evaluate` gives.

    A metric ignores what it does not need. Raises UsageError for an unknown name, and if the text
    that a metric needs is not given.
    """
    if name.startswith(PREFIX):
        own, _, number = name.removeprefix(PREFIX).partition(":")
        return EvaluateMetric(own, number or key)
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
    if name.startswith(BLEU):
        made = Bleu(name.removeprefix(BLEU))
        made.variant = identify_metric(name).removeprefix(BLEU.rstrip(":"))
        return made
    if name not in NAMES:
        return _create_custom(name)
    return (OF_PAIRS | OF_OUTPUTS)[name]()
