"""A tokenizer's chat template: a user's message as the ids that a model was trained to answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from llmbench.errors import ModelError, Unsupported
from llmbench.models.tokenizers.byte_offsets import HIDDEN, ByteTokenizer

MARK = "\uf8ff\uf8fd"  # private characters, as an answer by which its end is found
SHOWN = 16  # digits of a digest
Messages = Sequence[dict[str, str]]


class ChatTemplate:
    """The template that comes with a tokenizer of transformers.

    Markers of turns are the template's alone: a message that spells one means its characters.
    Raises Unsupported if the tokenizer has no template.
    """

    def __init__(self, text: ByteTokenizer, where: str):
        self._text, self._tokenizer, self._where = text, text.tokenizer, where
        if not getattr(self._tokenizer, "chat_template", None):
            raise Unsupported(
                "the checkpoint has no chat template",
                where=where,
                hint="ask it without `chat`, or save chat_template.jinja with the checkpoint",
            )
        added = self._tokenizer.added_tokens_decoder.items()
        self._ids = {str(token): int(id) for id, token in added if str(token).strip()}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._hidden = {word: HIDDEN.format(self._ids[word]) for word in self._ids}

    @property
    def digest(self) -> str:
        """The first digits of the sha256 of the template."""
        template = self._tokenizer.get_chat_template()
        return hashlib.sha256(template.encode()).hexdigest()[:SHOWN]

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

    def encode(self, system: str, prompt: str) -> list[int]:
        """Return the ids of a user's message, up to where the answer begins. BOS is there if the
        template writes it.

        system: the message before it; "" if there is none.
        """
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": prompt})
        if any(self._words.search(turn["content"]) for turn in turns):
            return self._encode_apart([{**t, "content": self._hide(t["content"])} for t in turns])
        whole = self._tokenizer(self._render(turns, True), add_special_tokens=False)
        return [int(id) for id in whole["input_ids"]]

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
        ids = [int(id) for id in self._text.encode(part).ids] if part else []
        if self._words.search(part) and not set(ids).isdisjoint(self._ids.values()):
            halves = self._words.sub(_halve, part).split(MARK)
            return [int(id) for half in halves for id in self._text.encode(half).ids]
        return ids

    def _render(self, turns: Messages, asks: bool) -> str:
        """The messages in the template, and behind them what an answer begins with."""
        try:
            rendered: Any = self._tokenizer.apply_chat_template(
                list(turns), add_generation_prompt=asks, tokenize=False
            )
        except ImportError as error:
            said = " ".join(str(error).split())[:200]
            raise ModelError(
                f"the chat template cannot be read: {said}", where=self._where
            ) from None
        except Exception as error:  # whatever the template raises
            said = " ".join(str(error).split())[:200]
            raise Unsupported(
                f"the chat template refuses the messages: {said}",
                where=self._where,
                hint="without a system message, if it takes none",
            ) from None
        return str(rendered)


def _halve(found: re.Match[str]) -> str:
    """A word in two parts, so that it is no token."""
    return f"{found[0][:1]}{MARK}{found[0][1:]}"
