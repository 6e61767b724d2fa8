"""What every network trained here has in common: a body that gives rows, a head that turns rows
into logits, a state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

State = (
    Any  # whatever the network carries from one piece of text to the next; None before a document
)


class Network(nn.Module, ABC):
    """A causal network over ids 0 .. symbols-1, with one more input id, `symbols`, the start
    symbol.

    `symbols`: how many ids can be predicted. The start symbol is given, never predicted.
    `context`: most ids in one pass (the start symbol included); None where any number may be fed.
    `reach`: how many of the last ids a prediction can depend on; None where that is unlimited or
    equals `context`.
    `window`: the state is the keys and values of so many last ids; None where it is another.
    `is_stateful`: True where training carries the state from one piece of a document to the next.
    """

    symbols: int
    context: int | None = None
    reach: int | None = None
    window: int | None = None
    is_stateful: bool = False

    @property
    def bos_id(self) -> int:
        """The id of the start symbol."""
        return self.symbols

    @abstractmethod
    def hidden(self, ids: Tensor, state: State = None) -> tuple[Tensor, State]:
        """(B, T) ids after `state` -> (B, T, D) rows, row t made of everything up to ids[:, t]; and
        the new state.
        """

    @abstractmethod
    def head(self, rows: Tensor) -> Tensor:
        """(N, D) rows -> (N, symbols) logits of the next id."""

    def select_state(self, state: State, rows: Tensor) -> State:
        """The state of these rows of a batch, in this order, some perhaps several times."""
        raise NotImplementedError

    def clear_state(self, state: State, rows: Tensor) -> State:
        """The state with nothing in it for these rows, (B,) of bool, which begin a document.

        As it stands here it is for tensors of (layers, B, ...) that are zero before a document.
        """
        parts = state if isinstance(state, tuple) else (state,)
        kept = tuple(part * (~rows).view(-1, *[1] * (part.ndim - 2)) for part in parts)
        return kept if isinstance(state, tuple) else kept[0]

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, symbols) logits, from a fresh state."""
        logits: Tensor = self.head(self.hidden(ids)[0])
        return logits
