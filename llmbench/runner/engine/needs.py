"""How much memory a worker of a model needs, as far as that is known before it is loaded, so that
workers beside each other do not take it from one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmbench.errors import LlmbenchError
from llmbench.models.pretrained import files as pretrained_files
from llmbench.plan.plan import Options
from llmbench.plan.resolved_model import ResolvedModel
from llmbench.runner.engine.engine import Place

BASE = 700 << 20  # bytes of a process with torch and the activations of a batch
ROOM = 1.2  # times its weights: their copies while they are read
WIDTHS = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Need:
    """Bytes of RAM. usual: what a worker takes at its peak, roughly; 0 if nothing is known. least:
    what its weights alone take; 0 if that is not known or they need not be whole in memory.
    """

    usual: int = 0
    least: int = 0


def estimate_need(model: ResolvedModel, options: Options) -> Need:
    """Return the need of a worker on the CPU: from the estimate of the model's card, or from the
    files of its weights. On GPUs, where weights lie elsewhere, nothing is known.
    """
    if options.device_kind != "cpu":
        return Need()
    if model.card.estimate is not None and model.card.estimate.memory_mb:
        return Need(int(model.card.estimate.memory_mb * 1e6))
    named = sum(size for _, size, _ in model.identify_files())
    if named:
        return Need(BASE + int(ROOM * named))
    least = _measure_checkpoint(model, options)
    return Need(BASE + int(ROOM * least), least) if least else Need()


def _measure_checkpoint(model: ResolvedModel, options: Options) -> int:
    """Return the bytes of the weights of a checkpoint in the dtype in which they will be; 0 if it
    is not here, or is to be quantised.
    """
    spec = model.first_checkpoint
    if spec is None or spec.id is None or spec.quantize is not None:
        return 0
    try:
        checkpoint = pretrained_files.locate(spec.id, spec.revision)
        if pretrained_files.is_quantised(checkpoint):
            return 0
        size, kept = pretrained_files.measure_weights(checkpoint)
    except (LlmbenchError, OSError):  # the worker will say what is wrong
        return 0
    asked = spec.dtype or options.dtype or "float32"
    width = WIDTHS.get(kept if asked == "auto" else asked, WIDTHS["float32"])
    return size * width // WIDTHS.get(kept, WIDTHS["float32"])


def sum_needs(
    running: Iterable[tuple[Place, Need]], measure: Callable[[Place], int] = lambda place: 0
) -> dict[str, int]:
    """Return the bytes that workers take, by machine: what they need, or hold already if that is
    more. One of whom nothing is known takes one. measure: tells what the worker of a place holds.
    """
    taken: dict[str, int] = {}
    for place, need in running:
        most = max(need.usual, measure(place), 1)
        taken[place.machine] = taken.get(place.machine, 0) + most
    return taken


def has_room(place: Place, need: Need, taken: Mapping[str, int]) -> bool:
    """Return whether a worker may start in a place. taken: bytes of those that are at work, by
    machine. The first one on a machine may always: estimates are rough.
    """
    if not place.memory or not taken.get(place.machine):
        return True
    return taken[place.machine] + need.usual <= place.memory


def explain_no_room(places: Sequence[Place], need: Need) -> str:
    """Return why a model fits on no machine, with what each has; "" if it may fit."""
    machines = {place.machine: place.memory for place in places}
    if not machines or any(not memory or memory >= need.least for memory in machines.values()):
        return ""
    has = ", ".join(f"{name} {memory / 1e9:.1f} GB" for name, memory in machines.items())
    return f"its weights take {need.least / 1e9:.1f} GB, and no machine has as much ({has})"
