"""The one protocol of a model over tokens, for scoring, packing, states and generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from llmbench.models.tokenizers.tokens import Tokens


def _not_implemented(name: str) -> NotImplementedError:
    return NotImplementedError(f"this model has no {name}")


class TokenModel(Protocol):
    """What scoring and generation need of a model over tokens; TokenAdapter implements all of it.

    A class that only scores, or only generates, inherits the defaults for the other half. Sizes in
    shapes: B rows of a batch, T ids, D channels, V entries of the vocabulary, N rows for the head.
    """

    # Tokens
    # ------------------------------------------------------------------------------------------

    context: int | None = None  # most ids in one forward pass; None: any number
    bos_ids: tuple[int, ...] = ()  # put before a text, never scored
    eos_ids: tuple[int, ...] = ()  # any of these ends a generated text; the first is scored
    escape: float = 0.0  # probability of a piece outside the vocabulary

    @property
    def device(self) -> str:
        """Return the device of ids and weights, as torch names it."""
        raise _not_implemented("device")

    def encode(self, text: str) -> Tokens:
        """Return the ids of a text, without bos_ids, and the bytes that each stands for."""
        raise _not_implemented("encode")

    def encode_all(self, texts: Sequence[str]) -> list[Tokens]:
        """Return what `encode` returns for each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> bytes:
        """Return the bytes that the ids stand for."""
        raise _not_implemented("decode")

    chat_eos_ids: tuple[int, ...] = ()  # that end a turn of a chat; the first is scored

    def encode_chat(self, system: str, prompt: str) -> Sequence[int]:
        """Return the ids of a user's message in the chat template, up to where the answer begins.

        system: the message before it; "" if there is none.
        """
        raise _not_implemented("encode_chat")

    def render_chat(self, messages: Sequence[Mapping[str, str]], asks: bool) -> str:
        """Return messages (`role`, `content`) in the chat template, as a prompt to encode.

        asks: whether what an answer begins with stands at the end; if not, the last message is one
            that is to be continued.
        """
        raise _not_implemented("render_chat")

    def read_rendered(self, prompt: str) -> tuple[Sequence[int], str]:
        """Return the ids of what `render_chat` wrote up to its last marker, and the text behind
        it.
        """
        raise _not_implemented("read_rendered")

    # Scoring
    # ------------------------------------------------------------------------------------------

    @property
    def has_split_head(self) -> bool:
        """Return whether head(hidden(ids)) equals logits(ids)."""
        return False

    @property
    def is_stateful(self) -> bool:
        """Return whether `forward_with_state` is implemented."""
        return False

    @property
    def can_fork_state(self) -> bool:
        """Return whether several texts can go on from one state: `select_state`."""
        return False

    @property
    def supports_packing(self) -> bool:
        """Return whether `forward_packed` is implemented and exact."""
        return False

    @property
    def charges_targets(self) -> bool:
        """Return whether `charge_targets` gives bits, and no logits have to be asked for."""
        return False

    @property
    def thread_safe(self) -> bool:
        """Return whether forward passes may run in several threads at once."""
        return False

    @property
    def lm_head_weight(self) -> Tensor | None:
        """Return the head as a (V, D) matrix if it is a plain matrix product, else None."""
        return None

    def logits(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, V) logits; row t predicts what follows ids[:, :t+1]."""
        raise _not_implemented("logits")

    def hidden(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, D) rows for `head`."""
        raise _not_implemented("hidden")

    def head(self, rows: Tensor) -> Tensor:
        """(N, D) rows -> (N, V) logits."""
        raise _not_implemented("head")

    def charge_targets(
        self, jobs: Sequence[tuple[NDArray[np.int64], int]]
    ) -> list[NDArray[np.float64]]:
        """Return, for each (T,) ids and `first`, the bits of ids[first:]."""
        raise _not_implemented("charge_targets")

    def read_logits(self, ids: Tensor, first: int) -> Iterator[Tensor]:
        """Yield the (N, V) logits after (T,) ids from number `first` on, some rows at a time.

        Asked only if `charges_targets` is true.
        """
        raise _not_implemented("read_logits")

    def forward_packed(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids at (B, T) positions under a (B, 1, T, T) mask -> (B, T, D) rows for `head`."""
        raise _not_implemented("forward_packed")

    def forward_with_state(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, T) ids after a state, None at first -> (B, T, D) rows for `head`, the new state."""
        raise _not_implemented("forward_with_state")

    def select_state(self, state: Any, rows: Tensor) -> Any:
        """Return the state of these rows of the batch, in this order; a row may come twice."""
        raise _not_implemented("select_state")

    # Generation
    # ------------------------------------------------------------------------------------------

    unknown: int | None = None  # id of pieces outside the vocabulary, never generated
    opens: bytes = b""  # put before a text by `encode`; removed from what is generated
    max_new_tokens: int | None = None  # None: no limit
    generation_batch_size: int = 64  # most answers in one batch
    answer_continues_prompt: bool = True  # False: encode_answer encodes forced text by itself

    # symbols whose keys and values are carried, if these are always the last so many
    cache_window: int | None = None

    @property
    def caches(self) -> bool:
        """Return whether a step costs less than reading everything again."""
        return False

    @property
    def supports_padding(self) -> bool:
        """Return whether prompts of different lengths may share a batch: `prefill_padded`."""
        return False

    @property
    def library_generate(self) -> Callable[[Tensor, int], None] | None:
        """Return the generation loop of the library that the model comes from, if it has one.

        It writes as many ids after (1, T) ids as it is told. Only its time is of interest.
        """
        return None

    def encode_answer(self, text: str) -> Tokens:
        """Return the ids of an answer, if they are not those of the prompt's tokenizer."""
        return self.encode(text)

    def prefill(self, ids: Tensor) -> tuple[Any, Tensor]:
        """(B, T) ids -> a state and the (B, V) logits of the next id."""
        raise _not_implemented("prefill")

    def prefill_padded(self, ids: Tensor, lengths: Sequence[int]) -> tuple[Any, Tensor]:
        """Like `prefill`, for rows padded on the left, of which the last `lengths` ids count."""
        raise _not_implemented("prefill_padded")

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        """(B,) ids after a state -> the new state and the (B, V) logits of the next id."""
        raise _not_implemented("step")
