"""ROUGE (Lin 2004) as the package rouge-score counts it: the F-measure of each sample, and their
mean.

Words are runs of a to z and 0 to 9, as in Lin's program: any other letter ends one, and an output
without any is 0.
"""

from __future__ import annotations

from typing import Any, Literal

from llmbench.hardware.machine import version
from llmbench.metrics.facts import FACTS
from llmbench.metrics.text import TextMetric

RougeName = Literal["rouge1", "rouge2", "rougeL"]


class Rouge(TextMetric):
    """`name`: rouge1, rouge2 or rougeL; without stemming, from 0 to 1."""

    def __init__(self, name: RougeName):
        from rouge_score.rouge_scorer import RougeScorer

        self._name = name
        self._scorer: Any = RougeScorer([name], use_stemmer=False)
        self.metric = FACTS[name]
        self.signature = f"rouge-score:{version('rouge-score')}|type:{name}|stemmer:no"

    def is_blind_to(self, text: str) -> bool:
        """Whether a text has letters besides a to z: each ends a word, and is no part of it."""
        return any(c.isalpha() and not c.isascii() for c in text.lower())

    def statistics(self, output: str, reference: str) -> list[float]:
        return [float(self._scorer.score(reference, output)[self._name].fmeasure), 1.0]
