"""Metrics: rules that give a number with a unit and a direction, from statistics of items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric's name, unit, direction (None: neither is better), and what it is, with its source."""

    name: str
    unit: str
    better: Literal["lower", "higher"] | None
    about: str
