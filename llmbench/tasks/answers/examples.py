"""Examples before a question: which ones, and that there are enough of them.

Draws: `question`, for each question by the seed and its id, whatever else is asked. `stream`, one
question after the other from a single stream of random numbers, as lm-evaluation-harness does:
which examples a question has depends on those before it. `spare-stream`, the same with one more
drawn for each question, in case the question itself is among them, as the harness does for tasks
without a test part. `first`, the first ones. `nanochat`, as nanochat's core_eval.py does: the text
is shuffled, and a question at place i of it draws by the seed + i from all others. All but
`question` leave out the question itself alone, not others that ask the same.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from llmbench.data.text import Document, DocumentError, Text, check_documents
from llmbench.errors import UsageError

Draw = Literal["question", "stream", "spare-stream", "first", "nanochat"]
STREAMS = ("stream", "spare-stream", "nanochat")  # drawn for all questions at once
SHUFFLE_SEED = 1337  # of the text, in nanochat's base_eval.py


@dataclass(frozen=True)
class Examples:
    """`count` examples of `text` for each question. `by`: a field whose value an example shares
    with its question.
    """

    text: Text
    count: int
    seed: int = 0
    draw: Draw = "question"
    by: str = ""
    streamed: Mapping[str, Sequence[Document]] = field(default_factory=dict, compare=False)

    def sign(self) -> str:
        """Return what of these changes a score, as a signature has it."""
        how = "" if self.draw == "question" else f" {self.draw}"
        seed = "" if self.draw == "first" else f"@{self.seed}"
        return f"{self.count}{seed}{how} of {self.text.sha256[:16]}" + (
            f" by {self.by}" if self.by else ""
        )

    def stream(self, asked: Text) -> Examples:
        """Return the same with the examples of each question of a text drawn, one after another."""
        if self.draw == "nanochat":
            return replace(self, streamed=self._draw_by_place(asked))
        rng = random.Random(self.seed)
        pool = list(self.text.documents)
        spare = self.draw == "spare-stream" or self.text.sha256 == asked.sha256
        drawn = {}
        for document in asked.documents:
            some = pool if not self.by else _share(pool, document, self.by)
            found = rng.sample(some, self.count + spare)
            if spare:
                found = [example for example in found if not _is_same(example, document)]
                if len(found) < self.count:
                    rest = [example for example in some if not _is_same(example, document)]
                    found = rng.sample(rest, self.count)
            drawn[document.id] = tuple(found[: self.count])
        return Examples(self.text, self.count, self.seed, self.draw, self.by, drawn)

    def _draw_by_place(self, asked: Text) -> dict[str, Sequence[Document]]:
        """Return the examples of each question by its place in the shuffled text."""
        pool = list(self.text.documents)
        order = list(range(len(pool)))
        random.Random(SHUFFLE_SEED).shuffle(order)
        places = {pool[number].id: place for place, number in enumerate(order)}
        drawn = dict[str, Sequence[Document]]()
        for document in asked.documents:
            own = places[document.id]
            # numbers of the other places, as a sample of their list would give them
            found = random.Random(self.seed + own).sample(range(len(pool) - 1), self.count)
            drawn[document.id] = tuple(pool[order[at + (at >= own)]] for at in found)
        return drawn

    def choose(self, document: Document) -> Sequence[Document]:
        """Return the examples of a question: never the question itself, and by `question` none with
        the same context.
        """
        if self.draw in STREAMS:
            return self.streamed[document.id]
        pool: Sequence[Document] = self.text.documents
        if self.by:
            pool = _share(pool, document, self.by)
        others = [
            example
            for example in pool
            if (example.id, example.text) != (document.id, document.text)
        ]
        if self.draw == "first":
            return others[: self.count]
        if document.context:
            others = [example for example in others if example.context != document.context]
        rng = random.Random(f"{self.seed} {document.id}")
        return rng.sample(others, min(self.count, len(others)))


def _share(pool: Sequence[Document], document: Document, by: str) -> list[Document]:
    value = document.fields[by]
    return [example for example in pool if example.fields.get(by) == value]


def _is_same(one: Document, other: Document) -> bool:
    return (one.text, one.context, one.choices, one.fields) == (
        other.text,
        other.context,
        other.choices,
        other.fields,
    )


def check_examples(found: Examples, text: Text) -> None:
    """Raise UsageError if a document of `text` would have fewer examples before it than asked for.

    An example is never the document itself, nor one with the same question; with `by` it shares the
    value of that field.
    """
    shots, examples, by = found.count, found.text, found.by
    if found.draw == "nanochat":
        _check_places(found, text)
        return
    is_first = found.draw == "first"

    def group(document: Document) -> str:
        return document.fields.get(by, "") if by else ""

    counts = Counter(map(group, examples.documents))
    asked = Counter((group(example), example.context) for example in examples.documents)
    own = {(example.id, example.text): example.context for example in examples.documents}
    for document in text.documents:
        count, question = counts[group(document)], document.context
        same_question = asked[group(document), question] if question else 0
        is_apart = own.get((document.id, document.text), question) != question
        excluded = same_question + is_apart
        if count - excluded * (not is_first) < shots or (count <= shots and not is_first):
            asks = "asks" if excluded == 1 else "ask"
            same = f"; {excluded} of them {asks} what {document.id!r} asks" if excluded else ""
            same = f"{same}, and no example is the question" if count else ""
            hint = "fewer `shots`, or another text as `shots_from`"
            if by:
                what = (
                    f"has the `{by}` {group(document)!r}, and so have {count} documents of the text"
                    f" {examples.name!r}: too few for {shots} examples{same}"
                )
                raise DocumentError(document, text.name, what, hint, is_of_all=False)
            raise UsageError(
                f"the text {examples.name!r} has too few documents for {shots} examples:"
                f" {count}{same}",
                hint=hint,
            )


def _check_places(found: Examples, text: Text) -> None:
    """Raise UsageError if a question has no place among the examples, or there are too few."""
    places = {document.id: document.text for document in found.text.documents}
    what = f"is not in the text {found.text.name!r}, and `draw: nanochat` goes by its place there"
    hint = "draw examples from the text that is asked about"
    check_documents(text, lambda one: places.get(one.id) == one.text, lambda one: (what, hint))
    if len(places) <= found.count:
        raise UsageError(
            f"the text {found.text.name!r} has too few documents for {found.count} examples:"
            f" {len(places)}, the question itself among them",
            hint="fewer `shots`, or a longer text",
        )
