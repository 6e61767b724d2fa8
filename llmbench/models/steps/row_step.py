"""Writing one row on a CPU, where a step takes the time of its calls rather than of its products.

torch's layers spend most of a single row's time on getting ready for many: recurrent layers pack
their weights, windows of ids are cut and laid flat, keys and values are copied. The steps here
multiply matrices and vectors, into buffers that are kept, and copy small things by numpy, whose
calls are shorter. Weights are the network's own, not copies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float32]


class RowStep(ABC):
    """A network's step of one row, together with what it carries, which each call changes."""

    @abstractmethod
    def __call__(self, symbol: int) -> Tensor:
        """Read one more id; return the (1, symbols) logits of the next, in a tensor of its own."""


def make_buffer(*shape: int) -> tuple[Tensor, Array]:
    """Return a float32 tensor of zeros, and an array that shares its memory."""
    array = np.zeros(shape, dtype=np.float32)
    return torch.from_numpy(array), array


def share_array(tensor: Tensor) -> Array:
    """Return a float32 tensor on a CPU as an array that shares its memory."""
    found: Array = tensor.detach().numpy()
    return found
