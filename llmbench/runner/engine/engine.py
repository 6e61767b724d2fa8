"""The interface between a run and what starts its workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from llmbench.errors import Reason
from llmbench.plan.plan import Options
from llmbench.runner.messages import Event


@dataclass(frozen=True)
class Place:
    """Where one worker at a time runs. machine: its name, as the record has it. cores: numbers of
    the cores that it has to itself; () if it may use all. memory: bytes of RAM for all workers of
    its machine together, as it was when this was asked; 0 if that is not known.
    """

    machine: str
    number: int
    cores: tuple[int, ...] = ()
    gpu: str = ""  # the device that it has to itself, such as cuda:1
    memory: int = field(default=0, compare=False)

    @property
    def name(self) -> str:
        """What people read: the machine, and which of its places."""
        return f"{self.machine}/{self.number}"


class Worker(Protocol):
    """A worker, as the run sees it; `process.Child` is one."""

    late: bool

    @property
    def is_gone(self) -> bool:
        """Whether its place went away, through no fault of what it worked on."""

    def send(self, message: Mapping[str, object]) -> None:
        """Send a job or a command."""

    def events(self, timeout: float) -> Iterator[Event]:
        """Yield its events, until it ends, or is `late`. Files that an event tells of are in the
        run's folder by then.
        """

    def explain_end(self, timeout: float) -> tuple[Reason, str, str]:
        """Return (reason, message, hint) for a worker that ended with work left open."""

    def wait(self) -> None:
        """Let a worker that said all end by itself."""

    def kill(self) -> None:
        """End it, and whatever its model started."""


class Engine(Protocol):
    """Starts workers, each in a place of its own."""

    @property
    def places(self) -> Sequence[Place]:
        """Where workers can be started now."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Machines on which no worker is started -> why."""

    def measure(self, place: Place) -> int:
        """Return the bytes of RAM that the worker in a place holds now; 0 if that is not known."""

    def start(
        self, place: Place, log: Path, options: Options, modules: Sequence[str] = ()
    ) -> Worker:
        """Start a worker in a place. log: gets what it prints. modules: that it imports at once.

        Raises OSError if the place is not there any more.
        """

    def refresh(self) -> None:
        """Look for places that came or went."""

    def close(self) -> None:
        """Let go of what was started."""
