"""The two ways to ask an OpenAI-compatible server for text, and what its answers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmbench.adapter import Request
from llmbench.adapters.servers.client import Refusal
from llmbench.errors import ModelError, Unsupported

Prompt = str | Sequence[int]
Finish = Literal["length", "stop"]
HIGH = range(0xD800, 0xDC00)  # the first half of a character that JSON escapes as two
# how servers say that a model came to its end, or wrote a stop text; vLLM, TGI and others
ENDS = ("stop", "eos", "eos_token", "stop_sequence", "end_turn")
PATHS = {"completions": "/completions", "chat": "/chat/completions"}
REASONING = ("reasoning_content", "reasoning")  # where chat APIs put what is thought, not said


class OnlyReasoning(ModelError):
    """A server's answer has no text: the model thought, and said nothing."""

    def __init__(self, where: str):
        super().__init__(
            "an answer of the server has no text, only reasoning (`reasoning_content`)",
            where=where,
            hint="turn reasoning off at the server, or allow longer answers",
        )


@dataclass(frozen=True)
class Piece:
    """What one message adds to an answer. `usage`: counts of tokens by name, if it gives any.
    `reasons`: whether it holds reasoning, which is no part of the answer.
    """

    text: str
    finish: Finish | None
    usage: Mapping[str, int] | None
    reasons: bool = False


@dataclass
class Dialect:
    """How one server wants to be asked; `adapt` learns from what it refuses.

    sends_options: whether a stream is asked to count its tokens at the end.
    limit: the field that bounds an answer.
    """

    api: Literal["completions", "chat"]
    model: str
    served_as: str
    where: str
    sends_options: bool = True
    limit: str = "max_tokens"

    @property
    def path(self) -> str:
        """The address of this way of asking, after that of the server."""
        return PATHS[self.api]

    def body(self, prompt: Prompt, request: Request, most: int, stream: bool) -> dict[str, Any]:
        """Return a request for at most `most` tokens after a prompt."""
        if request.forced_text is not None:
            raise Unsupported(
                "an answer cannot be fed to a model behind a server, so its speed is not measured",
                where=self.where,
            )
        if request.top_k is not None:
            raise Unsupported(
                "top_k is not part of the protocol: a server may leave it out without a word",
                where=self.where,
                hint="leave top_k out of the task",
            )
        asked: dict[str, Any] = {"model": self.model, self.limit: most}
        if self.api == "chat":
            system = [{"role": "system", "content": request.chat}] if request.chat else []
            asked["messages"] = [*system, {"role": "user", "content": prompt}]
        else:
            asked["prompt"] = prompt if isinstance(prompt, str) else list(prompt)
        asked |= {"temperature": request.temperature, "seed": request.seed}
        if request.top_p is not None:
            asked["top_p"] = request.top_p
        if stream:
            asked["stream"] = True
            if self.sends_options:
                asked["stream_options"] = {"include_usage": True}
        return asked

    def adapt(self, refusal: Refusal) -> bool:
        """Ask otherwise from now on, if a refusal says how; return whether it does."""
        if refusal.status not in (400, 422):
            return False
        if self.limit == "max_tokens" and "max_completion_tokens" in refusal.said:
            self.limit = "max_completion_tokens"
            return True
        if self.sends_options and "stream_options" in refusal.said:
            self.sends_options = False
            return True
        return False

    def read(self, data: Mapping[str, Any]) -> Piece:
        """Return what a message, or a whole answer, says. Raises ModelError if it is not one."""
        self.check_model(data)
        usage = data.get("usage")
        counts = read_usage(usage) if isinstance(usage, Mapping) else None
        if data.get("choices") == []:  # the last message of a stream only counts
            return Piece("", None, counts)
        choice = take_choice(data, self.where)
        holder = self._find_holder(choice)
        reasons = self.api == "chat" and any(holder.get(name) for name in REASONING)
        return Piece(self._read_text(holder), self._read_finish(choice), counts, reasons)

    def _read_finish(self, choice: Mapping[str, Any]) -> Finish | None:
        """Why an answer ended; None while it has not. ModelError if it was broken off."""
        reason = choice.get("finish_reason")
        if not reason:
            return None
        if reason == "length":
            return "length"
        if reason in ENDS:
            return "stop"
        raise ModelError(
            f"the server broke an answer off: its finish_reason is {str(reason)[:60]!r}",
            where=self.where,
        )

    def _find_holder(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """What holds a choice's text: of a chat its `delta` or `message`."""
        if self.api != "chat":
            return choice
        found = choice.get("delta") or choice.get("message") or {}
        if not isinstance(found, Mapping):
            raise ModelError("the server's answer has no message", where=self.where)
        return found

    def _read_text(self, holder: Mapping[str, Any]) -> str:
        """The text of a choice; a role alone is none."""
        text = holder.get("content" if self.api == "chat" else "text")
        if text is None:
            return ""
        if not isinstance(text, str):
            raise ModelError(
                f"the server's answer has a {type(text).__name__} for its text", where=self.where
            )
        return text

    def check_model(self, data: Mapping[str, Any]) -> None:
        """Raise ModelError if another model answers; NAME@REVISION is the one that was asked."""
        named = data.get("model")
        if named is None or named in (self.model, self.served_as):
            return
        if isinstance(named, str) and named.startswith(f"{self.model}@"):
            return
        raise ModelError(
            f"{self.model!r} was asked, and {str(named)[:200]!r} answers",
            where=self.where,
            hint="if that is the same model, say so: served_as=NAME",
        )


@dataclass
class Counting:
    """What the server's own counts of tokens are worth. `wrong`: "" while they can be believed."""

    wrong: str = ""


def take_choice(answer: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the one choice of an answer. ModelError if there is none, or if there are others."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise ModelError("the server's answer has no `choices`", where=where)
    if len(choices) > 1 or choices[0].get("index") not in (None, 0):
        raise ModelError(
            "one answer was asked for, and the server gives several `choices`",
            where=where,
            hint="let the server answer once: `n` and `best_of` of 1",
        )
    return choices[0]


class Characters:
    """Joins text that comes in pieces; a character may come in two halves."""

    def __init__(self) -> None:
        self._half = ""

    def take(self, text: str, ended: bool = False) -> bytes:
        """Return what is whole, as UTF-8; a half that stays alone is U+FFFD."""
        whole = self._half + text
        self._half = ""
        if whole and ord(whole[-1]) in HIGH and not ended:
            whole, self._half = whole[:-1], whole[-1]
        return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def read_usage(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of tokens that are numbers."""
    return {
        name: value
        for name, value in usage.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
