"""How a question becomes a prompt: a template, and before it examples of questions with their
answers, none of them the one that is asked.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, Self, TypedDict

from pydantic import Field, model_validator

from llmbench import limits
from llmbench.adapter import Adapter
from llmbench.data.documents import Document, Documents
from llmbench.data.text import Text
from llmbench.errors import UsageError, did_you_mean
from llmbench.results.outcome import SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.task import Task

Bos = Literal["auto", "always", "never"]
# {{name}} is the characters {name}; whatever else stands between braces in a line names a field
PLACE = re.compile(r"\{\{(?P<literal>[^{}\n]*)\}\}|\{(?P<name>[^{}\n]*)\}")
TEMPLATE_HELP = (
    "the prompt, or the source of an encoder-decoder; {given} is the document's own, {NAME} another"
    " field of its row"
)
BOS_HELP = "start symbols before a prompt: auto is what the model's own tokenizer does, as lm-eval"


CHAT_HELP = (
    "whether a prompt is a user's message in the model's own chat template; a text is the system"
    " message before it"
)


def read_chat(chat: bool | str) -> str | None:
    """Return the system message of a chat, "" without one; None if prompts are plain text."""
    return chat if isinstance(chat, str) else "" if chat else None


def check_chat(chat: bool | str, lossy: str) -> None:
    """Raise ValueError if documents of a chat would be left out: scores that are made anew from
    samples do not know the template.
    """
    if chat is not False and lossy == "leave-out":
        raise ValueError("`chat` cannot be combined with `lossy: leave-out`")


def gives_bos(bos: Bos, adapter: Adapter) -> bool:
    """Whether a prompt is read after start symbols; a text without a prompt always is."""
    return adapter.adds_bos if bos == "auto" else bos == "always"


def move_space(prompt: str, answer: str) -> tuple[str, str]:
    """Return prompt and answer, with the white space that ends the prompt moved to the answer.

    lm-eval's rule: tokens of words begin with their space, so a model has never read a space alone
    before a word.
    """
    bare = prompt.rstrip()
    return bare, prompt[len(bare) :] + answer


def trim_prompt(prompt: str, adapter: Adapter) -> str:
    """Return a prompt to write after: without spaces at its end, which begin the answer's words.

    Line ends stay: what follows one is another line. A source that is read whole stays as it is.
    """
    return prompt if adapter.reads_source else prompt.rstrip(" \t")


class PromptCounts(TypedDict):
    """How many different prompts there are, of how many only a part was read (of a prompt its end,
    of a source its beginning), and how many a tokenizer does not hold as they stand.
    """

    prompts: int
    cut: NotRequired[int]
    cut_sources: NotRequired[int]
    misread: int


def count_prompts(adapter: Adapter, samples: Sequence[SampleRow]) -> PromptCounts:
    """Count the prompts of these samples, each once; those that are not held are marked `lost`."""
    prompts = dict.fromkeys(sample["input"] or "" for sample in samples)
    losses = {prompt: adapter.find_prompt_loss(prompt) for prompt in prompts}
    for sample in samples:
        if loss := losses[sample["input"] or ""]:
            sample["lost"] = loss
    short = sum(adapter.measure_prompt(prompt)[0] < len(prompt.encode()) for prompt in prompts)
    found: PromptCounts = {
        "prompts": len(prompts),
        "misread": sum(map(bool, losses.values())),
    }
    found["cut_sources" if adapter.reads_source else "cut"] = short
    return found


class ReadCounts(TypedDict):
    """How many of the items' prompts, or sources, a tokenizer does not hold as they stand."""

    prompts: int
    misread: int


def mark_misread(adapter: Adapter, prompts: Sequence[str], samples: Sequence[SampleRow]) -> None:
    """Mark as `lost` what is not read as it stands of the prompt of each sample."""
    losses: dict[str, str] = {}
    for prompt, sample in zip(prompts, samples, strict=True):
        if prompt not in losses:
            losses[prompt] = adapter.find_prompt_loss(prompt) if prompt else ""
        if losses[prompt]:
            sample["lost"] = losses[prompt]


def count_misread(samples: Sequence[SampleRow]) -> ReadCounts:
    """Count the samples that are marked by `mark_misread`."""
    return {"prompts": len(samples), "misread": sum("lost" in sample for sample in samples)}


class PromptSettings(Task.Settings):
    """How the documents of a text become prompts."""

    text: str = "test"
    template: str = Field("{given}", description=TEMPLATE_HELP)
    join: str = Field("", description="between a prompt and its answer")
    between: str = Field("\n\n", description="between two examples")
    shots: int = Field(
        0,
        ge=0,
        le=limits.SHOTS,
        description="examples before the question, drawn by the seed, never the one that is asked",
    )
    shots_from: str = Field("train", description="the text that examples come from")
    chat: bool | str = Field(False, description=CHAT_HELP)

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if "given" not in find_fields(self.template):
            raise ValueError("the template has no {given}")
        return self

    def check(self, text: Text) -> None:
        check_template(self.template, text)

    def check_texts(self, texts: Mapping[str, Text]) -> None:
        if self.shots:
            check_template(self.template, texts[self.shots_from])
            check_examples(self.shots, texts[self.text], texts[self.shots_from])

    def field_names(self) -> Sequence[str]:
        return find_others(self.template)

    def text_roles(self) -> dict[str, str]:
        return {"text": self.text, **({"shots_from": self.shots_from} if self.shots else {})}


