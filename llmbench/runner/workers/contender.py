"""A model in the rounds of a speed task, and the one that is entered twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmbench.config.model_card import Card
from llmbench.runner.messages import BlockEvent, SpeedJob
from llmbench.runner.process import Child
from llmbench.stats import block_difference, rate_verdict
from llmbench.tasks.performance.speed_blocks import Facts

COMPARED = ("decode_bytes_per_second", "prefill_bytes_per_second")


@dataclass
class Contender:
    """A model in the rounds. `again`: the second entry of one. `parked`: its worker waits between
    blocks; otherwise it is loaded for each.
    """

    card: Card
    log: Path
    job: SpeedJob
    again: bool = False
    parked: bool = True
    child: Child | None = None
    facts: Facts | None = None
    blocks: list[BlockEvent] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    out: bool = False  # of the rounds: failed, or done before

    @property
    def name(self) -> str:
        return f"{self.card.name} (again)" if self.again else self.card.name


def compare_entries(double: Contender, left: Sequence[Contender]) -> dict[str, object] | None:
    """Compare the two entries of one model, block by block; None if the first is not left."""
    first = next((one for one in left if one.card.name == double.card.name and not one.again), None)
    if first is None:
        return None
    found: dict[str, object] = {"model": first.card.name}
    for metric in COMPARED:
        a, b = (
            [block["values"][metric] for block in one.blocks if metric in block["values"]]
            for one in (first, double)
        )
        whole = len(a) == len(first.blocks) and len(b) == len(double.blocks)
        if whole and len(a) == len(b) > 1:
            difference, p = block_difference(a, b)
            found[metric] = {
                "log_ratio": difference.value,
                "low": difference.low,
                "high": difference.high,
                "p": p,
                "verdict": rate_verdict(difference, p),
            }
    return found
