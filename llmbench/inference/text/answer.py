"""The text of an answer in the making: stop texts, the limit of bytes, and what may be shown."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from llmbench.adapter import Adapter, Chunk, Request
from llmbench.errors import ModelError, close_early


class AnswerText:
    """Takes an answer piece by piece and gives what is certain of it.

    finish: why the answer has ended; None while it goes on.
    """

    def __init__(self, request: Request):
        self.request = request
        self.finish: Literal["length", "stop"] | None = None
        self._reader = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # text that may yet turn out to begin a stop string
        self._written = 0

    def take(self, data: bytes, ended: bool = False, full: bool = False) -> str:
        """Return what these further bytes make certain.

        ended: the model has ended its answer. full: it must not go on.
        """
        request = self.request
        self._held += self._reader.decode(data, final=ended or full)
        if ended:
            self.finish = "stop"
        stopped = [at for at in (self._held.find(stop) for stop in request.stop) if at >= 0]
        if stopped:
            self._held, self.finish = self._held[: min(stopped)], "stop"
        room = None if request.max_bytes is None else request.max_bytes - self._written
        if room is not None and len(self._held.encode()) >= room:
            kept = self._held.encode()[:room].decode(errors="ignore")
            is_whole = self.finish is not None and kept == self._held
            self._held, self.finish = kept, self.finish if is_whole else "length"
        if full and self.finish is None:
            self.finish = "length"
        wait = 0 if self.finish else self._count_begun_stop()
        text, self._held = (
            self._held[: len(self._held) - wait],
            self._held[len(self._held) - wait :],
        )
        self._written += len(text.encode())
        return text

    def _count_begun_stop(self) -> int:
        """Length of the longest end of the held text that begins some stop string."""
        most = max((len(stop) for stop in self.request.stop), default=1) - 1
        for size in range(min(most, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self.request.stop):
                return size
        return 0


def stream_answers(adapter: Adapter, requests: Sequence[Request]) -> Iterator[Chunk]:
    """Yield what `adapter` generates; half a surrogate pair, which is no text, becomes U+FFFD.

    Raises ModelError at a chunk that answers none of `requests`: a row below 0 would silently go to
    another one.
    """
    with close_early(adapter.generate(requests)) as chunks:
        for chunk in chunks:
            if not 0 <= chunk.row < len(requests):
                raise ModelError(
                    f"`generate` yielded row {chunk.row} of {len(requests)} requests",
                    where=type(adapter).__name__,
                    hint="yield the index of the request, which begins at 0 in each call",
                )
            mended = _mend(chunk.text)
            yield chunk if mended is chunk.text else replace(chunk, text=mended)


def _mend(text: str) -> str:
    """A text with U+FFFD for each half of a surrogate pair; the same object if it has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def trim_answer(text: str, request: Request) -> str:
    """Return an answer as far as its request asked for it: before the first of `stop`, at most
    `max_bytes` long, in whole characters. It is the answer itself if its adapter keeps to both.
    """
    if request.forced_text is not None:
        return text
    ends = [at for at in map(text.find, request.stop) if at >= 0]
    text = text[: min(ends, default=len(text))]
    if request.max_bytes is None:
        return text
    return text.encode()[: request.max_bytes].decode(errors="ignore")
