"""A task: does a model prefer a sentence to the same sentence with two words exchanged?"""

from __future__ import annotations

import random
from collections.abc import Callable

from llmbench import Adapter, Metric, Outcome, Passage, Task, Text, UsageError

WORD_ORDER = Metric(
    "word_order",
    "share",
    "higher",
    "sentences that need fewer bits than a scrambled copy",
    format="percent",
    test="share",
    is_custom=True,
)


class WordOrder(Task):
    """The first words of each document, against the same words with two neighbours exchanged."""

    class Settings(Task.Settings):
        """Keys of the task's entry in a suite."""

        words: int = 12

        def check(self, text: Text) -> None:
            """Refuse documents that have too few different words."""
            for document in text.documents:
                if len(set(document.text.split()[: self.words])) < 2:
                    raise UsageError(f"{document.id!r} has fewer than two different words")

    protocol = "word-order/1"
    settings: Settings

    def run(self, adapter: Adapter, progress: Callable[[str, float, str], None]) -> Outcome:
        """Charge both versions of each document; the one with fewer bits is preferred."""
        passages = []
        for document in self.text.documents:
            words = document.text.split()[: self.settings.words]
            for text in (words, self._scramble(words, document.id)):
                passages.append(Passage(" ".join(text), id=document.id))
        bits = [ledger.total() for ledger in adapter.score(passages)]
        progress("scoring", 1.0, "")
        samples, right = [], 0.0
        for number, document in enumerate(self.text.documents):
            ordered, scrambled = bits[2 * number : 2 * number + 2]
            is_right = float(ordered < scrambled)
            right += is_right
            samples.append(
                {
                    "id": document.id,
                    "bytes": 0,
                    "input": passages[2 * number].text,
                    "output": None,
                    "reference": None,
                    "statistics": {WORD_ORDER.name: [is_right, 1.0]},
                }
            )
        signature = self.signature.extend(words=self.settings.words, seed=self.seed)
        row = WORD_ORDER.row(right / len(samples), len(samples), str(signature))
        return Outcome([row], samples)

    def _scramble(self, words: list[str], id: str) -> list[str]:
        """The words with two different neighbours exchanged, drawn by the seed."""
        places = [at for at in range(len(words) - 1) if words[at] != words[at + 1]]
        at = random.Random(f"{self.seed} {id}").choice(places)
        return [*words[:at], words[at + 1], words[at], *words[at + 2 :]]