def find_others(template: str) -> list[str]:
    """Return the names of the fields that a template shows besides {given}."""
    return [name for name in find_fields(template) if name != "given"]


def find_fields(template: str) -> list[str]:
    """Return the names of the fields that a template shows, in their order."""
    found = [match["name"] for match in PLACE.finditer(template)]
    return [name for name in dict.fromkeys(found) if name is not None]


def check_template(template: str, text: Text) -> None:
    """Raise UsageError if a document of `text` lacks a field that `template` shows."""
    for name in find_fields(template):
        for document in text.documents:
            if name != "given" and name not in document.fields:
                known = list(dict.fromkeys(["given", *document.fields]))
                near = did_you_mean(name, known) or f"it has {', '.join(known)}"
                raise UsageError(
                    f"unknown field {{{name}}} in the template: {document.id!r} of the text"
                    f" {text.name!r} has none that a prompt may show",
                    hint=f"double braces are characters; {near}",
                )


def fill_template(template: str, document: Document) -> str:
    """Return a template with the fields of a document in their places."""

    def fill(match: re.Match[str]) -> str:
        if match["literal"] is not None:
            return f"{{{match['literal']}}}"
        return document.context if match["name"] == "given" else document.fields[match["name"]]

    return PLACE.sub(fill, template)


def sign_template(template: str, text: Text) -> Signature:
    """Return what a template adds to a signature: itself, and the fields that no sha256 of the
    text covers.
    """
    signed = Signature.of(template=repr(template))
    names = find_others(template)
    if not names:
        return signed
    digest = hashlib.sha256()
    for document in text.documents:
        for name in names:
            data = document.fields.get(name, "").encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    return signed.extend(fields=f"{','.join(names)} {digest.hexdigest()[:16]}")


def check_sources(text: Text) -> None:
    """Raise UsageError if a document of `text` has nothing in the field `given`."""
    for document in text.documents:
        if not document.context:
            raise UsageError(
                f"{document.id!r} of the text {text.name!r} has no source",
                hint="pairs stand in a .jsonl file, in the fields `given` and `text`",
            )


def check_examples(shots: int, text: Text, examples: Text) -> None:
    """Raise UsageError if a document of `text` would have fewer than `shots` examples before it.

    An example is never the document itself, nor one with the same question.
    """
    count = len(examples.documents)
    asked = Counter(example.context for example in examples.documents)
    own = {(example.id, example.text): example.context for example in examples.documents}
    for document in text.documents:
        question = document.context
        is_apart = own.get((document.id, document.text), question) != question
        excluded = asked[question] + is_apart
        if count - excluded < shots or count <= shots:
            same = f"; {excluded} of them ask what {document.id!r} asks" if excluded else ""
            raise UsageError(
                f"the text {examples.name!r} has too few documents for {shots} examples:"
                f" {count}{same}",
                hint="fewer `shots`, or another text as `shots_from`",
            )


def check_plain(text: Text) -> None:
    """Raise UsageError if a document of `text` has a source or candidates, which a task that
    charges whole texts would leave out.
    """
    if isinstance(text.documents, Documents) and text.documents.have_only_text:
        return
    for document in text.documents:
        if not document.is_plain:
            raise UsageError(
                f"{document.id!r} of the text {text.name!r} is a pair or a question, and its bits"
                " alone would leave out what stands before it",
                hint="use the task `conditional`, `answer` or `multiple-choice`",
            )


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
    def from_settings(
        cls, settings: PromptSettings, texts: Mapping[str, Text], seed: int
    ) -> Asking:
        settings.check_texts(texts)
        examples = texts[settings.shots_from] if settings.shots else None
        return cls(
            settings.template, settings.join, settings.between, settings.shots, examples, seed
        )

    def sign(self, text: Text) -> Signature:
        """Return what these prompts about `text` add to a signature."""
        asked = sign_template(self.template, text).extend(join=repr(self.join))
        if self.examples is None:
            return asked
        shots = f"{self.shots}@{self.seed} of {self.examples.sha256[:16]}"
        return asked.extend(shots=shots, between=repr(self.between))

    def prompt(self, document: Document) -> str:
        """What a model is given: the text that it continues, or the source that it reads."""
        parts = [
            f"{fill_template(self.template, example)}{self.join}{example.text}"
            for example in self._draw_examples(document)
        ]
        return self.between.join([*parts, fill_template(self.template, document)])

    def _draw_examples(self, document: Document) -> Sequence[Document]:
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
