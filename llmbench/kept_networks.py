"""Networks that were trained here, as files: weights as safetensors, and beside them what else it takes to have the model again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmbench.checkpoints import placed

WEIGHTS, FACTS = "model.safetensors", "config.json"


def keep(folder: Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write both files beside their place, and rename. Raises OSError where the disk takes none."""
    with placed(folder) as beside:
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
        save_file(weights, beside / WEIGHTS)
        mark = hashlib.sha256((beside / WEIGHTS).read_bytes()).hexdigest()
        (beside / FACTS).write_text(json.dumps({**facts, "weights_sha256": mark}), encoding="utf-8")


def kept(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """The facts and the weights; None where there are none, or where they are not what was written."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != facts["weights_sha256"]:
            return None
        return facts, load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
