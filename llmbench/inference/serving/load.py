"""A load on a server: what is sent when, and when what came back. Numbers are derived from that.

Between the task, which plans a load, and the adapter, which puts it on its server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmbench.adapter import Request

Arrivals = Literal["closed", "poisson", "constant"]
Say = Callable[[int], None]  # told how many answers have ended


@dataclass(frozen=True)
class Level:
    """How hard a server is asked. `amount`: streams at once if closed, else requests a second."""

    arrivals: Arrivals
    amount: float

    @property
    def is_open(self) -> bool:
        """Whether requests come by the clock, and not when an answer has ended."""
        return self.arrivals != "closed"

    @property
    def key(self) -> str:
        """The level in the record: closed-8, poisson-50."""
        return f"{self.arrivals}-{self.amount:g}"

    @property
    def title(self) -> str:
        """The level on a board."""
        if not self.is_open:
            return f"{self.amount:g} stream{'s' if self.amount != 1 else ''}"
        return f"{self.arrivals}, {self.amount:g}/s"


@dataclass(frozen=True)
class Load:
    """Requests, in order. due: seconds from the beginning at which each is sent (open loop), or
    None: each of `streams` sends the next one when its answer has ended.

    most_seconds: after which nothing more is sent, and what is open is given up.
    extra: fields of the requests' bodies besides those of the protocol.
    """

    requests: Sequence[Request]
    due: Sequence[float] | None
    streams: int
    most_seconds: float
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer; times in ns of one clock.

    scheduled: when it was due; in a closed loop, when its stream was free.
    started: when the client began to send it.
    pieces: (time, text) of each message with text; a role alone, or a count, is none.
    ended: when the last message came that had text or said why the answer ends.
    usage: tokens of the answer by the server's count. own: by the model's own tokenizer.
    error: why there is no answer; "" if there is one.
    """

    scheduled: int
    started: int
    pieces: tuple[tuple[int, str], ...] = ()
    ended: int | None = None
    finish: Literal["length", "stop"] | None = None
    usage: int | None = None
    own: int | None = None
    error: str = ""


@dataclass(frozen=True)
class ClientCost:
    """What the client itself took.

    cpu: its processor time / the time of the load. handling: the share of that time in which it
    took apart what had arrived, while other data may have waited.
    lags: seconds by which its event loop came late to timers, each.
    """

    cpu: float
    handling: float
    lags: Sequence[float]


@dataclass(frozen=True)
class LoadRun:
    """What came of a load: an exchange for each request that was sent, in the order of requests."""

    exchanges: Sequence[Exchange]
    cost: ClientCost


@dataclass(frozen=True)
class ServerMemory:
    """Peak memory of a server's processes, in bytes; None if it is not known. source: whose count
    it is.
    """

    ram: int | None = None
    gpu: int | None = None
    source: str = ""


class LoadTarget(ABC):
    """An adapter whose server can be put under a load."""

    @abstractmethod
    def run_load(self, load: Load, say: Say) -> LoadRun:
        """Send these requests, and return when what came. A failed request is an exchange with an
        error; CellError if the server cannot be asked at all.
        """

    def measure_server(self) -> ServerMemory:
        """Return the peak memory of the server so far, if llmbench started it."""
        return ServerMemory()

    def read_energy(self) -> tuple[float | None, str]:
        """Return joules from any beginning by the server's energy counter, and its name; None, and
        why, if there is none.
        """
        return None, "the server may run on another machine"
