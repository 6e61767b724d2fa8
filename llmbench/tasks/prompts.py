"""How a question becomes a prompt: a template, and before it examples of questions with their
answers, none of them the one that is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NotRequired, Self, TypedDict

from pydantic import Field, model_validator

from llmbench import limits
from llmbench.adapter import Adapter, Passage
from llmbench.data.documents import Document, Documents
from llmbench.data.templates import fill, find_fields, hint_fields, number_letters, to_letter
from llmbench.data.text import Text, check_documents
from llmbench.results.outcome import SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.examples import STREAMS, Draw, Examples, check_examples
from llmbench.tasks.task import Task

Bos = Literal["auto", "always", "never"]
PARTS = ("given", "choices")  # places of a template that are no field of a row
TEMPLATE_HELP = (
    "the prompt, or the source of an encoder-decoder; {given} is the document's own, {NAME} another"
    " field of its row, {choices} its candidates as lines with letters; {NAME|strip} without white"
    " space around it, {NAME|words} with spaces for underscores"
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


def count_cut(adapter: Adapter, asked: Sequence[Sequence[Passage]]) -> int:
    """Return of how many questions the longest prompt and candidate are longer than the context,
    so that the prompt's beginning is not read.
    """
    model = adapter.token_model  # `info` may take the digest of all weights
    context = adapter.info.context if model is None else model.context
    if context is None or adapter.reads_source:
        return 0

    def is_cut(passages: Sequence[Passage]) -> bool:
        whole = max((one.context + one.text for one in passages), key=len)
        size = len(whole.encode())
        return size >= context and adapter.measure_prompt(whole)[0] < size  # a token has a byte

    return sum(map(is_cut, asked))


class PromptSettings(Task.Settings):
    """How the documents of a text become prompts."""

    text: str = "test"
    template: str = Field("{given}", description=TEMPLATE_HELP)
    header: str = Field("", description="before the examples and the question, as a template")
    join: str = Field("", description="between a prompt and its answer")
    between: str = Field("\n\n", description="between two examples")
    shots: int = Field(
        0,
        ge=0,
        le=limits.SHOTS,
        description="examples before the question, drawn by the seed, never the one that is asked",
    )
    shots_from: str = Field("train", description="the text that examples come from")
    draw: Draw = Field(
        "question",
        description="how examples are drawn: for each question by the seed; all questions from one"
        " stream, as lm-eval does, with one to spare if a task has no test part; the first ones; or"
        " by the question's place in the shuffled text, as nanochat does",
    )
    shots_seed: int | None = Field(
        None, ge=0, le=limits.ARGUMENT, description="of the drawing; by default the run's"
    )
    shots_by: str = Field(
        "", description="a field whose value an example shares with its question, as `subject`"
    )
    examples: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="fixed examples, each with its answer, instead of `shots`"
    )
    chat: bool | str = Field(False, description=CHAT_HELP)

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if not find_fields(self.template):
            raise ValueError("the template has no {given}, nor another field")
        if self.examples and self.shots:
            raise ValueError("`examples` and `shots` cannot be combined")
        if self.shots_by and self.draw == "nanochat":
            raise ValueError("`shots_by` cannot be combined with `draw: nanochat`")
        return self

    def check(self, text: Text) -> None:
        check_template(self.template, text)
        check_template(self.header, text)
        if self.shots_by:
            check_field(self.shots_by, text, "which `shots_by` names")

    def check_texts(self, texts: Mapping[str, Text]) -> None:
        if self.shots:
            check_template(self.template, texts[self.shots_from])
            check_examples(self.find_examples(texts, 0), texts[self.text])

    def find_examples(self, texts: Mapping[str, Text], seed: int) -> Examples:
        """Return the examples that are drawn for the questions."""
        seed = seed if self.shots_seed is None else self.shots_seed
        return Examples(texts[self.shots_from], self.shots, seed, self.draw, self.shots_by)

    def field_names(self) -> Sequence[str]:
        by = [self.shots_by] if self.shots_by else []
        return list(dict.fromkeys(find_others(self.template + self.header) + by))

    def text_roles(self) -> dict[str, str]:
        return {"text": self.text, **({"shots_from": self.shots_from} if self.shots else {})}

    def list_idle_roles(self) -> list[str]:
        return [] if self.shots else [self.shots_from]


def find_others(template: str) -> list[str]:
    """Return the names of the fields that a template shows besides {given} and {choices}."""
    return [name for name in find_fields(template) if name not in PARTS]


def check_template(template: str, text: Text) -> None:
    """Raise UsageError if a document of `text` lacks a field that `template` shows."""
    for name in find_fields(template):
        if name == "choices":
            check_documents(
                text,
                lambda one: bool(one.choices),
                lambda one: ("has no candidates, which {choices} in the template shows", ""),
            )
        elif name != "given":
            check_field(name, text, f"which {{{name}}} in the template shows")


def check_field(name: str, text: Text, why: str) -> None:
    """Raise UsageError if a document of `text` lacks a field that a prompt may show. `why`: who
    needs it, as a sentence goes on after the field.
    """

    def explain(document: Document) -> tuple[str, str]:
        parts = ["given", *["choices"] * bool(document.choices)]
        known = list(dict.fromkeys([*parts, *document.fields]))
        return f"has no field `{name}` with a string, {why}", hint_fields(name, known)

    check_documents(text, lambda one: name in one.fields, explain)


def fill_template(template: str, document: Document, context: str | None = None) -> str:
    """Return a template with the fields of a document in their places. `context`: what stands for
    {given}, by default the document's own.
    """
    parts = {"given": document.context if context is None else context}
    if document.choices:
        parts["choices"] = number_letters(document.choices)
    return fill(template, {**document.fields, **parts})


def sign_template(template: str, text: Text) -> Signature:
    """Return what a template adds to a signature: itself, and the fields that no sha256 of the
    text covers.
    """
    signed = Signature.of(template=repr(template))
    names = find_others(template)
    if not names:
        return signed
    return signed.extend(fields=f"{','.join(names)} {digest_fields(names, text)}")


def digest_fields(names: Sequence[str], text: Text) -> str:
    """Return 16 digits of the sha256 of these fields of a text's documents."""
    digest = hashlib.sha256()
    for document in text.documents:
        for name in names:
            data = document.fields.get(name, "").encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def check_sources(text: Text) -> None:
    """Raise UsageError if a document of `text` has nothing in the field `given`."""
    hint = "pairs stand in a .jsonl file, in the fields `given` and `text`"
    check_documents(text, lambda one: bool(one.context), lambda one: ("has no source", hint))


