"""Stage 3: recurrent networks. A state is carried from symbol to symbol, so the context has no
fixed end (Elman 1990; Hochreiter & Schmidhuber 1997). The state is carried over borders of pieces,
in training and in scoring alike.
"""

from __future__ import annotations

from torch import Tensor, nn

from llmbench.models.networks.network import Network, State


class _Recurrent(Network):
    is_stateful = True

    def __init__(
        self,
        cell: type[nn.RNN] | type[nn.LSTM],
        symbols: int,
        embedding: int,
        width: int,
        layers: int,
        dropout: float,
    ):
        super().__init__()
        self.symbols = symbols
        self.embedding = nn.Embedding(symbols + 1, embedding)
        self.body = cell(
            embedding, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, symbols)

    def hidden(self, ids: Tensor, state: State = None) -> tuple[Tensor, State]:
        rows, state = self.body(self.dropout(self.embedding(ids)), state)  # (B, T, width)
        return self.dropout(rows), state

    def head(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.output(rows)
        return logits

    def select_state(self, state: State, rows: Tensor) -> State:
        parts = state if isinstance(state, tuple) else (state,)  # (layers, B, width) each
        taken = tuple(part.index_select(1, rows) for part in parts)
        return taken if isinstance(state, tuple) else taken[0]


class RNN(_Recurrent):
    """The plain recurrent network: h' = tanh(W x + U h)."""

    def __init__(
        self,
        symbols: int,
        embedding: int = 64,
        width: int = 384,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__(nn.RNN, symbols, embedding, width, layers, dropout)
        for name, weight in self.body.named_parameters():
            if name.startswith(
                "weight_hh"
            ):  # keeps what is carried from fading or exploding at the start (Le et al. 2015)
                nn.init.orthogonal_(weight)


class LSTM(_Recurrent):
    """Long short-term memory: gates decide what the cell keeps, takes in and gives out."""

    def __init__(
        self,
        symbols: int,
        embedding: int = 64,
        width: int = 384,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__(nn.LSTM, symbols, embedding, width, layers, dropout)
        for name, bias in self.body.named_parameters():
            if name.startswith("bias_ih"):  # the forget gate starts open (Jozefowicz et al. 2015)
                nn.init.ones_(bias.data[width : 2 * width])
