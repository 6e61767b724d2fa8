"""The last word of a text, which only who has followed it can know (Paperno et al. 2016, LAMBADA):
whether a model says it, and what it costs.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, model_validator

from llmbench.adapter import Adapter, Passage, Progress, Request, Window
from llmbench.data.text import Document, Text, check_documents
from llmbench.ledger import two_to
from llmbench.metrics.facts import FACTS
from llmbench.metrics.metric import ScoreRow
from llmbench.metrics.registry import create_metric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.stats import ratio_interval
from llmbench.tasks.lm_eval.asking import find_greedy
from llmbench.tasks.lossy import DocumentTask, count_parts
from llmbench.tasks.passages import charge
from llmbench.tasks.prompts import (
    BOS_HELP,
    CHAT_HELP,
    Bos,
    check_chat,
    count_misread,
    gives_bos,
    mark_misread,
    read_chat,
)
from llmbench.tasks.reference_based import generate_texts

Match = Literal["words", "tokens"]
ROOM = 4  # bytes beyond the word: a space, a quotation mark, what ends it
PERPLEXITY = FACTS["word_perplexity"]  # of the last words


class LastWord(DocumentTask):
    """A document is everything before its last word, and that word with the space before it. Said
    is what a greedy model goes on with, up to the next space; of a pair whose answer has several
    words, as many words. Punctuation around them does not count, but where it is all there is. In a
    chat the text before is the message, and the word alone the answer.
    """

    class Settings(DocumentTask.Settings):
        """Whether a model says the last word of a text, and what it costs."""

        text: str = "test"
        bos: Bos = Field("auto", description=BOS_HELP)
        chat: bool | str = Field(False, description=CHAT_HELP)
        match: Match = Field(
            "words",
            description=(
                "what is right: the words of a greedy answer, or each token of the word being the"
                " likeliest one, as for lm-eval"
            ),
        )

        @model_validator(mode="after")
        def _can_leave_out(self) -> Self:
            check_chat(self.chat, self.lossy)
            if self.chat is not False and self.match == "tokens":
                raise ValueError("`chat` cannot be combined with `match: tokens`")
            return self

        def list_averaged(self) -> Sequence[str]:
            return ["accuracy"]

        def check(self, text: Text) -> None:
            check_words(text)

    protocol = "last-word/3"

    def __init__(
        self, text: Text, bos: Bos = "auto", chat: str | None = None, match: Match = "words"
    ):
        self.text, self.bos, self.match = text, bos, match
        self.chat, self.how = chat, dict[str, str]()
        check_words(text)

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        return cls(texts[settings.text], settings.bos, read_chat(settings.chat), settings.match)

    @property
    def signature(self) -> Signature:
        match = {"match": self.match} if self.match != "words" else {}
        return super().signature.extend(bos=self.bos, **match, **self.how)

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        before, word = split_last_word(document)
        if adapter.reads_source or self.chat is not None:
            word = word.strip()  # a target of its own begins with no space
        bos = gives_bos(self.bos, adapter)
        return [Passage(word, context=before, id=document.id, add_bos=bos, chat=self.chat)]

    def _list_all(self, adapter: Adapter) -> list[Passage]:
        return [p for d in self.text.documents for p in self.list_passages(d, adapter)]

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        passages = self._list_all(adapter)
        charge(adapter, passages, Window("half"), progress)
        self._find_answers(adapter, passages, progress)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        if self.chat is not None:
            self.how = adapter.sign_prompts(self.chat)
        documents = self.text.documents
        passages = self._list_all(adapter)
        ledgers = charge(adapter, passages, Window("half"), progress)
        answers, hits = self._find_answers(adapter, passages, progress)
        samples: list[SampleRow] = []
        for document, passage, ledger, text, right in zip(
            documents, passages, ledgers, answers, hits, strict=True
        ):
            before, word = passage.context, passage.text
            numbers = {"accuracy": [right, 1.0], PERPLEXITY.name: [ledger.total(), 1.0]}
            samples.append(
                {
                    "id": document.id,
                    "bytes": ledger.bytes,
                    "input": before,
                    "output": text,
                    "reference": " | ".join((word, *document.others)),
                    "statistics": numbers,
                }
            )
            if self.keeps_parts:
                samples[-1]["parts"] = count_parts([ledger], 1)
        mark_misread(adapter, [passage.context for passage in passages], samples)
        straddled = sum(ledger.context_bytes > 0 for ledger in ledgers)
        return Outcome(self._score(samples, straddled), samples)

    def _find_answers(
        self, adapter: Adapter, passages: Sequence[Passage], progress: Progress
    ) -> tuple[Sequence[str | None], list[float]]:
        """What the model answers for each document, None if its tokens alone are asked about, and
        1 if that is right, else 0.
        """
        documents = self.text.documents
        if self.match == "tokens":
            asked = [
                (number, replace(passage, text=text))
                for number, (document, passage) in enumerate(zip(documents, passages, strict=True))
                for text in (passage.text, *(f" {other.strip()}" for other in document.others))
            ]
            found = find_greedy(adapter, [passage for _, passage in asked])
            right = {number for (number, _), hit in zip(asked, found, strict=True) if hit}
            return [None] * len(documents), [float(at in right) for at in range(len(documents))]
        said = generate_texts(adapter, list(map(_ask, documents, passages)), progress)
        return said, [
            float(any(says(text, answer) for answer in (passage.text, *document.others)))
            for document, passage, text in zip(documents, passages, said, strict=True)
        ]

    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        return self._score(samples, sum(row["parts"]["straddled"] for row in samples))

    def _score(self, samples: Sequence[SampleRow], straddled: int) -> list[ScoreRow]:
        accuracy = create_metric("accuracy")
        found = accuracy.value([sample["statistics"]["accuracy"] for sample in samples])
        assert found is not None
        costs = [sample["statistics"][PERPLEXITY.name][0] for sample in samples]
        bits = ratio_interval(costs, [1] * len(costs))
        low, high = (None if end is None else two_to(end) for end in (bits.low, bits.high))
        rows = [
            accuracy.metric.row(found.value, found.n, str(self.signature), found.low, found.high),
            PERPLEXITY.row(two_to(bits.value), bits.n, str(self.signature), low, high),
        ]
        return [{**row, "straddled": straddled, **count_misread(samples)} for row in rows]


def check_words(text: Text) -> None:
    """Raise UsageError if a document of `text` has no last word, or nothing before it."""
    hint = "leave the pair out, or use the task `answer`, where an answer may be empty"
    check_documents(
        text,
        lambda one: not one.context or all(answer.strip() for answer in one.references),
        lambda one: ("has an empty answer, where its last word should be", hint),
    )
    check_documents(
        text,
        lambda one: bool(split_last_word(one)[0]),
        lambda one: ("has no two words", "leave it out"),
    )


def _ask(document: Document, passage: Passage) -> Request:
    """Return the request for the last word, with room for the longest of several answers."""
    longest = max(len(text.encode()) for text in (passage.text, *document.others))
    return Request(
        passage.context, max_bytes=longest + ROOM, add_bos=passage.add_bos, chat=passage.chat
    )


def split_last_word(document: Document) -> tuple[str, str]:
    """Return (the text before the last word, the last word with the white space before it).

    Of a pair the text is the word, or several, after its context.
    """
    if document.context:
        kept = document.context.rstrip()
        return kept, (document.context[len(kept) :] or " ") + document.text.strip()
    whole = document.text.rstrip()
    word = whole.split()[-1] if whole.split() else ""
    before = whole[: len(whole) - len(word)]
    kept = before.rstrip()
    return kept, whole[len(kept) :]


def says(output: str, answer: str) -> bool:
    """Return whether an output begins with the words of an answer, punctuation around them apart.

    Silence says nothing, not even an answer without words.
    """
    wanted = bare(answer, len(answer.split()))
    return bool(wanted) and bare(output, len(wanted.split())) == wanted


def bare(text: str, count: int = 1) -> str:
    """The first words, without punctuation around them; as they stand if they are nothing else."""
    words = " ".join(text.split()[:count])
    kept = [at for at, character in enumerate(words) if not _is_outside(character)]
    return words[kept[0] : kept[-1] + 1] if kept else words


def _is_outside(character: str) -> bool:
    """Whether a character is a space, punctuation of any script, or an ASCII sign such as $."""
    return (
        character == " "
        or character in string.punctuation
        or unicodedata.category(character).startswith("P")
    )
