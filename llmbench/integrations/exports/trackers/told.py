"""What a tracker was told while models were at work, and what is left to tell it in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from llmbench.integrations.exports.target import Tracked


class Told:
    """The values that were told of each model, by metric and step."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, int], float] = {}

    def note(self, tracked: Tracked, values: Mapping[str, float], step: int) -> None:
        """Keep in mind that these values of a model are told."""
        self._values |= {(tracked.name, key, step): value for key, value in values.items()}

    def list_left(self, tracked: Tracked) -> Iterator[tuple[str, int, float]]:
        """Yield (metric, step, value) of what is in a run and was not told so: scores at step 0,
        then curves.
        """
        for key, value in tracked.values.items():
            if self._values.get((tracked.name, key, 0)) != value:
                yield key, 0, value
        for key, curve in tracked.curves.items():
            yield from ((key, step, value) for step, value in curve)


def read_time(tracked: Tracked, name: str, unknown: float) -> float:
    """Return when a run was `started` or `finished`, in seconds since 1970; `unknown` if that is
    not known yet.
    """
    known = tracked.config.get(name)
    return unknown if known is None else datetime.fromisoformat(str(known)).timestamp()