def check_plain(text: Text) -> None:
    """Raise UsageError if a document of `text` has a source or candidates, which a task that
    charges whole texts would leave out.
    """
    if isinstance(text.documents, Documents) and text.documents.have_only_text:
        return
    what = "is a pair or a question, and its bits alone would leave out what stands before it"
    hint = "use the task `conditional`, `answer` or `multiple-choice`"
    check_documents(text, lambda one: one.is_plain, lambda one: (what, hint))


@dataclass(frozen=True)
class Asking:
    """`template`: the prompt, with {given} where the document's own stands; `join`: what stands
    between a prompt and its answer;
    `between`: what stands between two examples. `shots` examples come from `examples`, drawn for
    each document by the seed, or as `drawn` says; `fixed` are examples as they stand. `header`: a
    template, once before all. `letters`: an answer is the letter of its candidate. `empty`: what
    stands for an empty answer in an example.
    """

    template: str = "{given}"
    join: str = ""
    between: str = "\n\n"
    shots: int = 0
    examples: Text | None = None
    seed: int = 0
    header: str = ""
    letters: bool = False
    empty: str = ""
    fixed: Sequence[str] = ()
    drawn: Examples | None = None

    @classmethod
    def from_settings(
        cls, settings: PromptSettings, texts: Mapping[str, Text], seed: int
    ) -> Asking:
        settings.check_texts(texts)
        made = cls(
            settings.template,
            settings.join,
            settings.between,
            header=settings.header,
            fixed=tuple(settings.examples),
        )
        if not settings.shots:
            return made
        drawn = settings.find_examples(texts, seed)
        if drawn.draw in STREAMS:
            drawn = drawn.stream(texts[settings.text])
        return replace(
            made, shots=settings.shots, examples=drawn.text, seed=drawn.seed, drawn=drawn
        )

    def sign(self, text: Text) -> Signature:
        """Return what these prompts about `text` add to a signature."""
        asked = sign_template(self.template, text).extend(join=repr(self.join))
        if self.header:
            names = find_others(self.header)
            fields = f" {digest_fields(names, text)}" if names else ""
            asked = asked.extend(header=repr(self.header) + fields)
        if self.letters:
            asked = asked.extend(candidates="letters")
        found = self._find_examples()
        if self.fixed:
            asked = asked.extend(examples=repr(list(self.fixed)), between=repr(self.between))
        if found is None:
            return asked
        return asked.extend(shots=found.sign(), between=repr(self.between))

    def prompt(self, document: Document, number: int | None = None) -> str:
        """What a model is given: the text that it continues, or the source that it reads. `number`:
        of the candidate, if each has a context of its own.
        """
        found = self._find_examples()
        shown = [self._show(example) for example in (found.choose(document) if found else ())]
        context = None if number is None else document.contexts[number]
        asked = fill_template(self.template, document, context)
        header = fill_template(self.header, document) if self.header else ""
        return header + self.between.join([*self.fixed, *shown, asked])

    def answer(self, document: Document) -> str:
        """Return the right answer, as it follows a prompt."""
        if self.letters:
            return to_letter(document.choices.index(document.text))
        return document.continuation or document.text or self.empty

    def _show(self, example: Document) -> str:
        """An example with its answer."""
        gold = example.choices.index(example.text) if example.contexts else None
        context = None if gold is None else example.contexts[gold]
        prompt = fill_template(self.template, example, context)
        return f"{prompt}{self.join}{self.answer(example)}"

    def _find_examples(self) -> Examples | None:
        if self.drawn is not None or self.examples is None:
            return self.drawn
        return Examples(self.examples, self.shots, self.seed)
