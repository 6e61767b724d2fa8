"""Generation owned once for every token model: prefill and step, sampling, stop strings, streaming.

Each request has its own random numbers, so an answer does not depend on what else is in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Chunk, Request
from llmbench.errors import ModelError
from llmbench.inference.sampling import sample
from llmbench.inference.text.answer import AnswerText
from llmbench.inference.token_model import TokenModel


def generate(model: TokenModel, requests: Sequence[Request]) -> Iterator[Chunk]:
    """Chunks of all answers as they come. A model that proved to take padding runs all requests as
    batches of like length; for the others prompts of the same number of tokens run together, so
    that nothing is padded.
    """
    answers = sorted(
        (_Answer(model, row, request) for row, request in enumerate(requests)),
        key=lambda answer: len(answer.line),
    )
    groups: list[list[_Answer]] = []
    for answer in answers:
        fits = (
            groups
            and len(groups[-1]) < model.generation_batch_size
            and (model.supports_padding or len(groups[-1][0].line) == len(answer.line))
        )
        if fits:
            groups[-1].append(answer)
        else:
            groups.append([answer])
    for group in groups:
        yield from _run(model, group)


def _run(model: TokenModel, answers: Sequence[_Answer]) -> Iterator[Chunk]:
    state, logits, position = _prefill(model, answers)
    while True:
        if all(
            answer.forced_text is not None for answer in answers
        ):  # nothing is drawn: that the numbers are numbers is seen where they are
            values: Any = [None] * len(answers)
            if (
                not logits.max().item() < math.inf
            ):  # NaN is the largest number there is, and smaller than none
                raise _not_finite()
        else:
            values = _finite(logits.cpu().double().numpy())
        chosen = []
        for answer, row in zip(answers, values, strict=True):
            token = answer.choose(row)
            chosen.append(token)
            if not answer.finish:
                yield from answer.take(token)
        if all(answer.finish for answer in answers):
            return
        if model.caches and model.context is not None and position >= model.context:
            for answer in answers:  # the cache is full; whose row is not goes on as it would alone
                answer.make_room(model.context)
            state, logits, position = _prefill(model, answers)
        else:
            with torch.inference_mode():
                state, logits = model.step(state, torch.tensor(chosen, device=model.device))
            position += 1


def _prefill(model: TokenModel, answers: Sequence[_Answer]) -> tuple[Any, Tensor, int]:
    """State, logits and the longest row's place after reading what each answer holds; shorter rows
    are padded on the left.
    """
    lines = [answer.line[answer.begin :] for answer in answers]
    lengths = [len(line) for line in lines]
    longest = max(lengths)
    ids = torch.tensor(
        [line[:1] * (longest - len(line)) + line for line in lines], device=model.device
    )
    with torch.inference_mode():
        state, logits = (
            model.prefill(ids) if min(lengths) == longest else model.prefill_padded(ids, lengths)
        )
    return state, logits, longest


def _finite(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    if not logits.max() < math.inf:  # see _run
        raise _not_finite()
    return logits


def _not_finite() -> ModelError:
    return ModelError("logits hold NaN or +inf while generating", hint="look at the weights")


@dataclass
class _Answer:
    """One answer in the making: its ids, its random numbers, its text so far."""

    model: TokenModel
    row: int
    request: Request
    line: list[int] = field(init=False)
    prompt: int = field(init=False)  # how many of these are the prompt's

    def __post_init__(self) -> None:
        self.line, self.prompt = self._read_prompt()
        if not self.line:
            raise ModelError("an empty prompt for a model without a start symbol")
        limits = (self.model.context, self.request.prompt_tokens)
        most = min((limit for limit in limits if limit is not None), default=len(self.line))
        self.begin = max(0, len(self.line) - most)  # of what the model still holds
        self.rng = np.random.default_rng(self.request.seed)
        self.text = AnswerText(self.request)
        self.made = 0
        # whether the text has begun: what `encode` puts before a text is no part of an answer
        is_chat = self.request.chat is not None
        continues = bool(self.request.prompt) and self.model.answer_continues_prompt and not is_chat
        self.ends = {*self.model.eos_ids, *(self.model.chat_eos_ids if is_chat else ())}
        self.began = continues or self.request.forced_text is not None
        self.forced_text = (
            None
            if self.request.forced_text is None
            else self._continuation(self.request.forced_text)
        )

    def _read_prompt(self) -> tuple[list[int], int]:
        """The ids before the answer, and how many of them are the prompt's own."""
        model, request = self.model, self.request
        if request.chat is not None:
            return list(model.encode_chat(request.chat, request.prompt)), 0
        head, rest = (
            model.read_rendered(request.prompt) if request.rendered else ((), request.prompt)
        )
        prompt = [*head, *model.encode(rest).ids.tolist()]
        return [*(model.bos_ids if request.add_bos or not prompt else ()), *prompt], len(prompt)

    @property
    def finish(self) -> Literal["length", "stop"] | None:
        """Why the answer has ended; None while it goes on."""
        return self.text.finish

    def _continuation(self, text: str) -> list[tuple[int, bytes]]:
        """Ids of a text that follows the prompt, with the bytes that each stands for, those of
        unknown words included. Encoded with the prompt where the prompt's ids stay what they are
        and others follow; apart where it is another's text.
        """
        raw = text.encode()
        if not self.model.answer_continues_prompt:
            tokens, first = self.model.encode_answer(text), 0
        elif self.request.chat is not None:
            tokens, first = self.model.encode(text), 0
        else:
            whole = self.model.encode(self.request.prompt + text)
            prompt = self.line[len(self.line) - self.prompt :]
            if len(whole.ids) > len(prompt) and whole.ids[: len(prompt)].tolist() == prompt:
                raw = (self.request.prompt + text).encode()
                tokens, first = whole, len(prompt)
            else:
                tokens, first = self.model.encode(text), 0
        if len(tokens.ids) == first:
            raise ModelError(f"its tokenizer makes no symbol of the text {text[:50]!r} to write")
        return [
            (int(tokens.ids[i]), raw[tokens.start[i] : tokens.end[i]])
            for i in range(first, len(tokens.ids))
        ]

    def make_room(self, context: int) -> None:
        """Forget the first half of a context that the last symbol no longer fits in."""
        if len(self.line) - self.begin > context:
            self.begin = len(self.line) - max(1, context // 2)

    def choose(self, logits: NDArray[np.float64] | None) -> int:
        """The next id, appended to the line; rows that are done go on silently, to keep the batch
        whole.
        """
        if self.forced_text is not None and not self.finish:
            token = (
                self.forced_text[self.made][0]
                if self.made < len(self.forced_text)
                else self.line[-1]
            )
        elif logits is None:
            token = self.line[-1]  # done; its row goes on for the others' sake
        else:
            if self.model.unknown is not None:
                logits = logits.copy()
                logits[self.model.unknown] = -np.inf
            token = sample(logits, self.request, self.rng)
        self.line.append(token)
        return token

    def take(self, token: int) -> Iterator[Chunk]:
        """The chunks that this id makes certain; sets `finish` with the last one."""
        request = self.request
        self.made += 1
        ended = token in self.ends and self.forced_text is None
        data = (
            b""
            if ended
            else (
                self.model.decode([token])
                if self.forced_text is None
                else self.forced_text[self.made - 1][1]
            )
        )
        if data and not self.began:
            self.began = True
            data = data.removeprefix(self.model.opens)
        most = (
            len(self.forced_text)
            if self.forced_text is not None
            else request.max_tokens or 4 * (request.max_bytes or 0)
        )
        longest = self.model.max_new_tokens
        full = (most is not None and self.made >= most) or (
            longest is not None and self.made >= longest
        )
        text = self.text.take(data, ended, full)
        if text or self.finish:
            yield Chunk(self.row, text, self.made, self.finish)
