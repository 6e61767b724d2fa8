"""The page of a poll on this machine: a server that only this machine's browser can ask.

It listens on 127.0.0.1. The address holds a random token. Refused are requests with another token,
to another host's name (which a stranger may have pointed at this machine), and from other pages. A
reply is on the disk before it is answered.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmbench.errors import LlmbenchError, UsageError
from llmbench.votes import ballots
from llmbench.votes.page import make_page
from llmbench.votes.poll import Poll, Question, Reply

HOST = "127.0.0.1"
MOST_BYTES = 64 << 10  # of a request
PATIENCE = 30.0  # seconds without a byte from a browser

Name = Annotated[str, Field(min_length=1, max_length=100)]


class _Asked(BaseModel):
    """A request's body: a reply, an undo by its identity, or neither, for the next question."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rater: Name
    reply: Reply | None = None
    undo: Annotated[str, Field(pattern="^[0-9A-Za-z-]{8,100}$")] | None = None


class PollServer(ThreadingHTTPServer):
    """The server of one poll. UsageError if the port is taken."""

    daemon_threads = True

    def __init__(self, poll: Poll, port: int = 0, token: str = "", rater: str = ""):
        self.poll, self.token = poll, token or secrets.token_urlsafe(16)
        self.lock = threading.Lock()
        self.page, self.policy = make_page(poll, rater=rater)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on port {port}: {error.strerror}", hint="choose another --port"
            ) from None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def answer(self, asked: _Asked) -> dict[str, object]:
        """Do what a page asks for, and return what it shows next."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        with self.lock:
            self.poll.check_answers()
            if asked.reply is not None:
                found = self.poll.resolve(asked.reply, asked.rater, now)
                ballots.append(self.poll.folder, found)
            question = (
                self.poll.undo(asked.undo, asked.rater, now)
                if asked.undo is not None
                else self.poll.ask(asked.rater, now)
            )
            counted, seconds = self.poll.count(asked.rater)
        return {
            "counted": counted,
            "seconds": seconds,
            "question": None if question is None else write_question(question),
        }


def write_question(question: Question) -> dict[str, object]:
    """Return a question as the page's script reads it."""
    return {
        "ticket": question.ticket.model_dump(),
        "prompt": question.prompt,
        "answers": list(question.answers),
    }


class _Handler(BaseHTTPRequestHandler):
    server: PollServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "llmbench", ""
    timeout = PATIENCE
    common: ClassVar[Mapping[str, str]] = {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }

    def do_GET(self) -> None:
        """Answer with the page."""
        if self._is_refused(""):
            return
        self._send(200, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        """Take a reply, and answer with the next question."""
        if self._is_refused("next"):
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MOST_BYTES:
            self._refuse(413, "too long")
            return
        raw = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            self._refuse(415, "expected JSON")
            return
        try:
            answer = self.server.answer(_Asked.model_validate_json(raw))
        except ValidationError as error:
            self._refuse(400, f"not a reply: {error.errors(include_url=False)[0]['msg']}")
        except LlmbenchError as error:
            self._refuse(409, str(error))
        except OSError as error:
            self._refuse(500, f"the vote could not be written: {error.strerror}")
        else:
            self._send_json(200, answer)

    def _is_refused(self, page: str) -> bool:
        """Whether a request was refused: of a stranger's page, or without the token."""
        port = self.server.server_port
        hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in hosts:
            self._refuse(403, "wrong host")
        elif origin is not None and origin not in {f"http://{host}" for host in hosts}:
            self._refuse(403, "wrong origin")
        else:
            path = self.path.partition("?")[0].encode()
            if hmac.compare_digest(path, f"/{self.server.token}/{page}".encode()):
                return False
            self._refuse(404, "not found")
        return True

    def _refuse(self, status: int, message: str) -> None:
        self.close_connection = True  # what it may still send is not read
        self._send_json(status, {"problem": message})

    def _send_json(self, status: int, data: Mapping[str, object]) -> None:
        self._send(status, "application/json", json.dumps(data, allow_nan=False))

    def _send(self, status: int, kind: str, text: str) -> None:
        raw = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("Content-Security-Policy", self.server.policy)
        for name, value in self.common.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Write no line for each request."""
