"""BLEU, chrF and TER, as sacrebleu counts them (Post 2018): its statistics of each sample, its
formula over their sums, its signature.

The numbers are those that its command prints for the same lines, to the last digit. Its statistics
and formula are no public names of the package; a test compares with the command.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from llmbench.errors import UsageError, did_you_mean
from llmbench.metrics.facts import FACTS
from llmbench.metrics.text import TextMetric


class _Sacrebleu(TextMetric):
    """A metric of sacrebleu over pairs of an output and one reference."""

    def __init__(self, scorer: Any):
        self._scorer = scorer
        self._scorer.num_refs = 1  # what the signature says before anything is scored
        self.signature = str(scorer.get_signature())

    def statistics(self, output: str, reference: str) -> list[float]:
        return self._extract(output, [reference])

    def measure_best(self, output: str, references: Sequence[str]) -> list[float]:
        """Return the statistics beside all references at once, as sacrebleu counts several."""
        return self._extract(output, references)

    def _extract(self, output: str, references: Sequence[str]) -> list[float]:
        streams = [[reference] for reference in references]
        return [float(n) for n in self._scorer._extract_corpus_statistics([output], streams)[0]]

    def total(self, sums: Sequence[float]) -> float:
        return float(self._scorer._compute_score_from_stats(list(sums)).score)


# of scripts that put no space between words, and emoji: letters, marks, digits and signs
UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2600-\u27bf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9d\U0001f000-\U0001faff\U00020000-\U0003134f]"
)
BY_SPACES = ("13a", "intl", "none", "zh")  # zh parts Chinese characters alone
PACKAGES = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}


def is_unparted(words: Sequence[str], text: str) -> bool:
    """Whether half of a text, as a tokenizer parts it into words, is in words that are runs of
    what no space parts: what compares words sees such a sentence as one.
    """
    runs = [len(found) for word in words if len(found := UNSPACED.findall(word)) > 1]
    units = sum(character.isalnum() for character in UNSPACED.sub("", text))
    return 2 * sum(runs) > units + len(UNSPACED.findall(text))


def find_bleu_tokenizers() -> list[str]:
    """Return the names of sacrebleu's tokenizers."""
    from sacrebleu.metrics.bleu import BLEU

    return sorted(BLEU.TOKENIZERS)


class Bleu(_Sacrebleu):
    """Modified n-gram precision up to four words, with a brevity penalty (Papineni et al. 2002), 0
    to 100. `tokenizer`: one of sacrebleu's; 13a parts words at spaces.

    Raises UsageError for one that sacrebleu does not know, or that needs what is not here.

    An empty output counts with its reference's length. A text without any match, or with fewer than
    four words in all, is 0.
    """

    TOKENIZER = "13a"  # unless another is named
    metric = FACTS["bleu"]

    def __init__(self, tokenizer: str = TOKENIZER) -> None:
        from sacrebleu.metrics.bleu import BLEU

        if tokenizer not in BLEU.TOKENIZERS:
            raise UsageError(
                f"BLEU has no tokenizer {tokenizer!r}",
                hint=did_you_mean(tokenizer, find_bleu_tokenizers()),
            )
        try:
            scorer = BLEU(tokenize=tokenizer)
        except (RuntimeError, ImportError, OSError) as error:
            package = PACKAGES.get(tokenizer, "sentencepiece")
            raise UsageError(
                f"BLEU's tokenizer {tokenizer!r} is not on this machine ({type(error).__name__})",
                hint=f"pip install '{package}'"
                + (
                    ""
                    if tokenizer in PACKAGES
                    else "; its model is downloaded when it is first used"
                ),
            ) from None
        super().__init__(scorer)
        self.tokenizer = tokenizer

    def is_blind_to(self, text: str) -> bool:
        """Whether half of a text is of a script without spaces, or emoji, and the tokenizer leaves
        its words together.
        """
        if self.tokenizer not in BY_SPACES or not UNSPACED.search(text):
            return False
        return is_unparted(self._scorer.tokenizer(text).split(), text)


class Chrf(_Sacrebleu):
    """F-score of character n-grams up to six, recall counting twice (Popovic 2015), 0 to 100; white
    space does not count.
    """

    metric = FACTS["chrf"]

    def __init__(self) -> None:
        from sacrebleu.metrics.chrf import CHRF

        super().__init__(CHRF())


class ChrfPlusPlus(_Sacrebleu):
    """chrF with words and word pairs beside the characters (Popovic 2017), 0 to 100."""

    metric = FACTS["chrf_pp"]

    def is_blind_to(self, text: str) -> bool:
        """Whether half of a text is of a script without spaces, or emoji: its words are not seen,
        its characters are.
        """
        return is_unparted(text.split(), text)

    def __init__(self) -> None:
        from sacrebleu.metrics.chrf import CHRF

        super().__init__(CHRF(word_order=2))


class Ter(_Sacrebleu):
    """Edits to the output, shifts of phrases included, over the words of the reference (Snover et
    al. 2006), in percent: may exceed 100.
    """

    metric = FACTS["ter"]

    def is_blind_to(self, text: str) -> bool:
        """Whether half of a text is of a script without spaces, or emoji: its words are edited
        whole.
        """
        return is_unparted(text.split(), text)

    def __init__(self) -> None:
        from sacrebleu.metrics.ter import TER

        super().__init__(TER())
