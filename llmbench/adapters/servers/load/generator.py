"""Sends requests when they are due, or when an answer has ended, and keeps what comes with its
time. Nothing of it is read before the load is over.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from llmbench.adapters.servers.client import Endpoint
from llmbench.adapters.servers.load.connection import Connection, Tally
from llmbench.adapters.servers.load.response import Broken, Response
from llmbench.inference.serving.load import ClientCost, Load

SPIN = 0.002  # seconds before a send in which the loop does not sleep: its timers are of 1 ms
BEAT = 0.01  # seconds between two looks at how late the event loop is
WATCH = 100  # beats between two looks for answers that have stopped


@dataclass
class Reply:
    """What came of a request. Times in ns; `error`: why nothing, or not all, did."""

    number: int
    scheduled: int
    started: int = 0
    response: Response = field(default_factory=Response)
    error: str = ""


class Generator:
    """Puts one load on a server. bodies: the whole requests, as bytes, in order."""

    def __init__(
        self, endpoint: Endpoint, bodies: Sequence[bytes], load: Load, say: Callable[[int], None]
    ):
        self._endpoint, self._load, self._say = endpoint, load, say
        self._requests = [_frame(endpoint, body) for body in bodies]
        self._tls = ssl.create_default_context() if endpoint.is_tls else None
        self._tally, self._lags = Tally(), list[float]()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self.replies: list[Reply] = []
        self._ended = 0

    def run(self) -> ClientCost:
        """Send all, and wait for what comes; `replies` are in the order of requests then."""
        with _stop_collecting():
            wall, cpu = time.perf_counter(), time.process_time()
            asyncio.run(self._run())
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.replies.sort(key=lambda reply: reply.number)
        return ClientCost(cpu / wall, self._tally.handling / 1e9 / wall, tuple(self._lags))

    async def _run(self) -> None:
        beat = asyncio.create_task(self._beat())
        work = self._send_by_clock() if self._load.due is not None else self._send_by_streams()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(work, self._load.most_seconds)
        finally:
            beat.cancel()
            for connection in [*self._idle, *self._busy]:
                connection.close()

    async def _send_by_clock(self) -> None:
        """Open loop: each request when it is due, whatever has become of the others."""
        due, tasks = self._load.due or (), []
        begin = time.perf_counter_ns() + round(SPIN * 1e9)
        try:
            for number, seconds in enumerate(due):
                scheduled = begin + round(seconds * 1e9)
                await _wait_until(scheduled)
                tasks.append(asyncio.create_task(self._exchange(number, scheduled)))
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_by_streams(self) -> None:
        """Closed loop: each stream sends its next request when its answer has ended."""
        numbers = iter(range(len(self._requests)))

        async def send() -> None:
            for number in numbers:
                await self._exchange(number, time.perf_counter_ns())

        tasks = [asyncio.create_task(send()) for _ in range(self._load.streams)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _exchange(self, number: int, scheduled: int) -> None:
        reply = Reply(number, scheduled)
        self.replies.append(reply)
        reply.started = time.perf_counter_ns()
        try:
            await self._ask(reply)
        except (Broken, OSError) as error:
            reply.error = str(error) if isinstance(error, Broken) else _name(error)
        except asyncio.CancelledError:
            reply.error = f"no whole answer after {self._load.most_seconds:g} s of the load"
            raise
        finally:
            self._ended += 1
            self._say(self._ended)

    async def _ask(self, reply: Reply) -> None:
        """Ask over an idle connection, or over a new one if that was dead."""
        while True:
            connection = await self._connect()
            is_used, self._busy = connection.has_served, self._busy | {connection}
            try:
                await connection.ask(self._requests[reply.number], reply.response)
            except Broken:
                if not is_used or reply.response.status:
                    raise
                reply.response = Response()
                continue
            finally:
                self._busy = self._busy - {connection}
            if connection.is_open:
                self._idle.append(connection)
            return

    async def _connect(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        endpoint = self._endpoint
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._tally), endpoint.host, endpoint.port, ssl=self._tls
        )
        return connection

    async def _beat(self) -> None:
        """Note how late the loop is; end answers of which nothing more comes."""
        number, at = 0, time.perf_counter()
        while True:
            number, at = number + 1, max(at + BEAT, time.perf_counter())
            await asyncio.sleep(at - time.perf_counter())
            self._lags.append(max(0.0, time.perf_counter() - at))
            if number % WATCH == 0:
                now = time.perf_counter_ns()
                for connection in self._busy:
                    if (now - connection.response.last) / 1e9 > self._endpoint.timeout:
                        connection.fail(f"the server sent nothing for {self._endpoint.timeout:g} s")


async def _wait_until(at: int) -> None:
    """Return at a time of perf_counter_ns, and not a timer's millisecond later."""
    while (left := (at - time.perf_counter_ns()) / 1e9) > 0:
        await asyncio.sleep(left - SPIN if left > SPIN else 0)


def _frame(endpoint: Endpoint, body: bytes) -> bytes:
    """A request as it is sent."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    key = f"Authorization: Bearer {endpoint.key}\r\n" if endpoint.key else ""
    head = (
        f"POST {endpoint.path} HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\n"
        f"Accept: text/event-stream\r\nContent-Type: application/json\r\n{key}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def _name(error: OSError) -> str:
    return f"no connection: {error.strerror or type(error).__name__}"


@contextmanager
def _stop_collecting() -> Iterator[None]:
    """No garbage is collected in this block: that would stop the clock of all answers."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
