"""What a task gives for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmbench.ledger import Ledger


@dataclass(frozen=True)
class Outcome:
    """Scores (the record's rows, without model and task), samples (one mapping an item), ledgers
    where bits were charged, events where something was timed.
    """

    scores: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]]
    ledgers: Sequence[Ledger] = field(default=())
    events: Sequence[Mapping[str, Any]] = field(default=())
