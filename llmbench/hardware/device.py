"""Choose the device that models run on. torch is imported only when it has to be asked."""

from __future__ import annotations

from llmbench.errors import UsageError


def has_cuda() -> bool:
    """Return whether torch can use a CUDA device."""
    import torch

    return bool(torch.cuda.is_available())


def is_cuda(device: str) -> bool:
    """Return whether `device` names a CUDA device, as torch writes it ("cuda", "cuda:1")."""
    return device.partition(":")[0] == "cuda"


def pick_device(wanted: str = "auto", fallback: bool = False) -> str:
    """Return the device to use: `wanted`, or for auto "cuda" if torch can use it, else "cpu".

    Args:
        wanted: auto, cpu, cuda, or a device as torch names it, such as cuda:1.
        fallback: return "cpu" instead of raising if there is no CUDA device.

    Raises:
        UsageError: a CUDA device was asked for and torch finds none.
    """
    if wanted != "auto" and not is_cuda(wanted):
        return wanted
    if has_cuda():
        return "cuda" if wanted == "auto" else wanted
    if wanted == "auto" or fallback:
        return "cpu"
    raise UsageError("no CUDA device is available", hint="--device cpu")
