"""Answers that a metric leaves out, as too short: counted in its score, or said if it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from llmbench.errors import Unsupported
from llmbench.metrics.facts import LEFT_OUT
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import SampleRow


class UncountedRow(TypedDict, total=False):
    """What a score says of the answers that its metric leaves out; nothing if there are none."""

    uncounted: int
    answers: int


class Uncounted:
    """What the metrics of these samples leave out. The statistics of a sample go by the metric's
    name, with the decoding if there are two; of one that is left out they are empty.
    """

    def __init__(self, samples: Sequence[SampleRow]):
        rows = [row for sample in samples for row in sample["statistics"].items()]
        self._answers = Counter(name for name, _ in rows)
        self._silent = Counter(name for name, numbers in rows if not numbers)
        self._absent: dict[str, str] = {}

    def add(self, name: str, rows: Sequence[Sequence[float]]) -> None:
        """Take in what a metric has for each sample, if their statistics did not have it yet."""
        self._answers[name] += len(rows)
        self._silent[name] += sum(not row for row in rows)

    def count(self, name: str) -> UncountedRow:
        """Return what the score of a metric says of the answers that it leaves out."""
        if not self._silent[name]:
            return {}
        return {"uncounted": self._silent[name], "answers": self._answers[name]}

    def note_absent(self, name: str) -> None:
        """Note that a metric has no value because it leaves out all answers."""
        metric, _, decoding = name.partition(":")
        why = LEFT_OUT.get(metric, "it gives none of them a value")
        answers = f"{decoding} answers" if decoding in ("greedy", "sampled") else "answers"
        self._absent[name] = f"all {self._answers[name]} {answers} are left out: {why}"

    def add_to(self, scores: Sequence[ScoreRow]) -> None:
        """Put the reasons into the first score. Raises Unsupported if there is none to put them
        into.
        """
        if not self._absent:
            return
        if not scores:
            said = "; ".join(f"{name}: {why}" for name, why in self._absent.items())
            raise Unsupported(
                f"no metric counts any answer: {said}",
                hint="larger `max_bytes`, or another of `metrics`",
            )
        scores[0]["absent"] = {**scores[0].get("absent", {}), **self._absent}
