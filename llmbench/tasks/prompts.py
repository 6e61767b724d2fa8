"""How a question becomes a prompt: a template, and before it examples of questions with their
answers, none of them the one that is asked.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmbench.adapter import Adapter
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError
from llmbench.results.signature import Signature


@dataclass(frozen=True)
class Asking:
    """`template`: the prompt, with {given} where the document's own stands; `join`: what stands
    between a prompt and its answer;
    `between`: what stands between two examples. `shots` examples come from `examples`, drawn for
    each document by the seed.
    """

    template: str = "{given}"
    join: str = ""
    between: str = "\n\n"
    shots: int = 0
    examples: Text | None = None
    seed: int = 0

    @classmethod
    def from_spec(cls, spec: Any, texts: Mapping[str, Text], seed: int) -> Asking:
        examples = texts[spec.shots_from] if spec.shots else None
        if examples is not None and len(examples.documents) <= spec.shots:
            raise UsageError(
                f"the text {examples.name!r} has too few documents for {spec.shots} examples",
                hint="fewer `shots`",
            )
        return cls(spec.template, spec.join, spec.between, spec.shots, examples, seed)

    @property
    def signature(self) -> Signature:
        asked = Signature.of(template=repr(self.template), join=repr(self.join))
        if self.examples is None:
            return asked
        shots = f"{self.shots}@{self.seed} of {self.examples.sha256[:16]}"
        return asked.extend(shots=shots, between=repr(self.between))

    def prompt(self, document: Document) -> str:
        """What a model that goes on with a text is given."""
        parts = [
            f"{self._asked(example)}{self.join}{example.text}" for example in self._drawn(document)
        ]
        return self.between.join([*parts, self._asked(document)])

    def for_model(self, adapter: Adapter, document: Document) -> str:
        """The prompt; for a model that reads a source and writes a target, the source alone."""
        return document.context if hasattr(adapter, "encode_source") else self.prompt(document)

    def _asked(self, document: Document) -> str:
        return self.template.replace("{given}", document.context)

    def _drawn(self, document: Document) -> Sequence[Document]:
        """Examples for a document: never the document itself, nor one with the same question."""
        if self.examples is None:
            return ()
        others = [
            example
            for example in self.examples.documents
            if (example.id, example.text) != (document.id, document.text)
        ]
        others = [example for example in others if example.context != document.context]
        return random.Random(f"{self.seed} {document.id}").sample(
            others, min(self.shots, len(others))
        )
