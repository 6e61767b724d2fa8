"""Answers that a metric leaves out, as too short: counted in its score, or said if it has none."""

from __future__ import annotations

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
        self._samples = samples
        self._absent: dict[str, str] = {}

    def _find(self, name: str) -> list[list[float]]:
        """The statistics of the answers that a metric was asked about."""
        return [s["statistics"][name] for s in self._samples if name in s["statistics"]]

    def count(self, name: str) -> UncountedRow:
        """Return what the score of a metric says of the answers that it leaves out."""
        rows = self._find(name)
        silent = sum(not numbers for numbers in rows)
        return {"uncounted": silent, "answers": len(rows)} if silent else {}

    def note_absent(self, name: str) -> None:
        """Note that a metric has no value because it leaves out all answers."""
        metric, _, decoding = name.partition(":")
        why = LEFT_OUT.get(metric, "it gives none of them a value")
        answers = f"{decoding} answers" if decoding in ("greedy", "sampled") else "answers"
        self._absent[name] = f"all {len(self._find(name))} {answers} are left out: {why}"

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
