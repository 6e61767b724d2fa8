"""The ways in which torch can multiply matrices on this machine, by different libraries."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def find_onednn() -> Product | None:
    """Return oneDNN's x @ matrix.T + bias, or None if this torch is built without it."""
    try:  # what torch's own compiler calls on a CPU; there is no public name
        linear = torch.ops.mkldnn._linear_pointwise.default
    except AttributeError:
        return None

    def compute(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        product: Tensor = linear(x, matrix, bias, "none", [], "")
        return product

    return compute
