"""Servers on loopback that speak OpenAI's protocol, each honest but for the traps that are set.

With a model of this process they serve it: what they answer is what the model computes here. With
`says` they say that, and compute nothing.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

NAME = "tiny"


@dataclass
class Traps:
    """What is wrong with a server. Numbers that count down are of requests for text."""

    late_row: bool = False  # the log-probability of a token is read from the row that has seen it
    ignores_echo: bool = False
    ignores_logprobs: bool = False
    truncates: int | None = None  # of a prompt only so many last ids are read, without a word
    answers_as: str = NAME
    stale: bool = False  # log-probabilities of the last prompt that began with the same ids
    refuses_ids: int = 0  # the status of the refusal; 0: it takes them
    lists: bool = True  # whether /models works
    refuses_echo: bool = False
    only_chat: bool = False
    refuses_options: bool = False  # stream_options
    refuses_max_tokens: bool = False
    usage_off: int = 0  # added to the counts of tokens
    counts: int | None = None  # the tokens of every answer, as it counts
    first: float | None = None  # log-probability of the first token
    token_ids: bool = True  # whether `return_token_ids` is known
    noise: float = 0.0  # of log-probabilities that are read, in nats
    zeros_from: int | None = None  # tokens of a prompt from which on log-probabilities are 0
    least: float | None = None  # the lowest log-probability of a prompt that it gives
    base: float = math.e  # of all log-probabilities
    tops: int = 0  # likeliest tokens that it gives at most; it refuses to give more
    odd_id: object = None  # in place of the last id that it wrote
    index: int = 0  # of its choice
    reasons: str = ""  # what it thinks before it answers
    redirects: str = ""
    echoes_key: bool = False
    busy: list[str] = field(default_factory=list)  # values of Retry-After, each with a 429
    failures: int = 0  # answered with 500
    resets: int = 0  # streams that end with a reset
    cuts: int = 0  # streams that end without an end
    errors: int = 0  # streams that end with an error
    stalls: int = 0  # streams in which nothing more comes
    garbage: int = 0  # answers that are no JSON
    after: int = 1  # pieces before a stream breaks off
    write_size: int | None = None  # bytes written at once


class FakeServer:
    """A server in a thread. `asked`: the bodies of requests for text, in order."""

    def __init__(
        self,
        model: Any = None,
        says: Sequence[str] | Callable[[dict[str, Any]], Sequence[str]] = (),
        traps: Traps | None = None,
        context: int | None = None,
        port: int = 0,
    ):
        self.model, self.says, self.traps = model, says, traps or Traps()
        self.context = context
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.seen: dict[tuple[int, ...], np.ndarray] = {}
        handler = type("Handler", (_Handler,), {"fake": self})
        self.server = _Server(("127.0.0.1", port), handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def take(self, name: str) -> bool:
        """Whether a trap that counts down is still open."""
        with self.lock:
            left = getattr(self.traps, name)
            setattr(self.traps, name, max(0, left - 1))
            return left > 0

    # What the model computes
    # ----------------------------------------------------------------------------------------------

    def prompt_ids(self, body: dict[str, Any]) -> list[int]:
        prompt = body.get("prompt")
        if self.model is None:
            return list(range(len(str(prompt).split())))
        if isinstance(prompt, list):
            ids = prompt
        else:
            text = prompt if prompt is not None else body["messages"][-1]["content"]
            ids = [*self.model.bos_ids, *self.model.encode(text).ids.tolist()]
        return ids if self.traps.truncates is None else ids[-self.traps.truncates :]

    def rows(self, ids: Sequence[int]) -> np.ndarray:
        """(T, V) log-probabilities; row t predicts what follows ids[:t+1]."""
        import torch

        with torch.inference_mode():
            logits = self.model.logits(torch.tensor([list(ids)[: self.model.context]]))[0]
        return torch.log_softmax(logits.double(), -1).numpy()

    def write(self, ids: Sequence[int], most: int) -> tuple[list[int], list[float], str]:
        """Greedy ids after these, their nats, and why they end."""
        line, made, nats = list(ids), [], []
        while len(made) < most:
            row = self.rows(line[-self.model.context :])[-1]
            token = int(row.argmax())
            made.append(token)
            nats.append(float(row[token]))
            line.append(token)
            if token in self.model.eos_ids:
                return made, nats, "stop"
        return made, nats, "length"

    def read(self, ids: Sequence[int]) -> list[float | None]:
        """Log-probabilities of a prompt's ids."""
        rows = self.rows(ids)
        first = 0 if self.traps.late_row else 1
        nats = [float(rows[min(at - first, len(rows) - 1)][id]) for at, id in enumerate(ids)]
        if self.traps.noise:
            draw = np.random.default_rng(len(ids)).normal(0, self.traps.noise, len(nats))
            nats = [min(0.0, value + gap) for value, gap in zip(nats, draw, strict=True)]
        if self.traps.stale:
            kept = self.seen.setdefault(tuple(ids[:2]), np.array(nats))
            size = min(len(kept), len(nats))
            nats[:size] = kept[:size].tolist()
        if self.traps.zeros_from is not None and len(nats) > self.traps.zeros_from:
            nats = [0.0] * len(nats)
        if self.traps.least is not None:
            nats = [max(self.traps.least, value) for value in nats]
        return [self.traps.first, *nats[1:]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, address: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        return

    def do_GET(self) -> None:
        self.fake.headers.append(dict(self.headers))
        if not self.fake.traps.lists:
            return self.refuse(500, "no cache")
        row: dict[str, Any] = {"id": NAME, "object": "model"}
        if self.fake.context is not None:
            row["max_model_len"] = self.fake.context
        return self.answer(200, {"object": "list", "data": [row]})

    def do_POST(self) -> None:
        fake, traps = self.fake, self.fake.traps
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake.headers.append(dict(self.headers))
        fake.asked.append(body)
        is_chat = self.path.endswith("/chat/completions")
        if traps.redirects:
            return self.answer(307, {}, {"Location": traps.redirects})
        if traps.tops and body.get("logprobs", 0) > traps.tops:
            return self.refuse(400, f"logprobs must be {traps.tops} at most")
        if not is_chat and traps.only_chat:
            return self.refuse(404, "this is a chat model")
        if traps.refuses_ids and isinstance(body.get("prompt"), list):
            return self.refuse(traps.refuses_ids, "prompt must be a string")
        for name, status in (("stream_options", 400), ("max_tokens", 400), ("echo", 400)):
            trap = {"stream_options": "options"}.get(name, name)
            if getattr(traps, f"refuses_{trap}") and name in body:
                said = "Use 'max_completion_tokens' instead" if name == "max_tokens" else ""
                return self.refuse(status, f"unknown parameter {name}. {said}")
        if traps.busy:
            return self.refuse(429, "slow down", {"Retry-After": traps.busy.pop(0)})
        if fake.take("failures"):
            return self.refuse(500, "out of luck")
        if fake.take("garbage"):
            return self.send(200, b"<html>busy</html>", {})
        return self.complete(body, is_chat)

    def refuse(self, status: int, said: str, headers: dict[str, str] | None = None) -> None:
        key = self.headers.get("Authorization", "") if self.fake.traps.echoes_key else ""
        self.answer(status, {"error": {"message": f"{said}{key}", "code": status}}, headers or {})

    def complete(self, body: dict[str, Any], is_chat: bool) -> None:
        fake, traps = self.fake, self.fake.traps
        ids = fake.prompt_ids(body)
        most = body.get("max_tokens") or body.get("max_completion_tokens") or 16
        made, nats, finish = list[int](), list[float](), "stop"
        pieces = list(fake.says(body) if callable(fake.says) else fake.says)
        if fake.model is not None:
            made, nats, finish = fake.write(ids, most)
            pieces = spell(fake.model, made)
        if traps.echoes_key:
            pieces = [*pieces, self.headers.get("Authorization", "")]
        count, off = len(made) if fake.model is not None else len(pieces), traps.usage_off
        usage = {
            "prompt_tokens": len(ids) + off,
            "completion_tokens": traps.counts if traps.counts is not None else count + off,
        }
        head = {"id": "x", "model": traps.answers_as, "created": 0}
        if body.get("stream"):
            return self.stream(head, pieces, finish, usage, body, is_chat)
        text = "".join(pieces)
        choice: dict[str, Any] = {"index": traps.index, "finish_reason": finish}
        if is_chat:
            choice["message"] = {"role": "assistant", "content": text or None}
            choice["message"]["reasoning_content"] = traps.reasons or None
        else:
            choice |= self.completion(body, ids, made, nats, text)
        return self.answer(200, {**head, "choices": [choice], "usage": usage})

    def completion(
        self,
        body: dict[str, Any],
        ids: list[int],
        made: list[int],
        nats: list[float],
        text: str,
    ) -> dict[str, Any]:
        fake, traps = self.fake, self.fake.traps
        found: dict[str, Any] = {"text": text, "logprobs": None}
        if body.get("return_token_ids") and traps.token_ids:
            found["token_ids"] = made if traps.odd_id is None else [*made[:-1], traps.odd_id]
        if "logprobs" in body and not traps.ignores_logprobs:
            values: list[float | None] = list(nats)
            if body.get("echo") and not traps.ignores_echo:
                values = [*fake.read(ids), *values]
            scale = math.log(traps.base)
            values = [None if value is None else _finite(value) / scale for value in values]
            found["logprobs"] = {"token_logprobs": values}
            if traps.tops:
                rows = fake.rows([*ids, *made])[len(ids) - 1 : -1]
                likeliest = np.sort(rows)[:, -body["logprobs"] :] / scale
                found["logprobs"]["top_logprobs"] = [
                    {f"t{at}": float(value) for at, value in enumerate(row)} for row in likeliest
                ]
        return found

    def stream(
        self,
        head: dict[str, Any],
        pieces: Sequence[str],
        finish: str,
        usage: dict[str, int],
        body: dict[str, Any],
        is_chat: bool,
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if is_chat:
            self.event({**head, "choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        if is_chat and self.fake.traps.reasons:
            part = {"delta": {"reasoning_content": self.fake.traps.reasons}}
            self.event({**head, "choices": [{"index": 0, **part}]})
        for number, piece in enumerate(pieces):
            if number == self.fake.traps.after and self.breaks_off():
                return
            part = {"delta": {"content": piece}} if is_chat else {"text": piece}
            index = self.fake.traps.index
            self.event({**head, "choices": [{"index": index, "finish_reason": None, **part}]})
        part = {"delta": {}} if is_chat else {"text": ""}
        self.event({**head, "choices": [{"index": 0, "finish_reason": finish, **part}]})
        if body.get("stream_options", {}).get("include_usage"):
            self.event({**head, "choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def breaks_off(self) -> bool:
        """Whether a stream ends here, by one of the traps."""
        fake = self.fake
        if fake.take("resets"):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif fake.take("stalls"):
            fake.ended.wait(20)
        elif fake.take("errors"):
            self.event({"error": {"message": "the engine died", "code": 500}})
            self.chunk(b"")
        elif not fake.take("cuts"):
            return False
        self.close_connection = True
        self.connection.close()
        return True

    def event(self, data: dict[str, Any]) -> None:
        raw = f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "surrogatepass")
        size = self.fake.traps.write_size or len(raw)
        for at in range(0, len(raw), size):
            self.chunk(raw[at : at + size])

    def chunk(self, raw: bytes) -> None:
        try:
            self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
            self.wfile.flush()
        except OSError:  # the client has heard enough
            self.close_connection = True

    def answer(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(data).encode(), headers or {})

    def send(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def spell(model: Any, ids: Sequence[int]) -> list[str]:
    """The text of ids one by one, as a server streams it: a character comes with its last byte."""
    found, raw = [], b""
    for id in ids:
        raw += model.decode([id])
        try:
            found.append(raw.decode())
            raw = b""
        except UnicodeDecodeError:
            found.append("")
    return [*found, raw.decode(errors="replace")] if raw else found


def _finite(value: float) -> float:
    return -9999.0 if math.isinf(value) else value
