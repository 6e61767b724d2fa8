"""Faster ways of computing the same on a CPU, for the time of scoring.

torch multiplies matrices of float32 by MKL, which keeps its best kernels for Intel's processors. On
AMD's, oneDNN, which torch has too, is a tenth faster with the layers of a network and a third with
a head over 49,152 tokens (one thread of a Zen 4). The numbers are the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from llmbench.hardware import machine
from llmbench.hardware.products import Product, find_onednn
from llmbench.inference.blocked_attention import CausalBlocks

LEAST_PRODUCTS = 1 << 25  # multiplications of one call below which oneDNN gains nothing


@lru_cache
def onednn_product() -> Product | None:
    """Return oneDNN's x @ matrix.T + bias, or None on a machine where MKL is as fast."""
    if not machine.is_amd():
        return None
    return find_onednn()


class CpuKernels(CausalBlocks):
    """In this block, causal attention is computed in pieces, and large layers by the faster library
    of two; everything else is left alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._multiply = onednn_product()

    def compute(self, func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Any:
        """See CausalBlocks."""
        if self._multiply is not None and func is F.linear and len(args) == 3 and _is_large(*args):
            return self._multiply(args[0], args[1], args[2])
        return super().compute(func, args, given)


def _is_large(x: Tensor, matrix: Tensor, bias: Tensor | None) -> bool:
    """Whether a layer is of plain float32 matrices on the CPU, and large."""
    return (
        x.numel() * matrix.shape[0] >= LEAST_PRODUCTS
        and x.is_contiguous()
        and all(
            type(one) in (Tensor, Parameter)
            and one.device.type == "cpu"
            and one.dtype == torch.float32
            for one in (x, matrix, *(() if bias is None else (bias,)))
        )
    )
