"""What an interrupted training goes on from: weights, optimizers, random numbers and the curve so
far, in one safetensors file with its digest after it.

It is written beside its place and renamed, so that a killed process leaves the snapshot before or
the new one. One that cannot be read, or that belongs to other weights, is as if there were none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor, nn

from llmbench.hardware.device import has_cuda
from llmbench.storage import write_bytes

DIGEST_BYTES = 32  # sha256 of all before, at the end of a snapshot


class TrainingFacts(TypedDict):
    """What the record keeps of a training.

    seconds: of training alone. curve: [step, bits per byte of the validation text]. began_with: the
    checkpoint that was fine-tuned; None if there was none. shipped: of weights that came with
    llmbench, when and where they were trained.
    """

    seconds: float
    steps: int
    best_step: int
    curve: list[list[float]]
    began_with: NotRequired[str | None]
    shipped: NotRequired[str]


@dataclass
class TrainingLog:
    """A training so far: seconds of training alone, and (step, bits per byte of the validation
    text).
    """

    seconds: float = 0.0
    steps: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)

    @property
    def best(self) -> tuple[int, float]:
        return min(self.curve, key=lambda point: point[1])

    def facts(self, before: Sequence[tuple[int, float]] = ()) -> TrainingFacts:
        """As the record has it; `before`: points of the curve from before the training."""
        curve: list[list[float]] = [[step, bits] for step, bits in (*before, *self.curve)]
        return {
            "seconds": round(self.seconds, 2),
            "steps": self.steps,
            "best_step": self.best[0],
            "curve": curve,
        }


@dataclass
class Work:
    """What changes while a network is trained; `state`: what it carries from piece to piece of a
    text, `best`: its best weights so far.
    """

    network: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    state: Any = None
    best: dict[str, Tensor] = field(default_factory=dict)


class Snapshots:
    """Snapshots in the file `path`. A disk that takes none costs the snapshot, not the training."""

    def __init__(self, path: Path):
        self.path = path

    def save(self, work: Work, log: TrainingLog, step: int) -> None:
        tensors = {f"now.{name}": tensor for name, tensor in work.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in work.best.items()}
        tensors |= {f"carried.{i}": part for i, part in enumerate(_parts(work.state))}
        tensors |= dict(_optimizer_tensors(work.optimizers))
        tensors["random"] = torch.get_rng_state()
        if has_cuda():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        facts = {
            "step": step,
            "seconds": log.seconds,
            "curve": log.curve,
            "tuple": isinstance(work.state, tuple),
        }
        plain = {
            name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()
        }
        raw = serialise(plain, {"facts": json.dumps(facts)})
        with suppress(OSError):
            write_bytes(self.path, raw + hashlib.sha256(raw).digest())

    def discard(self) -> None:
        """The training is over."""
        with suppress(OSError):
            self.path.unlink()

    def load(self, work: Work, log: TrainingLog) -> int:
        """The step after which the snapshot was taken, everything set as it was then; 0, and
        nothing changed, where there is none.
        """
        if not self.path.is_file():
            return 0
        try:
            raw = self.path.read_bytes()
            raw, digest = raw[:-DIGEST_BYTES], raw[-DIGEST_BYTES:]
            if hashlib.sha256(raw).digest() != digest:
                return 0
            header = int.from_bytes(raw[:8], "little")
            facts = json.loads(json.loads(raw[8 : 8 + header])["__metadata__"]["facts"])
            tensors = deserialise(raw)
            step, seconds, curve = (
                int(facts["step"]),
                float(facts["seconds"]),
                [(int(at), float(bits)) for at, bits in facts["curve"]],
            )
            now = _under(tensors, "now.")
            own = work.network.state_dict()
            if {name: tensor.shape for name, tensor in own.items()} != {
                name: tensor.shape for name, tensor in now.items()
            }:
                return 0
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return 0
        work.network.load_state_dict(now)
        work.best = _under(tensors, "best.")
        device = next(work.network.parameters()).device
        carried = [
            tensors[f"carried.{i}"].to(device) for i in range(len(_under(tensors, "carried.")))
        ]
        work.state = None if not carried else tuple(carried) if facts["tuple"] else carried[0]
        _load_optimizers(work.optimizers, tensors)
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors and has_cuda():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        log.seconds, log.curve = seconds, curve
        return step


def _parts(state: Any) -> list[Tensor]:
    return [] if state is None else list(state) if isinstance(state, tuple) else [state]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[tuple[str, Tensor]]:
    """`optimizer.NUMBER.PARAMETER.NAME` -> tensor."""
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if value is not None:
                    yield (
                        f"optimizer.{number}.{index}.{name}",
                        value if isinstance(value, Tensor) else torch.tensor(value),
                    )


def _load_optimizers(
    optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, f"optimizer.{number}.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
