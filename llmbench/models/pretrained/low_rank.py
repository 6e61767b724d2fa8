"""Low-rank adaptations (LoRA) by peft: imported when needed, and merged into the weights."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch


def import_peft() -> Any:
    """Import peft, which takes it for granted that torch's distributed tensors are loaded."""
    if torch.distributed.is_available():
        importlib.import_module("torch.distributed.tensor")
    return importlib.import_module("peft")


def merge_adaptation(model: Any, folder: Path) -> Any:
    """Return the model with the weights of the adaptation in `folder` added to its own."""
    return import_peft().PeftModel.from_pretrained(model, folder).merge_and_unload()
