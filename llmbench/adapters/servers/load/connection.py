"""A connection to a server, kept from one request to the next."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from llmbench.adapters.servers.load.response import Broken, Response

GRACE = (
    0.05  # seconds between "[DONE]" and the end of the response, after which that is not awaited
)


@dataclass
class Tally:
    """What the client did while a load ran. `handling`: ns in which it took apart what came."""

    handling: int = 0


class Connection(asyncio.Protocol):
    """One request at a time. The time of data is taken first of all."""

    def __init__(self, tally: Tally):
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] | None = None
        self.response = Response()
        self.is_open, self.has_served = False, False

    async def ask(self, raw: bytes, response: Response) -> None:
        """Send a request, and return when its response has ended. Raises Broken."""
        assert self._transport is not None
        self.response, self._waiting = response, asyncio.get_running_loop().create_future()
        response.last = time.perf_counter_ns()
        self._transport.write(raw)
        await self._waiting
        self.has_served = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.is_open = transport, True

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter_ns()
        if self._waiting is None or self._waiting.done():
            self.close()  # nothing was asked
            return
        try:
            self.response.feed(data, at)
        except Broken as error:
            self.fail(str(error))
        if self.response.is_done:
            self._finish()
        elif self.response.says_end:
            asyncio.get_running_loop().call_later(GRACE, self._give_up, self._waiting)
        self._tally.handling += time.perf_counter_ns() - at

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiting is not None and not self._waiting.done():
            if self.response.close():
                self._finish()
            else:
                self.fail("the connection broke")

    def fail(self, why: str) -> None:
        """End what is waited for with an error."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Broken(why))
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        if not self.response.keeps or not self.response.is_done:
            self.close()

    def _give_up(self, waiting: asyncio.Future[None]) -> None:
        """The server said that nothing follows, and does not end its response."""
        if waiting is self._waiting and not waiting.done():
            self._finish()
