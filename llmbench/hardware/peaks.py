"""What this machine can do at most, as data: bandwidth over working sets, multiplications a second
for each number format, the cost of one tiny operation, and the spread of the same work. stress.py
measures it, once; here it is kept for the machine and looked up. No torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llmbench import storage
from llmbench.hardware import machine

VERSION = 2
GRADES = ((0.02, "quiet"), (0.08, "usable"), (float("inf"), "noisy"))


@dataclass(frozen=True)
class Ceilings:
    """`bandwidth`: [bytes of the working set, bytes/s]. `flops`: dtype -> operations/s. `tiny`:
    seconds of one operation on one number.
    `noise`: the spread of the same work, as (third quartile - first) / median, and its grade.
    """

    device: str
    threads: int
    bandwidth: list[tuple[int, float]]
    flops: dict[str, float]
    tiny: float
    noise: float
    measured: str = ""
    version: int = VERSION
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def grade(self) -> str:
        return next(word for limit, word in GRADES if self.noise <= limit)

    def bytes_per_second(self, working_set: int) -> float:
        """Bandwidth over a working set: between two measured sizes on a straight line over the
        logarithm of the size, at the ends the end's.
        """
        points = sorted(self.bandwidth)
        if working_set <= points[0][0]:
            return points[0][1]
        for (small, fast), (large, slow) in zip(points, points[1:], strict=False):
            if working_set <= large:
                share = math.log(working_set / small) / math.log(large / small)
                return fast + share * (slow - fast)
        return points[-1][1]


def kept_in(cache: Path, device: str, threads: int) -> Path:
    """Where the ceilings of this machine are kept."""
    facts = machine.facts(threads)
    mark = json.dumps(
        [
            VERSION,
            device,
            threads,
            *(facts["cpu"], facts["cores"], facts["memory_bytes"], facts["gpus"]),
            facts["packages"].get("torch"),
        ]
    )
    return cache / "machines" / f"{hashlib.sha256(mark.encode()).hexdigest()[:32]}.json"


def read(path: Path) -> Ceilings | None:
    """What was measured; None if nothing was, or if the file is damaged or of another version."""
    try:
        data = storage.read_sealed(path)
        found = Ceilings(
            **{**data, "bandwidth": [(int(size), float(rate)) for size, rate in data["bandwidth"]]}
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.version == VERSION and found.bandwidth and found.flops else None


def keep(path: Path, ceilings: Ceilings) -> None:
    storage.write_sealed(path, asdict(ceilings))


def as_record(ceilings: Ceilings) -> dict[str, object]:
    """As the record's `machine.ceilings` has it."""
    return {**asdict(ceilings), "grade": ceilings.grade}
