"""How often a request is tried again, and how long is waited before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from llmbench import limits
from llmbench.errors import CellError, ModelError, Unavailable

Found = TypeVar("Found")
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the second try, and before any other


class Interrupted(Exception):
    """A request came to nothing, and may be tried again.

    wait: seconds that the server asked for. is_absent: nothing took the connection.
    """

    def __init__(self, what: str, wait: float | None = None, is_absent: bool = False):
        super().__init__(what)
        self.what, self.wait, self.is_absent = what, wait, is_absent


@dataclass(frozen=True)
class Patience:
    """Tries with waits that double, at most `tries` in all. `sleep` and `now` are replaced in
    tests. `absence`: what it is if nothing takes the connection any more.
    """

    tries: int = limits.SERVER_TRIES
    absence: type[CellError] = Unavailable
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self, action: Callable[[], Found], where: str) -> Found:
        """Return what `action` returns, tried again while it is Interrupted.

        Raises `absence` if nothing is there to connect to, else ModelError, with the last cause.
        """
        for number in range(self.tries):
            try:
                return action()
            except Interrupted as error:
                if number + 1 == self.tries:
                    raise self._give_up(error, where) from None
                self.sleep(self._find_wait(error, number, where))
        raise AssertionError("there is always a first try")

    def _give_up(self, error: Interrupted, where: str) -> CellError:
        kind = self.absence if error.is_absent else ModelError
        tries = f", {self.tries} times" if self.tries > 1 else ""
        hint = "run again when the server is back: what it answered is kept"
        return kind(f"{error.what}{tries}", where=where, hint=hint)

    def _find_wait(self, error: Interrupted, number: int, where: str) -> float:
        """Seconds before the next try: those that the server asks for, if they are bearable."""
        if error.wait is None:
            return min(LONGEST_WAIT, FIRST_WAIT * 2.0**number)
        if error.wait > limits.SERVER_WAIT:
            raise ModelError(
                f"{error.what}, and asks to wait {error.wait:.0f} s",
                where=where,
                hint="run again later: what it answered is kept",
            )
        return error.wait

    def read_retry_after(self, value: str | None) -> float | None:
        """Seconds of a Retry-After header: a number, or a date; None if it says neither."""
        if value is None:
            return None
        if value.strip().isdecimal():
            return float(value.strip()[:9])
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - self.now()).total_seconds())
