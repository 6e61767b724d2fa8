"""From the bytes of a reply to an exchange: read after the load, when time does not count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from llmbench.adapters.servers.client import Client
from llmbench.adapters.servers.load.generator import Reply
from llmbench.adapters.servers.load.response import END
from llmbench.adapters.servers.protocol import Dialect, Finish
from llmbench.errors import ModelError
from llmbench.inference.serving.load import Exchange


@dataclass
class _Found:
    pieces: list[tuple[int, str]] = field(default_factory=list)
    ended: int | None = None
    finish: Finish | None = None
    usage: int | None = None
    is_whole: bool = False


def read_reply(reply: Reply, dialect: Dialect, client: Client) -> Exchange:
    """Return the exchange of a reply. Raises ModelError if another model answers, or if the answer
    holds the API key.
    """
    found, error = _Found(), reply.error
    if not error and reply.response.status != 200:
        said = client.tell(b"".join(data for _, data in reply.response.pieces)[: 1 << 16])
        error = f"status {reply.response.status}: {said}"
    if not error:
        error = _read_lines(reply, dialect, client, found)
    if not error and not found.is_whole:
        error = "the answer broke off before its end"
    return Exchange(
        reply.scheduled,
        reply.started,
        tuple(found.pieces),
        found.ended,
        found.finish,
        found.usage,
        error=error,
    )


def _read_lines(reply: Reply, dialect: Dialect, client: Client, found: _Found) -> str:
    """Read the messages of a stream into `found`; return what went wrong."""
    for at, line in split_lines(reply.response.pieces):
        name, _, value = line.partition(b":")
        if name != b"data":
            continue
        if value.strip() == END:
            found.is_whole = True
            break
        data: object = None
        with suppress(ValueError, RecursionError):
            data = json.loads(value)
        if not isinstance(data, dict):
            return "a message is not a JSON object"
        if client.holds_key(json.dumps(data, ensure_ascii=False)):
            raise ModelError("the server's answer holds the API key", where=client.where)
        if data.get("error"):
            return f"the server broke off: {client.tell(value)}"
        piece = dialect.read(data)
        if piece.reasons:
            return "it reasons before it answers (`reasoning_content`): turn that off"
        if piece.usage is not None:
            found.usage = piece.usage.get("completion_tokens", found.usage)
        if piece.text:
            found.pieces.append((at, piece.text))
        if piece.text or piece.finish:
            found.ended = at
        if piece.finish:
            found.finish, found.is_whole = piece.finish, True
    return ""


def split_lines(pieces: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a body, each with the time at which it was whole."""
    rest = b""
    for at, data in pieces:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield at, line.rstrip(b"\r")
    if rest:
        yield pieces[-1][0], rest
