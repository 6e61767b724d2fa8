"""Which network's step is written here, and when it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from llmbench.models.networks.char_ffn import CharFFN
from llmbench.models.networks.network import Network, State
from llmbench.models.networks.recurrent import LSTM, RNN
from llmbench.models.networks.transformer_decoder import TransformerDecoder
from llmbench.models.networks.word_ffn import WordFFN
from llmbench.models.steps.decoder import DecoderStep
from llmbench.models.steps.feed_forward import CharStep, WordStep
from llmbench.models.steps.recurrent import LSTMStep, RNNStep
from llmbench.models.steps.row_step import RowStep

# of these very classes: a subclass may compute something else
_STEPS: dict[type[Network], Callable[[Any, Any], RowStep]] = {
    CharFFN: CharStep,
    WordFFN: WordStep,
    RNN: RNNStep,
    LSTM: LSTMStep,
    TransformerDecoder: DecoderStep,
}


def begin_step(network: Network, state: State) -> RowStep | None:
    """What writes on from the state of one row, which is copied; None if nothing here does.

    That is for a network of llmbench in evaluation mode, whose weights are float32 on a CPU. While
    somebody counts operations there is none: a step hides some of them.
    """
    make = _STEPS.get(type(network))
    if make is None or network.training or _get_current_dispatch_mode() is not None:
        return None
    if any(p.dtype != torch.float32 or p.device.type != "cpu" for p in network.parameters()):
        return None
    with torch.inference_mode(False), torch.no_grad():  # buffers that any mode may write to
        return make(network, state)
