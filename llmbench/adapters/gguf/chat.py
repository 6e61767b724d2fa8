"""The chat template in a GGUF file's metadata, and the tokens that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from llmbench.models.tokenizers.chat_template import Messages, render_template


class GGUFChat:
    """The chat of a GGUF file: `tokenizer.chat_template`, with the ids of its own tokenizer."""

    kind = "file"
    advice = "take a file with tokenizer.chat_template in its metadata"

    def __init__(self, engine: Any, where: str):
        self._engine, self.where = engine, where
        self.template: str = engine.chat_template

    @cached_property
    def markers(self) -> dict[str, int]:
        found: dict[str, int] = self._engine.find_markers()
        return found

    def render(self, turns: Messages, asks: bool, goes_on: bool = False) -> str:
        facts = self._engine.facts
        tokens = {
            name: self._engine.spell(id).decode(errors="replace")
            for name, id in (("bos_token", facts.bos), ("eos_token", facts.eos))
            if id >= 0
        }
        return render_template(self.template, turns, asks, goes_on, **tokens)

    def encode_rendered(self, rendered: str) -> Sequence[int]:
        ids: Sequence[int] = self._engine.tokenize(rendered.encode(), with_markers=True)
        return ids

    def encode_text(self, text: str) -> Sequence[int]:
        ids: Sequence[int] = self._engine.tokenize(text.encode())
        return ids
