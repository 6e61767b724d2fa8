"""How much of what a model says is new: distinct n-grams, and n-grams that it has said before.
Words are what stands between white space.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmbench.metrics.facts import FACTS
from llmbench.metrics.text import TextMetric

# of a sample, for distinct n-grams: their share falls with length, so all samples are cut to the
# same
WORDS = 30


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


class AnswerBytes(TextMetric):
    """Of every sample, an empty one too: who stops before the budget of bytes is spent."""

    metric = FACTS["answer_bytes"]
    signature = "utf-8"
    needs_reference = False

    def statistics(self, output: str, reference: str) -> list[float]:
        return [float(len(output.encode(errors="surrogatepass"))), 1.0]


class Distinct2(TextMetric):
    """Within each sample, not over all together as in Li et al. 2016: that share falls with the
    number of samples, and has no interval over them.

    A sample with fewer than 30 words, an empty one too, is left out; the number of those that count
    is `n`.
    """

    metric = FACTS["distinct_2"]
    signature = f"words:{WORDS}"
    needs_reference = False

    def statistics(self, output: str, reference: str) -> list[float]:
        words = output.split()[:WORDS]
        if len(words) < WORDS:
            return []
        pairs = _grams(words, 2)
        return [len(set(pairs)) / len(pairs), 1.0]


class Repetition4(TextMetric):
    """1 - different runs / runs in each sample, and the mean of that: seq-rep-4 of Welleck et al.
    2020, of words where theirs are tokens, so that models with different tokenisers compare. A
    sample with fewer than four words, an empty one too, is left out.
    """

    metric = FACTS["repetition_4"]
    signature = "words:4"
    needs_reference = False

    def statistics(self, output: str, reference: str) -> list[float]:
        grams = _grams(output.split(), 4)
        return [1 - len(set(grams)) / len(grams), 1.0] if grams else []
