"""A server that writes one token after the other at a known pace, and writes down when it did.

What it wrote when is the truth that a client's times are compared with: timers of a busy machine
are late, and the server's own records show by how much.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field

NAME = "tiny"


@dataclass
class Served:
    """When a request was whole, and when each token was written, in ns of perf_counter_ns."""

    prompt: str
    came: int
    written: list[int] = field(default_factory=list)


class PacedServer:
    """first, step: seconds to the first token, and between tokens.

    has_role: whether a message with a role alone comes at once. per_message: tokens in a message.
    usage_off: added to the count of tokens. busy: every so many-th request is refused with 503.
    keeps_open: whether the response does not end after [DONE].
    """

    def __init__(
        self,
        first=0.02,
        step=0.005,
        has_role=False,
        per_message=1,
        usage_off=0,
        busy=0,
        keeps_open=False,
        breaks_after=None,
        port=0,
    ):
        self.first, self.step, self.has_role = first, step, has_role
        self.per_message, self.usage_off, self.busy = per_message, usage_off, busy
        self.keeps_open, self.breaks_after, self._port = keeps_open, breaks_after, port
        self.served: list[Served] = []
        self.connections = 0

    def __enter__(self):
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while not self._stop.is_set():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = int(head.partition("content-length:")[2].split("\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(size)) if size else {}
                await self._answer(head, body, time.perf_counter_ns(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head, body, came, writer):
        if head.startswith("get"):
            return _write_json(writer, 200, {"data": [{"id": NAME}]})
        if not head.startswith("post /v1/completions"):
            return _write_json(writer, 404, {"error": {"message": "no such path"}})
        served = Served(body["prompt"], came)
        self.served.append(served)
        if self.busy and len(self.served) % self.busy == 0:
            return _write_json(writer, 503, {"error": {"message": "busy"}})
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        if self.has_role:
            _write_event(writer, {"choices": [{"index": 0, "text": ""}]})
        most = body["max_tokens"]
        for made in range(0, most, self.per_message):
            if self.breaks_after is not None and made >= self.breaks_after:
                return writer.close()
            await asyncio.sleep(self.step if made else self.first)
            text = " a" * min(self.per_message, most - made)
            is_last = made + self.per_message >= most
            finish = "length" if is_last else None
            served.written.append(time.perf_counter_ns())
            _write_event(writer, {"choices": [{"text": text, "finish_reason": finish}]})
        usage = {"prompt_tokens": 1, "completion_tokens": most + self.usage_off}
        _write_event(writer, {"choices": [], "usage": usage})
        _write_chunk(writer, b"data: [DONE]\n\n")
        if not self.keeps_open:
            writer.write(b"0\r\n\r\n")
        return None


def _write_json(writer, status, data):
    raw = json.dumps(data).encode()
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(raw)) + raw)


def _write_event(writer, data):
    _write_chunk(writer, f"data: {json.dumps({'model': NAME, **data})}\n\n".encode())


def _write_chunk(writer, raw):
    writer.write(b"%x\r\n" % len(raw) + raw + b"\r\n")


if (
    __name__ == "__main__"
):  # PORT [FILE]: a server as a card starts it; its child's pid goes to FILE
    import signal
    import subprocess
    import sys

    if len(sys.argv) > 2:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        from pathlib import Path

        Path(sys.argv[2]).write_text(str(child.pid))
    with PacedServer(first=0.001, step=0.0, port=int(sys.argv[1])) as server:
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        signal.pause()
