"""What contestants wrote after the prompts of a task, from the samples in a run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmbench.results.samples import read_samples

REFERENCE = "reference"  # the contestant that is the human text


@dataclass(frozen=True)
class AnswerSet:
    """A prompt and the answers to it: contestant -> text. `prompt`: the item's id."""

    prompt: str
    text: str
    answers: dict[str, str] = field(default_factory=dict)

    def digest(self, *contestants: str) -> str:
        """Return the digest of the prompt and these contestants' answers, in this order."""
        return digest_texts(self.text, *(self.answers[name] for name in contestants))


def digest_texts(*texts: str) -> str:
    """Return the sha256 of texts, each apart from the others."""
    whole = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(whole.encode("utf-8", "backslashreplace")).hexdigest()


def read_answers(folder: Path, task: str, models: Sequence[str]) -> dict[str, AnswerSet]:
    """Return the prompts of a task by their ids, with the models' answers and the human text.

    A model that was asked something else under an id has no answer there: the prompt is that of
    the first model. There is no prompt without an answer.
    """
    found: dict[str, AnswerSet] = {}
    for model in models:
        for sample in read_samples(folder, model, task):
            text, said = sample.said.get("input"), sample.said.get("output")
            if text is None or said is None:
                continue
            answers = found.setdefault(sample.key, AnswerSet(sample.key, text))
            if answers.text == text:
                answers.answers[model] = said
                if sample.said.get("reference"):
                    answers.answers.setdefault(REFERENCE, sample.said["reference"])
    return found
