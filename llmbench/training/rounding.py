"""Weights as they are kept: rounded to float16 at the end of a training, so that files are half as
large and a network that is read back is the very one that was judged.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def round_weights(tensor: Tensor) -> Tensor:
    """Return the nearest values that float16 holds, in the tensor's own dtype.

    What is beyond its range, and what is no fraction, stays as it is.
    """
    if tensor.dtype not in (torch.float32, torch.float64):
        return tensor
    halves = tensor.half().to(tensor.dtype)
    return torch.where(halves.isfinite(), halves, tensor)


def shrink_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors to be written, on the CPU: as float16 if that holds their very values.

    Names that share a tensor share it still.
    """
    made: dict[tuple[object, ...], Tensor] = {}
    for tensor in tensors.values():
        made[_identify(tensor)] = _shrink(tensor.detach().cpu()).contiguous()
    return {name: made[_identify(tensor)] for name, tensor in tensors.items()}


def _identify(tensor: Tensor) -> tuple[object, ...]:
    """What tensors have in common that are one."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _shrink(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    halves = tensor.half()
    return halves if torch.equal(halves.float(), tensor) else tensor
