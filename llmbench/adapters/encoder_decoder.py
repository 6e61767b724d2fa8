"""Models that read a source and write a target: bits of the target, its end included, given the
source.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmbench.adapter import Adapter, Chunk, Passage, Request, Window
from llmbench.errors import ModelError, Unsupported
from llmbench.inference import generation
from llmbench.inference.batching import pad_rows, run_halving
from llmbench.inference.token_bits import token_bits
from llmbench.inference.token_model import TokenModel
from llmbench.ledger import END, TOKEN, Ledger
from llmbench.models.tokenizers.tokens import Tokens

TOKEN_BUDGET = 4096  # ids in one forward pass, source and target, padding included


@dataclass
class _Pair:
    """A passage as ids: its source, its target, and what is asked for: the target's tokens, then
    (with `score_eos`) where it ends.
    """

    passage: Passage
    source: list[int]
    tokens: Tokens
    asked: list[int]
    bits: NDArray[np.float64]


class EncoderDecoderAdapter(Adapter):
    """`bos_ids`: ids that the decoder is given, free, before every target. `eos_ids`: ids that end
    one. `context`: most target ids at once. `source_context`: most source ids. None for no limit.
    `source_tail`: ids that end every source; one that is too long keeps them. Padding of targets
    stands on the right and is charged to nobody.
    """

    reads_source = True
    context: int | None = None
    source_context: int | None = None
    bos_ids: tuple[int, ...] = ()
    eos_ids: tuple[int, ...] = ()
    pad: int = 0
    source_tail: int = 1
    opens: bytes = b""
    device: str = "cpu"

    @abstractmethod
    def encode(self, text: str) -> Tokens:
        """Ids of a target, without special ones; spans tile its bytes; `loss` says what the ids do
        not hold.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> bytes:
        """The bytes of a target's ids."""

    @abstractmethod
    def encode_source(self, text: str) -> list[int]:
        """Ids of a source, special ones included."""

    @abstractmethod
    def pair_logits(self, source: Tensor, attention: Tensor, target: Tensor) -> Tensor:
        """(B, S) source ids, their (B, S) attention mask, (B, T) target ids -> (B, T, V) logits of
        what follows each target id.
        """

    def reference_bits(self, source: str, target: str) -> float | None:
        """Return the bits of a target and its end by the model's own loss; None if it has none.

        Conformance checks hold `score` to it.
        """
        return None

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        """The window rule does not apply: a target is read whole."""
        pairs = [self._pair(passage) for passage in passages]
        order = sorted(pairs, key=lambda pair: -(len(pair.source) + len(pair.asked)))
        at = 0
        with torch.inference_mode():
            while at < len(order):
                size = max(
                    1,
                    TOKEN_BUDGET
                    // (len(order[at].source) + len(order[at].asked) + len(self.bos_ids)),
                )
                run_halving(
                    order[at : at + size],
                    self._forward,
                    lambda pair: f"pair of {len(pair.source)} and {len(pair.asked)} ids",
                )
                at += size
        for pair in pairs:
            yield _ledger(pair)

    def find_loss(self, passage: Passage) -> str:
        """What is lost of a target; of a source nothing need come back."""
        return self.encode(passage.text).loss or ""

    def find_prompt_loss(self, prompt: str) -> str:
        """What is lost of a source; the default knows nothing of it."""
        return ""

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        """Targets, streamed; the prompt is the source."""
        return generation.generate(self.token_model, requests)

    @property
    def token_model(self) -> TokenModel:
        """This model, with the source as its prompt."""
        return _Writer(self)

    def measure_prompt(self, prompt: str) -> tuple[int, int | None]:
        """Return the (bytes, tokens) that are read: of a long source, its beginning."""
        size, count = len(prompt.encode()), len(self.encode_source(prompt))
        most = self.source_context or count
        return (size, count) if count <= most else (size * most // count, most)

    # Optional, for speed: with a cache
    # ---------------------------------------------------------------------------------

    def begin(self, source: Tensor) -> tuple[Any, Tensor]:
        """(B, S) source ids -> a state and the (B, V) logits of the target's first id."""
        target = torch.tensor([self.bos_ids] * len(source), dtype=torch.long, device=source.device)
        return (source, target), self._last(source, target)

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        """The state after one more target id a row, (B,), and the (B, V) logits of the next."""
        source, target = state[0], torch.cat([state[1], ids[:, None]], dim=1)
        return (source, target), self._last(source, target)

    def _last(self, source: Tensor, target: Tensor) -> Tensor:
        return self.pair_logits(source, torch.ones_like(source), target)[:, -1]

    def _pair(self, passage: Passage) -> _Pair:
        if not passage.context:
            raise Unsupported(
                "an encoder-decoder needs a source, and this text has none",
                hint="ask it by a task `conditional`, over pairs",
            )
        tokens, source = self.encode(passage.text), self.encode_source(passage.context)
        if tokens.loss:
            raise Unsupported(f"lossy tokenizer: {tokens.loss}")
        asked = [*tokens.ids.tolist(), *(self.eos_ids[:1] if passage.score_eos else ())]
        for what, length, limit in (
            ("source", len(source), self.source_context),
            ("target", len(asked) + len(self.bos_ids) - 1, self.context),
        ):
            if limit is not None and length > limit:
                raise Unsupported(
                    f"the {what} of {passage.id!r} has {length} tokens, and the model reads"
                    f" {limit}",
                    hint="shorter pairs",
                )
        return _Pair(passage, source, tokens, asked, np.full(len(asked), np.nan))

    def _forward(self, pairs: Sequence[_Pair]) -> None:
        inputs = [[*self.bos_ids, *pair.asked[:-1]] for pair in pairs]
        source, attention = pad_rows([pair.source for pair in pairs], self.pad, self.device)
        target, _ = pad_rows(inputs, self.pad, self.device)
        logits = self.pair_logits(source, attention, target)
        if logits.ndim != 3 or logits.shape[:2] != target.shape:
            raise ModelError(
                f"logits are {tuple(logits.shape)} for targets of shape {tuple(target.shape)}"
            )
        before = len(self.bos_ids) - 1
        for row, pair in enumerate(pairs):
            own = logits[row, before : before + len(pair.asked)]
            pair.bits = token_bits(own, np.asarray(pair.asked, dtype=np.int64))


class _Writer(TokenModel):
    """An encoder-decoder as generation.py sees a model: the prompt is the source, what is generated
    is the target.
    """

    device: str = "cpu"
    caches: bool = True
    answer_continues_prompt = False

    def __init__(self, model: EncoderDecoderAdapter):
        self.model, self.eos_ids, self.device, self.opens = (
            model,
            model.eos_ids,
            model.device,
            model.opens,
        )
        self.generation_batch_size = model.generation_batch_size
        self.max_new_tokens = (
            None if model.context is None else model.context - len(model.bos_ids) + 1
        )

    def encode(self, text: str) -> Tokens:
        """The source; of one that is too long the beginning, with the end symbol that stands behind
        it.
        """
        ids, most = self.model.encode_source(text), self.model.source_context
        if most is not None and len(ids) > most:
            tail = self.model.source_tail
            ids = [*ids[: most - tail], *ids[len(ids) - tail :]]
        return Tokens.of(ids, [b""] * len(ids))

    def encode_answer(self, text: str) -> Tokens:
        return self.model.encode(text)

    def decode(self, ids: Sequence[int]) -> bytes:
        return self.model.decode(ids)

    def prefill(self, ids: Tensor) -> tuple[Any, Tensor]:
        return self.model.begin(ids)

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        return self.model.step(state, ids)


def _ledger(pair: _Pair) -> Ledger:
    size, count = len(pair.passage.text.encode()), len(pair.tokens.ids)
    kind = np.full(len(pair.bits), TOKEN, dtype=np.uint8)
    kind[count:] = END
    end_of_text = np.full(len(pair.bits) - count, size, dtype=np.int64)
    start = np.concatenate([pair.tokens.start, end_of_text])
    ledger = Ledger(
        start,
        np.concatenate([pair.tokens.end, end_of_text]),
        pair.bits,
        kind,
        size,
        pair.passage.id,
    )
    ledger.check()
    return ledger
