"""Choose the device and the dtype that models run in. torch is imported only when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmbench.errors import UsageError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16", "float64")
OWN_DTYPE = "auto"  # what a checkpoint was saved in


def has_cuda() -> bool:
    """Return whether torch can use a CUDA device."""
    import torch

    return bool(torch.cuda.is_available())


def has_mps() -> bool:
    """Return whether torch can use the GPU of a Mac."""
    import torch

    return bool(torch.backends.mps.is_available())


def is_cuda(device: str) -> bool:
    """Return whether `device` names a CUDA device, as torch writes it ("cuda", "cuda:1")."""
    return device.partition(":")[0] == "cuda"


def torch_dtype(name: str) -> torch.dtype:
    """Return the dtype of this name.

    Args:
        name: float32, bfloat16, float16 or float64.

    Raises:
        UsageError: any other name.
    """
    import torch

    dtypes = {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
        "float64": torch.float64,
    }
    if name not in dtypes:
        raise UsageError(f"unknown dtype {name!r}", hint=f"one of: {', '.join(DTYPES)}")
    return dtypes[name]


def pick_device(wanted: str = "auto", fallback: bool = False) -> str:
    """Return the device to use: `wanted`, or for auto "cuda" if torch can use it, else "cpu".

    Args:
        wanted: auto, cpu, cuda, mps, or a device as torch names it, such as cuda:1.
        fallback: return "cpu" instead of raising if there is no such device.

    Raises:
        UsageError: a CUDA or MPS device was asked for and torch finds none.
    """
    if wanted == "mps" and not has_mps():
        if fallback:
            return "cpu"
        raise UsageError("torch finds no MPS device on this machine", hint="--device cpu")
    if wanted != "auto" and not is_cuda(wanted):
        return wanted
    if has_cuda():
        return "cuda" if wanted == "auto" else wanted
    if wanted == "auto" or fallback:
        return "cpu"
    raise UsageError("no CUDA device is available", hint="--device cpu")
