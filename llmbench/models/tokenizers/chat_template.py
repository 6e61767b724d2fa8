"""A tokenizer's chat template: a user's message as the ids that a model was trained to answer."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

from llmbench.errors import ModelError, Unsupported
from llmbench.models.tokenizers.byte_offsets import HIDDEN, ByteTokenizer

MARK = "\uf8ff\uf8fd"  # private characters, as an answer by which its end is found
SHOWN = 16  # digits of a digest
Messages = Sequence[Mapping[str, str]]


class ChatTokenizer(Protocol):
    """What a chat template needs of a tokenizer.

    kind, where: what it comes with, and the place of that, for errors. template: Jinja; "" if it
    has none; then `advice` says how to give it one.
    """

    kind: str
    where: str
    advice: str
    template: str

    @property
    def markers(self) -> Mapping[str, int]:
        """The tokens that a template writes and no text may give: their ids by their spelling."""

    def render(self, turns: Messages, asks: bool, goes_on: bool = False) -> str:
        """Return the messages in the template, and if it `asks` what an answer begins with; if it
        `goes_on`, without what ends the last one.
        """

    def encode_rendered(self, rendered: str) -> Sequence[int]:
        """Return the ids of what was rendered: markers are tokens."""

    def encode_text(self, text: str) -> Sequence[int]:
        """Return the ids of a text in which nothing is meant as a marker."""


class TransformersChat:
    """The chat of a tokenizer of transformers."""

    kind = "checkpoint"
    advice = "save chat_template.jinja with the checkpoint"

    def __init__(self, text: ByteTokenizer, where: str):
        self._text, self._tokenizer, self.where = text, text.tokenizer, where
        has_one = bool(getattr(self._tokenizer, "chat_template", None))
        self.template = str(self._tokenizer.get_chat_template()) if has_one else ""
        added = self._tokenizer.added_tokens_decoder.items()
        self.markers: Mapping[str, int] = {
            str(token): int(id) for id, token in added if str(token).strip()
        }

    def render(self, turns: Messages, asks: bool, goes_on: bool = False) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                list(turns),
                add_generation_prompt=asks,
                continue_final_message=goes_on,
                tokenize=False,
            )
        )

    def encode_rendered(self, rendered: str) -> list[int]:
        whole = self._tokenizer(rendered, add_special_tokens=False)
        return [int(id) for id in whole["input_ids"]]

    def encode_text(self, text: str) -> list[int]:
        return [int(id) for id in self._text.encode(text).ids]


class ChatTemplate:
    """A chat template with its tokenizer.

    Markers of turns are the template's alone: a message that spells one means its characters.
    Raises Unsupported if the tokenizer has no template.
    """

    def __init__(self, chat: ChatTokenizer):
        self._chat = chat
        if not chat.template:
            raise Unsupported(
                f"the {chat.kind} has no chat template",
                where=chat.where,
                hint=f"ask it without `chat`, or {chat.advice}",
            )
        self._ids = chat.markers
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._hidden = {word: HIDDEN.format(self._ids[word]) for word in self._ids}

    @property
    def digest(self) -> str:
        """The first digits of the sha256 of the template."""
        return hashlib.sha256(self._chat.template.encode()).hexdigest()[:SHOWN]

    @cached_property
    def eos_ids(self) -> tuple[int, ...]:
        """The id that ends an answer: the first marker after one."""
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": MARK}]
        try:
            after = self._render(turns, False).partition(MARK)[2]
        except Unsupported:  # a template that shows no answers
            return ()
        found = self._words.search(after)
        return (self._ids[found[0]],) if found else ()

    def encode(self, system: str, prompt: str, context: int | None) -> list[int]:
        """Return the ids of a user's message, up to where the answer begins. BOS is there if the
        template writes it.

        system: the message before it; "" if there is none.
        context: most ids that the model reads; Unsupported if an answer has no room there.
        """
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": prompt})
        if any(self._words.search(turn["content"]) for turn in turns):
            ids = self._encode_apart([{**t, "content": self._hide(t["content"])} for t in turns])
        else:
            ids = list(self._chat.encode_rendered(self._render(turns, True)))
        if context is not None and len(ids) >= context:
            raise Unsupported(
                f"a message of {len(ids)} tokens, its chat template included, leaves no room in a"
                f" context of {context}",
                where=self._chat.where,
                hint="shorter prompts, or ask it without `chat`",
            )
        return ids

    def render(self, turns: Messages, asks: bool) -> str:
        """Return messages as a prompt, up to where the answer begins or goes on."""
        return self._render(turns, asks, not asks)

    def read_rendered(self, prompt: str) -> tuple[list[int], str]:
        """Return the ids of a rendered prompt up to its last marker, and the text behind it.

        Raises Unsupported if what stands behind a marker is read otherwise than a text of its own.
        """
        ends = [found.end() for found in self._words.finditer(prompt)]
        head, tail = (prompt[: ends[-1]], prompt[ends[-1] :]) if ends else ("", prompt)
        ids = [int(id) for id in self._chat.encode_rendered(head)] if head else []
        whole = [int(id) for id in self._chat.encode_rendered(prompt)]
        if whole != ids + (list(self._chat.encode_text(tail)) if tail else []):
            raise Unsupported(
                "its tokenizer reads what follows a marker of its chat template otherwise than a"
                " text of its own",
                where=self._chat.where,
                hint="ask it without a chat template",
            )
        return ids, tail

    def _hide(self, content: str) -> str:
        return self._words.sub(lambda found: self._hidden[found[0]], content)

    def _encode_apart(self, turns: Messages) -> list[int]:
        """The same for messages that spell markers: what stands between the template's own markers
        is encoded as text.
        """
        rendered, ids, at = self._render(turns, True), list[int](), 0
        for found in self._words.finditer(rendered):
            ids += [*self._encode_text(rendered[at : found.start()]), self._ids[found[0]]]
            at = found.end()
        return ids + self._encode_text(rendered[at:])

    def _encode_text(self, part: str) -> list[int]:
        for word, hidden in self._hidden.items():
            part = part.replace(hidden, word)
        ids = list(self._chat.encode_text(part)) if part else []
        if self._words.search(part) and not set(ids).isdisjoint(self._ids.values()):
            halves = self._words.sub(_halve, part).split(MARK)
            return [id for half in halves for id in self._chat.encode_text(half)]
        return ids

    def _render(self, turns: Messages, asks: bool, goes_on: bool = False) -> str:
        """The messages in the template, and behind them what an answer begins with."""
        try:
            return self._chat.render(turns, asks, goes_on)
        except ImportError as error:
            raise ModelError(
                f"the chat template cannot be read: {_say(error)}", where=self._chat.where
            ) from None
        except Exception as error:  # whatever the template raises
            raise Unsupported(
                f"the chat template refuses the messages: {_say(error)}",
                where=self._chat.where,
                hint="without a system message, if it takes none",
            ) from None


def render_template(
    template: str, turns: Messages, asks: bool, goes_on: bool = False, **tokens: str
) -> str:
    """Return messages in a Jinja template, in the sandbox and by the rules of transformers.

    asks, goes_on: as of `ChatTokenizer.render`.
    tokens: `bos_token` and others that a template names.
    """
    utils = importlib.import_module("transformers.utils.chat_template_utils")
    rendered, _ = utils.render_jinja_template(
        conversations=[list(turns)],
        chat_template=template,
        add_generation_prompt=asks,
        continue_final_message=goes_on,
        **tokens,
    )
    return str(rendered[0])


def _say(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _halve(found: re.Match[str]) -> str:
    """A word in two parts, so that it is no token."""
    return f"{found[0][:1]}{MARK}{found[0][1:]}"
