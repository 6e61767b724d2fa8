"""Many answers of a server at once, each with the times at which it came."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from llmbench.adapter import Chunk, Request
from llmbench.adapters.servers.client import Client, Refusal
from llmbench.adapters.servers.kept_answers import KeptAnswers
from llmbench.adapters.servers.patience import Interrupted
from llmbench.adapters.servers.protocol import (
    Characters,
    Counting,
    Dialect,
    OnlyReasoning,
    Piece,
    Prompt,
)
from llmbench.config.server_settings import ServerSettings
from llmbench.errors import ModelError, Unsupported
from llmbench.inference.text.answer import AnswerText

SILENT = 8  # tokens of an answer that may have no text: those that end it, or a turn


@dataclass
class Times:
    """When an answer was due, asked for, begun and ended, in ns of time.perf_counter_ns.

    first: its first text; a message with a role alone is none. tokens: as far as they are known.
    """

    scheduled: int
    sent: int = 0
    first: int | None = None
    last: int | None = None
    tokens: int = 0


class Writer:
    """Generates through a server. `encode` makes a request's prompt, and says how many tokens it
    has at least, if that is known.
    """

    def __init__(
        self,
        client: Client,
        dialect: Dialect,
        settings: ServerSettings,
        kept: KeptAnswers,
        encode: Callable[[Request], tuple[Prompt, int | None]],
        context: int | None,
        counting: Counting,
    ):
        self.client, self.dialect, self.settings, self.kept = client, dialect, settings, kept
        self._encode, self._context, self.counting = encode, context, counting
        self.times: dict[int, Times] = {}  # of the last call, by row

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        """Yield the pieces of all answers as they come. What one request raises ends all."""
        found: queue.SimpleQueue[Chunk | BaseException] = queue.SimpleQueue()
        halt, now = threading.Event(), time.perf_counter_ns()
        self.times = {row: Times(now) for row in range(len(requests))}
        pool = ThreadPoolExecutor(max(1, min(self.settings.concurrency, len(requests))))
        try:
            for row, request in enumerate(requests):
                pool.submit(self._work, row, request, found.put, halt)
            left = len(requests)
            while left:
                chunk = found.get()
                if isinstance(chunk, BaseException):
                    raise chunk
                left -= chunk.finish is not None
                yield chunk
        finally:
            halt.set()
            pool.shutdown(cancel_futures=True)

    def _work(
        self,
        row: int,
        request: Request,
        put: Callable[[Chunk | BaseException], None],
        halt: threading.Event,
    ) -> None:
        try:
            if not halt.is_set():
                self._answer(row, request, put, halt)
        except BaseException as error:  # the caller's thread raises it
            put(error)

    def _answer(
        self, row: int, request: Request, put: Callable[[Chunk], None], halt: threading.Event
    ) -> None:
        prompt, least = self._encode(request)
        most = self._find_most(request, least)
        key = self.kept.key_of(
            {
                "api": self.dialect.api,
                "model": self.dialect.model,
                "request": asdict(request),
                "prompt": prompt if isinstance(prompt, str) else list(prompt),
                "most": most,
            }
        )
        known = self.kept.find(key)
        if known is not None:
            put(Chunk(row, known["text"], known["tokens"], known["finish"], known.get("read")))
            return
        exchange = _Exchange(self, row, request, prompt, most, least, put, halt)
        self.client.patience.run(exchange.attempt, self.client.where)
        if exchange.last is not None:
            last = exchange.last
            value = {"text": exchange.said, "tokens": last.tokens, "finish": last.finish}
            if last.prompt_tokens is not None:
                value["read"] = last.prompt_tokens
            self.kept.keep(key, value)
            put(last)

    def _find_most(self, request: Request, least: int | None) -> int:
        """Most tokens of an answer: a token has at least a byte, with few exceptions."""
        most = request.max_tokens or request.max_bytes or 1
        if self._context is None or least is None:
            return most
        if least >= self._context:
            raise Unsupported(
                f"a prompt of {least} tokens does not fit into the server's context of"
                f" {self._context}",
                where=self.client.where,
                hint="a server with a larger context, or shorter prompts",
            )
        return min(most, max(1, self._context - least - 1))


class _Exchange:
    """One answer, over as many tries as it takes. `said`: what was handed on of it."""

    def __init__(
        self,
        writer: Writer,
        row: int,
        request: Request,
        prompt: Prompt,
        most: int,
        least: int | None,
        put: Callable[[Chunk], None],
        halt: threading.Event,
    ):
        self.writer, self.row, self.request, self.prompt = writer, row, request, prompt
        self.most, self.least, self.put, self.halt = most, least, put, halt
        self.said = ""
        self.last: Chunk | None = None

    def attempt(self) -> None:
        """Ask once, and hand the answer on as it comes. Raises Interrupted if it breaks off."""
        while True:
            try:
                return self._attempt()
            except Refusal as refusal:
                if not self.writer.dialect.adapt(refusal):
                    raise

    def _attempt(self) -> None:
        text, characters, whole = AnswerText(self.request), Characters(), ""
        times, usage, is_full = self.writer.times[self.row], None, False
        made, size, reasons = 0, 0, False  # pieces and bytes of text so far
        times.sent, times.first = time.perf_counter_ns(), None
        is_ended = False  # by the server
        for piece, now in self._pieces():
            usage, reasons = piece.usage or usage, reasons or piece.reasons
            if not is_ended:
                is_ended, is_full = piece.finish is not None, piece.finish == "length"
                made += bool(piece.text)
                if piece.text:
                    times.first, times.last = times.first or now, now
                data = characters.take(piece.text, is_ended)
                size += len(data)
                whole += text.take(data, piece.finish == "stop", is_full)
                if text.finish is None:
                    self._hand_on(whole, made)
                elif not is_ended:  # our own limit: the rest is not waited for
                    break
            if self.halt.is_set():
                return
        if text.finish is None:
            raise Interrupted("the server's answer broke off before its end")
        if reasons and not size:
            raise OnlyReasoning(self.writer.client.where)
        counts = usage if is_ended and usage is not None else {}
        self._check(whole, counts)
        times.tokens = self._count(counts, made, None if reasons else size, is_full)
        rest = self._find_rest(whole)
        read = None if self.writer.counting.wrong else counts.get("prompt_tokens")
        self.last = Chunk(self.row, rest, times.tokens, text.finish, read)
        self.said = whole

    def _pieces(self) -> Iterator[tuple[Piece, int]]:
        writer = self.writer
        dialect, stream = writer.dialect, writer.settings.stream
        body = dialect.body(self.prompt, self.request, self.most, stream)
        if not stream:
            answer = writer.client.ask_once(dialect.path, body)
            yield dialect.read(answer), time.perf_counter_ns()
            return
        for event in writer.client.stream(dialect.path, body):
            yield dialect.read(event.data), event.time_ns

    def _hand_on(self, whole: str, made: int) -> None:
        """Hand on what is new of the answer so far; after a break, only once it is past that."""
        if len(whole) > len(self.said):
            rest = self._find_rest(whole)
            self.said = whole
            self.put(Chunk(self.row, rest, made))

    def _find_rest(self, whole: str) -> str:
        """What of the answer was not handed on. ModelError if a second try says something else."""
        if not whole.startswith(self.said):
            raise ModelError(
                "the connection broke, and the server's second answer is not its first",
                where=self.writer.client.where,
                hint="run again: other answers are kept",
            )
        return whole[len(self.said) :]

    def _check(self, whole: str, counts: Mapping[str, int]) -> None:
        """Raise ModelError at an answer that holds the key, or to a prompt that was cut."""
        client, read = self.writer.client, counts.get("prompt_tokens")
        if client.holds_key(whole):
            raise ModelError("the server's answer holds the API key", where=client.where)
        if read is None or self.least is None or self.writer.counting.wrong:
            return
        if read < self.least:
            raise ModelError(
                f"the server read {read} of {self.least} tokens of a prompt: it cuts prompts"
                " without a word",
                where=client.where,
                hint="a server with a larger context, or shorter prompts",
            )

    def _count(self, counts: Mapping[str, int], made: int, size: int | None, is_full: bool) -> int:
        """Tokens of the answer: the server's count, unless that cannot be; else its pieces.

        size: bytes of its text, if nothing else was counted: a token has at least one.
        """
        count, counting = counts.get("completion_tokens"), self.writer.counting
        if count is None or counting.wrong:
            return made
        if count > self.most or (is_full and count != self.most):
            counting.wrong = f"completion_tokens {count} for an answer of {self.most}"
        elif count < made:
            counting.wrong = f"completion_tokens {count} for an answer in {made} pieces"
        elif size is not None and count > size + SILENT:
            counting.wrong = f"completion_tokens {count} for an answer of {size} bytes"
        return made if counting.wrong else count
