"""Causal checkpoints that carry a state instead of looking back: RWKV, Mamba.

Their state goes on past the length they were trained on (`context_length`), so there is no limit of
context: a document is read from its beginning to its end. It is read in pieces, with the state
carried, if a trial shows that pieces give what one pass gives, and in one pass otherwise.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from llmbench.adapters.checkpoints.causal import CausalLM
from llmbench.adapters.token import TokenAdapter

STATES = ("state", "cache_params", "past_key_values")  # what families call it
PIECES = (5, 4, 1, 2)  # ids of the pieces in the trial


class RecurrentLM(CausalLM):
    """A decoder with a state."""

    @cached_property
    def is_stateful(self) -> bool:  # tried once: Mamba's reference code drops the state of a piece
        return self.parts is not None and self._proves(self._compare_pieces)

    @cached_property
    def caches(self) -> bool:
        return self.is_stateful

    @cached_property
    def supports_padding(self) -> bool:
        return False

    @cached_property
    def _state_name(self) -> str:
        assert self.parts is not None
        named = inspect.signature(self.parts.module.forward).parameters
        return next(name for name in STATES if name in named)

    def _compare_pieces(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of ids that are read in pieces, and those of one pass."""
        state, rows, at = None, [], 0
        for size in PIECES:
            some, state = self.forward_with_state(ids[:, at : at + size], state)
            rows.append(some)
            at += size
        read = torch.cat(rows, 1).flatten(0, 1)
        return self.head(read), self.logits(ids[:, :at]).flatten(0, 1)

    def forward_with_state(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(B, T) ids after a state, None at first -> (B, T, D) rows for `head`, the new state."""
        if isinstance(state, list) and ids.shape[1] == 1 and len(ids) > 1:
            # one id of several rows at once is wrong in transformers' RWKV: row by row
            read = [
                self._read(ids[i : i + 1], [part[i : i + 1].clone() for part in state])
                for i in range(len(ids))
            ]
            parts = zip(*(after for _, after in read), strict=True)
            return torch.cat([rows for rows, _ in read]), [torch.cat(part) for part in parts]
        return self._read(ids, state)

    def _read(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        assert self.parts is not None
        given = {} if state is None else {self._state_name: state}
        out = self.parts.module(input_ids=ids, use_cache=True, **given)
        return out[0], out[self._state_name]

    def prefill(self, ids: Tensor) -> tuple[Any, Tensor]:
        if not self.is_stateful:
            return TokenAdapter.prefill(self, ids)
        rows, state = self.forward_with_state(ids, None)
        return state, self.head(rows[:, -1])

    def step(self, state: Any, ids: Tensor) -> tuple[Any, Tensor]:
        if not self.is_stateful:
            return TokenAdapter.step(self, state, ids)
        rows, state = self.forward_with_state(ids[:, None], state)
        return state, self.head(rows[:, -1])
