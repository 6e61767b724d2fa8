"""HTTP to one server: JSON in, JSON or a stream of events out.

The API key goes to the address that was given and nowhere else: no redirect is followed, and
whatever is told of an answer has the key taken out.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from llmbench import limits
from llmbench.adapters.servers.patience import Interrupted, Patience
from llmbench.config.server_settings import USUAL_KEY, ServerSettings
from llmbench.errors import ModelError, Unavailable, UsageError

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)
SHOWN = 300  # characters of a server's own words
END = "[DONE]"


class Refusal(ModelError):
    """The server answered, and would not. `status`: of HTTP; `said`: its own words."""

    def __init__(self, status: int, said: str, where: str):
        super().__init__(f"the server refused ({status}): {said or 'no reason given'}", where=where)
        self.status, self.said = status, said


@dataclass(frozen=True)
class Event:
    """A message of a stream, and when it was whole (time.perf_counter_ns)."""

    data: Mapping[str, Any]
    time_ns: int


@dataclass(frozen=True)
class Endpoint:
    """Where requests of one kind go, with the key they bear. timeout: seconds without a byte."""

    host: str
    port: int
    path: str
    is_tls: bool
    is_by_proxy: bool
    timeout: float
    key: str = field(repr=False)


def read_key(settings: ServerSettings) -> str:
    """Return the API key of the environment, "" if there is none to send.

    The usual variable is only sent encrypted or to this machine; one that is named is always sent.
    """
    named = settings.key_env
    is_safe = settings.is_loopback or settings.url.startswith("https://")
    key = os.environ.get(named or USUAL_KEY, "") if named or is_safe else ""
    if named and not key:
        raise UsageError(
            f"the environment variable {named} holds no API key", where=f"openai:{settings.model}"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"the environment variable {named or USUAL_KEY} holds spaces or characters that no key"
            " has",
            where=f"openai:{settings.model}",
        )
    return key


class Client:
    """Requests to one server; used by many threads at once. Idle connections are kept."""

    def __init__(self, settings: ServerSettings, patience: Patience = Patience()):
        parts = urlsplit(settings.url)
        self.where, self.patience, self._timeout = settings.url, patience, settings.timeout
        self._host, self._path = parts.hostname or "", parts.path
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._key = read_key(settings)
        self._proxy = None if settings.is_loopback else _find_proxy(parts.scheme, self._host)
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def find_endpoint(self, path: str) -> Endpoint:
        """Return where requests to a path of the API go, for those who send them by themselves."""
        return Endpoint(
            self._host,
            self._port,
            f"{self._path}{path}",
            self._is_tls,
            self._proxy is not None,
            self._timeout,
            self._key,
        )

    def hide_key(self, text: str) -> str:
        """Return the text without the API key."""
        return text.replace(self._key, "[key]") if self._key else text

    def holds_key(self, text: str) -> bool:
        """Whether a text gives the API key away."""
        return bool(self._key) and self._key in text

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object that answers a request, tried again while that may help.

        Raises Refusal, Unavailable, or ModelError if it is not one.
        """
        return self.patience.run(lambda: self.ask_once(path, body), self.where)

    def ask_once(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The same, tried once. Raises Interrupted, too."""
        with self._answer(path, body, stream=False) as answer:
            raw = answer.read(limits.SERVER_BYTES + 1)
        if len(raw) > limits.SERVER_BYTES:
            raise ModelError("the server's answer has no end", where=self.where)
        return self._parse(raw)

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of one request, tried once. Closing it ends the request.

        Raises Interrupted if the stream breaks off or nothing comes; see `ask` for the rest.
        """
        with self._answer(path, body, stream=True) as answer:
            for line in _lines_of(answer, self.where):
                name, _, value = line.partition(b":")
                if name != b"data":
                    continue
                if value.strip() == END.encode():
                    return
                event = Event(self._parse(value), time.perf_counter_ns())
                self._raise_error(event.data)
                yield event

    def _raise_error(self, data: Mapping[str, Any]) -> None:
        """Raise what an event says went wrong in the middle of a stream."""
        if not data.get("error"):
            return
        error = data["error"]
        code = error.get("code") if isinstance(error, Mapping) else None
        said = self.tell(json.dumps(data).encode())
        if isinstance(code, int) and 400 <= code < 500 and code not in RETRIED:
            raise Refusal(code, said, self.where)
        raise Interrupted(f"the server broke off its answer: {said}")

    @contextmanager
    def _answer(
        self, path: str, body: Mapping[str, Any] | None, stream: bool
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer's head was good; its body is read by the caller."""
        connection = None
        try:
            connection, answer = self._send(path, body, stream)
            self._check_status(answer)
            yield answer
        except TimeoutError:
            raise Interrupted(f"the server sent nothing for {self._timeout:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"the connection broke: {_name(error)}") from None
        else:
            if answer.isclosed() and not answer.will_close:
                with self._lock:
                    self._idle.append(connection)
                connection = None
        finally:
            if connection is not None:
                connection.close()

    def _send(
        self, path: str, body: Mapping[str, Any] | None, stream: bool
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request over an idle connection, or over a new one if that is dead."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None:
            with suppress(OSError, http.client.HTTPException):
                return connection, self._request(connection, path, body, stream)
            connection.close()
        connection = self._connect()
        try:
            return connection, self._request(connection, path, body, stream)
        except BaseException:
            connection.close()
            raise

    def _request(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        body: Mapping[str, Any] | None,
        stream: bool,
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "text/event-stream" if stream else "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        raw = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            raw = json.dumps(body, ensure_ascii=True).encode()
        method = "GET" if body is None else "POST"
        connection.request(method, f"{self._path}{path}", raw, headers)
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._proxy or (self._host, self._port)
        connection: http.client.HTTPConnection
        if self._is_tls:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                host, port, timeout=self._timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        if self._proxy is not None:
            connection.set_tunnel(self._host, self._port)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            what = f"the server's certificate is not trusted: {error.verify_message}"
            raise Unavailable(what, where=self.where) from None
        except OSError as error:
            what = f"nothing answers at this address: {_name(error)}"
            raise Interrupted(what, is_absent=True) from None
        return connection

    def _check_status(self, answer: http.client.HTTPResponse) -> None:
        if 200 <= answer.status < 300:
            return
        if 300 <= answer.status < 400:
            raise Refusal(
                answer.status,
                f"it sends on to {self._name_target(answer.getheader('Location'))}, and no redirect"
                " is followed: the API key would go along",
                self.where,
            )
        said = self.tell(answer.read(1 << 16))
        if answer.status in RETRIED:
            wait = self.patience.read_retry_after(answer.getheader("Retry-After"))
            raise Interrupted(f"the server answered {answer.status}: {said}", wait)
        raise Refusal(answer.status, said, self.where)

    def _name_target(self, location: str | None) -> str:
        with suppress(ValueError):
            if host := urlsplit(location or "").hostname:
                return self.hide_key(host)[:SHOWN]
        return "another path"

    def _parse(self, raw: bytes) -> dict[str, Any]:
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise ModelError(
                f"the server's answer is not a JSON object: {self.tell(raw)!r}", where=self.where
            )
        if self._key and self.holds_key(json.dumps(data, ensure_ascii=False)):
            raise ModelError("the server's answer holds the API key", where=self.where)
        return data

    def tell(self, raw: bytes) -> str:
        """Return what a server says went wrong, in its own words, without the key."""
        text = raw.decode("utf-8", "replace")
        with suppress(ValueError, RecursionError):
            data: Any = json.loads(text)
            for name in ("error", "message", "detail"):
                if isinstance(data, Mapping) and data.get(name):
                    data = data[name]
            text = data if isinstance(data, str) else json.dumps(data)
        return " ".join(self.hide_key(text).split())[:SHOWN]

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _lines_of(answer: http.client.HTTPResponse, where: str) -> Iterator[bytes]:
    """Yield the lines of a stream, whole, whatever pieces they come in."""
    while line := answer.readline(limits.SERVER_BYTES + 1):
        if len(line) > limits.SERVER_BYTES:
            raise ModelError("the server's answer has no end", where=where)
        yield line.rstrip(b"\r\n")


def _find_proxy(scheme: str, host: str) -> tuple[str, int] | None:
    """The proxy that the environment names for a host."""
    if urllib.request.proxy_bypass(host):
        return None
    proxy = urllib.request.getproxies().get(scheme)
    if not proxy:
        return None
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return (parts.hostname, parts.port or 80) if parts.hostname else None


def _name(error: BaseException) -> str:
    """An error without what it quotes, which may be a header."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return text or type(error).__name__
