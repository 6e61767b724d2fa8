"""Short answers: accuracy to the letter, and as for SQuAD (Rajpurkar et al. 2016) exact match and
the overlap of words, without case, punctuation and articles.
"""

from __future__ import annotations

import re
import string
from collections import Counter

from llmbench.metrics.facts import FACTS
from llmbench.metrics.sacrebleu import is_unparted
from llmbench.metrics.text import Share, TextMetric

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> list[str]:
    """Return the words that are compared: lower case, no punctuation, no articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


class Accuracy(Share):
    """For answers out of a few: right or wrong to the letter, white space around them apart.
    Nothing said is wrong unless nothing was right.
    """

    metric = FACTS["accuracy"]
    signature = "normalised:strip"

    def statistics(self, output: str, reference: str) -> list[float]:
        return [float(output.strip() == reference.strip()), 1.0]


class ExactMatch(Share):
    """An answer of which normalising leaves nothing is right where it leaves nothing of the
    reference either, as in SQuAD's program.
    """

    metric = FACTS["exact_match"]
    signature = "normalised:squad"

    def is_blind_to(self, text: str) -> bool:
        """Whether normalising leaves nothing of a text, such as "A", "the" or "..."."""
        return bool(text.strip()) and not normalise(text)

    def statistics(self, output: str, reference: str) -> list[float]:
        return [float(normalise(output) == normalise(reference)), 1.0]


class F1(TextMetric):
    """2 * words shared / (words said + words wanted), each word as often as it stands there; 0 to
    1, and where either has none as exact match.
    """

    metric = FACTS["f1"]
    signature = "normalised:squad"

    def is_blind_to(self, text: str) -> bool:
        """Whether normalising leaves nothing of a text, or one word of a script without spaces."""
        words = normalise(text)
        return bool(text.strip()) and (not words or is_unparted(words, text))

    def statistics(self, output: str, reference: str) -> list[float]:
        said, wanted = normalise(output), normalise(reference)
        if not said or not wanted:
            return [float(said == wanted), 1.0]
        shared = sum((Counter(said) & Counter(wanted)).values())
        return [2 * shared / (len(said) + len(wanted)), 1.0]
