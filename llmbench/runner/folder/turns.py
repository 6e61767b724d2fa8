"""Which model is at work, written down before its worker starts: if the run is killed, the next one
in the folder knows during which model it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from llmbench import limits, storage

BEGUN = "begun.json"


class Begun(BaseModel):
    """What is in begun.json. A *turn* is a model's name, or MODEL/TASK where models take turns.

    at_work: turn -> the tasks that were open when it began.
    deaths: turn -> how often a run was killed in it, without a new cell in between.
    """

    model_config = ConfigDict(strict=True)

    at_work: dict[str, list[str]] = {}
    deaths: dict[str, int] = {}


class Turns:
    """The turns of a run. `find_open`: the tasks of a turn that have no finished cell. `is_there`:
    whether the folder is still the run's own.
    """

    def __init__(
        self, out: Path, find_open: Callable[[str], list[str]], is_there: Callable[[], bool]
    ):
        self.path, self._find_open, self._is_there = out / BEGUN, find_open, is_there
        self._begun = self._count_deaths(_read(self.path))

    @property
    def at_work(self) -> list[str]:
        """The turns that have begun and not ended."""
        return list(self._begun.at_work)

    @property
    def deaths(self) -> Mapping[str, int]:
        """Turn -> how often a run in this folder was killed in it, one after the other."""
        return self._begun.deaths

    def is_left_out(self, turn: str) -> bool:
        """Whether the run was killed too often in this turn."""
        return self.deaths.get(turn, 0) >= limits.DEATHS

    def begin(self, *turns: str, beside: bool = False) -> None:
        """Write down whose turn it is, before its worker starts; `beside` those at work."""
        wanted = dict(self._begun.at_work) if beside else {}
        wanted |= {turn: self._find_open(turn) for turn in turns}
        if wanted != self._begun.at_work:
            self._begun.at_work = wanted
            self._write()

    def end(self, *survived: str) -> None:
        """Write down in which turns the run was not killed, which are over; without any, that no
        model is at work.
        """
        if self._begun.at_work:
            for turn in survived:
                self._begun.deaths.pop(turn, None)
            kept = {t: v for t, v in self._begun.at_work.items() if t not in survived}
            self._begun.at_work = kept if survived else {}
            self._write()

    def _count_deaths(self, before: Begun) -> Begun:
        """What the last run left: a turn that had not ended is one in which it was killed."""
        deaths = dict(before.deaths)
        for turn, tasks in before.at_work.items():
            is_stuck = tasks == self._find_open(turn)
            deaths[turn] = deaths.get(turn, 0) + 1 if is_stuck else 1
        return Begun(deaths=deaths)

    def _write(self) -> None:
        if not self._is_there():
            return
        with suppress(OSError):  # a full disk costs the note, not the run
            if self._begun.at_work or self._begun.deaths:
                storage.write_sealed(self.path, self._begun.model_dump())
            else:
                self.path.unlink(missing_ok=True)


def _read(path: Path) -> Begun:
    try:
        return Begun.model_validate(storage.read_sealed(path))
    except (OSError, ValueError):  # none, or a damaged one; ValidationError is a ValueError
        return Begun()
