"""Any metric of Hugging Face's library `evaluate` as a column: by its name there, or by the
directory of its script.

Such a metric runs its own script: one by name is fetched from the hub and run as it is there, one
in a directory is what you put there. The library is imported when such a metric is asked for, and
no sooner: it takes some 8 seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llmbench.errors import UsageError, did_you_mean
from llmbench.hardware.machine import version
from llmbench.metrics.metric import ANY, Metric, Variant
from llmbench.metrics.text import TextMetric, as_numbers, as_text, bootstrap, widen
from llmbench.stats import Interval

PREFIX = "evaluate:"


class EvaluateMetric(TextMetric):
    """The number that the metric calls by its own name, or its only one, or the one called `key`;
    in its own unit, which it does not tell, and with neither direction said to be better.

    Where it gives a list with a number for each sample, the value is their mean and has a bootstrap
    interval; where it gives one number for all samples, there is no interval. Half a surrogate
    pair, which these metrics' tables cannot hold, is given to it as U+FFFD.

    Raises UsageError where the metric cannot be loaded or does not take predictions (and
    references) alone; `value` raises it where the metric fails on these texts or gives no such
    number.
    """

    def __init__(self, name: str, key: str | None = None):
        self._name, self._key = name, key
        self._values: list[float] | None = None  # of each sample, of the last call of `value`
        self._module = _load(name)
        names = set(self._module._feature_names())
        if "predictions" not in names or names - {"predictions", "references"}:
            raise UsageError(
                "a metric of text takes predictions and references, and this one"
                f" {_list_names(names)}",
                where=PREFIX + name,
            )
        self.needs_reference = "references" in names
        label = (
            PREFIX + (Path(name).name if Path(name).is_dir() else name) + (f":{key}" if key else "")
        )
        self.metric = Metric(
            label,
            "",
            None,
            f"{self._module.name} as the library evaluate computes it",
            bounds=ANY,
            variants=(Variant("", label),),
            is_custom=True,
        )
        self.signature = (
            f"{label}|script:{str(self._module._hash)[:16]}|evaluate:{version('evaluate')}"
        )

    def statistics(self, output: str, reference: str) -> list[float]:
        """The sample itself, since such a metric sees all samples at once: the length of the
        output, the output, the reference.
        """
        said, wanted = (as_numbers(_whole(text)) for text in (output, reference))
        return [float(len(said)), *said, *wanted]

    def combine(self, rows: Sequence[Sequence[float]]) -> list[float]:
        raise UsageError(
            f"{self.metric.name} cannot combine several answers to one prompt", hint="seeds: 1"
        )

    def comparable_rows(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Return the metric's own number of each sample; [] of all if it gives one for all."""
        if self._values is None:
            return [[] for _ in rows]
        values = iter(self._values)
        return [[next(values), 1.0] if row else [] for row in rows]

    def value(self, rows: Sequence[Sequence[float]]) -> Interval | None:
        kept = [row for row in rows if row]
        self._values = None
        if not kept:
            return None
        texts = {"predictions": [as_text(row[1 : 1 + int(row[0])]) for row in kept]}
        if self.needs_reference:
            texts["references"] = [as_text(row[1 + int(row[0]) :]) for row in kept]
        try:
            result = self._module.compute(**texts)
        except Exception as error:  # whatever the metric's own script raises
            raise UsageError(
                f"the metric failed: {type(error).__name__}: {error}", where=PREFIX + self._name
            ) from error
        found = self._choose_value(result)
        if isinstance(found, float):
            return Interval(found, None, None, len(kept))
        values = np.asarray(found)
        if len(values) == len(kept):
            self._values = list(found)
            self.metric = replace(self.metric, test="mean")
        else:
            raise UsageError(
                f"the metric gave {len(values)} numbers for {len(kept)} samples",
                where=PREFIX + self._name,
            )
        interval = bootstrap(
            math.fsum(found) / len(kept),
            len(kept),
            lambda counts: (counts @ values / len(kept)).tolist(),
        )
        return widen(interval, self.metric.bounds)

    def _choose_value(self, result: Any) -> float | list[float]:
        numbers = (
            {
                str(key): number
                for key, value in result.items()
                if (number := _number(value)) is not None
            }
            if isinstance(result, Mapping)
            else {}
        )
        own = self._key or (
            self._module.name if self._module.name in numbers else Path(self._name).stem
        )
        if own in numbers:
            return numbers[own]
        if len(numbers) == 1 and not self._key:
            return next(iter(numbers.values()))
        hint = (
            did_you_mean(own, numbers)
            if self._key
            else f"say which, as in evaluate:NAME:KEY: {_list_names(numbers)}"
            if numbers
            else ""
        )
        raise UsageError(f"the metric gave no number {own!r}", where=PREFIX + self._name, hint=hint)


def _load(name: str) -> Any:
    try:
        import evaluate

        return evaluate.load(name)
    except (
        Exception
    ) as error:  # network, files, missing packages, and what the script itself raises
        what = f"the metric cannot be loaded: {type(error).__name__}: {error}"
        hint = (
            "give its name on the hub, where that can be reached or it was loaded before, or a"
            " directory DIR with the script DIR/DIR.py"
        )
        raise UsageError(what, where=PREFIX + name, hint=hint) from error


def _number(value: Any) -> float | list[float] | None:
    """A number, or a list of them; None of anything else."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.ndim > 1:
            return None
    except ValueError:  # lists of different lengths
        return None
    return [float(number) for number in array] if array.ndim else float(array)


def _whole(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _list_names(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(sorted(names))
