"""What a metric is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """A metric's name, unit, direction (None: neither is better), and what it is, with its source."""

    name: str
    unit: str
    better: Literal["lower", "higher"] | None
    about: str

    def row(
        self,
        value: float,
        n: int,
        signature: str,
        low: float | None = None,
        high: float | None = None,
    ) -> dict[str, Any]:
        """The record's row of a value over `n` items, without model and task."""
        bounds = {"value": value, "low": low, "high": high}
        return {
            "metric": self.name,
            **bounds,
            "unit": self.unit,
            "better": self.better,
            "n": n,
            "signature": signature,
        }
