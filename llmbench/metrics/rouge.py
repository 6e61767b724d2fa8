"""ROUGE (Lin 2004) as the package rouge-score counts it: the F-measure of each sample, and their
mean.

Words are runs of a to z and 0 to 9, as in Lin's program: any other letter ends one, and an output
without any is 0.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Literal

from llmbench.hardware.machine import version
from llmbench.metrics.facts import FACTS
from llmbench.metrics.text import TextMetric

WORD = re.compile("[a-z0-9]")
RougeName = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]


class Rouge(TextMetric):
    """`name`: rouge1, rouge2, rougeL or rougeLsum; without stemming, from 0 to 1. Of rougeLsum each
    line of a text is a sentence.
    """

    def __init__(self, name: RougeName):
        from rouge_score.rouge_scorer import RougeScorer

        self._name = name
        self._scorer: Any = RougeScorer([name], use_stemmer=False)
        self.metric = FACTS[name]
        self.signature = f"rouge-score:{version('rouge-score')}|type:{name}|stemmer:no"

    def is_blind_to(self, text: str) -> bool:
        """Whether a text has letters, digits or signs besides those of ASCII, each of which ends a
        word and is no part of it, or has no word at all.
        """
        lower = text.lower()
        if any(not c.isascii() and unicodedata.category(c)[0] in "LMNS" for c in lower):
            return True
        return bool(lower.strip()) and not WORD.search(lower)

    def statistics(self, output: str, reference: str) -> list[float]:
        return [float(self._scorer.score(reference, output)[self._name].fmeasure), 1.0]
