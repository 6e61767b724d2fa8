"""A model, a Markov chain of bytes: counts of which byte follows which two, mixed with shorter
histories.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmbench import (
    Adapter,
    BuildContext,
    Chunk,
    Ledger,
    ModelInfo,
    Passage,
    Request,
    Window,
)

TOKEN = 0  # the kind of an ordinary charge


Array = NDArray[np.float64]


def truncate(p: Array, request: Request) -> Array:
    """The distribution that is drawn from: by temperature, then the `top_k` likeliest, then the
    fewest that together reach `top_p`.
    """
    order = np.argsort(-p, kind="stable")
    kept = p[order] ** (1 / request.temperature)
    if request.top_k is not None:
        kept[request.top_k :] = 0
    kept /= kept.sum()
    if request.top_p is not None:
        kept[np.searchsorted(np.cumsum(kept), request.top_p) + 1 :] = 0
    out = np.zeros(len(p))
    out[order] = kept / kept.sum()
    return out


class Markov(Adapter):
    """`order` bytes of history; each longer history takes over from the shorter one as it has been
    seen more often.
    """

    def __init__(self, data: list[bytes], order: int = 2):
        self.order = order
        self.counts: dict[bytes, Array] = {}
        for text in data:
            for at, byte in enumerate(text):
                for length in range(min(order, at) + 1):
                    self.counts.setdefault(text[at - length : at], np.zeros(256))[byte] += 1
        self.fingerprint = hashlib.sha256(
            repr([order, *sorted(hashlib.sha256(text).hexdigest() for text in data)]).encode()
        ).hexdigest()

    @classmethod
    def build(cls, arguments: Mapping[str, Any], build_context: BuildContext) -> Markov:
        """llmbench gives the suite's training text here."""
        text = build_context.require_text("train")
        return cls([document.text.encode() for document in text.documents], **arguments)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            name="markov",
            family="Markov chain",
            tokenizer="bytes",
            parameters=sum(int(np.count_nonzero(row)) for row in self.counts.values()),
            context=self.order,
            dtype=None,
            device="cpu",
            fingerprint=self.fingerprint,
        )

    def after(self, history: bytes) -> Array:
        """(256,) probabilities of the next byte. They sum to one, since each is a mean of two
        distributions.
        """
        p = np.full(256, 1 / 256)
        for length in range(min(self.order, len(history)) + 1):
            row = self.counts.get(history[len(history) - length :])
            if row is not None:
                kinds = np.count_nonzero(row)
                p = (row + kinds * p) / (row.sum() + kinds)
        return p

    def score(self, passages: Sequence[Passage], window: Window = Window()) -> Iterator[Ledger]:
        for passage in passages:
            context, text = passage.context.encode(), passage.text.encode()
            whole = context + text
            p = [
                self.after(whole[max(0, at - self.order) : at])[whole[at]]
                for at in range(len(context), len(whole))
            ]
            at = np.arange(len(text))
            yield Ledger.build(
                at,
                at + 1,
                -np.log2(np.array(p)) if p else [],
                np.full(len(text), TOKEN),
                len(text),
                passage.id,
            )

    def next_distribution(self, context: str) -> tuple[list[bytes], Array]:
        return [bytes([byte]) for byte in range(256)], self.after(context.encode()[-self.order :])

    def generate(self, requests: Sequence[Request]) -> Iterator[Chunk]:
        """Byte by byte. An adapter over tokens would subclass llmbench.TokenAdapter
        and have this for nothing.
        """
        for row, request in enumerate(requests):
            yield self._answer(row, request)

    def _answer(self, row: int, request: Request) -> Chunk:
        rng, said = np.random.default_rng(request.seed), b""
        finish: Literal["length", "stop"] = "length"
        most = min(
            limit for limit in (request.max_tokens, request.max_bytes, 1 << 20) if limit is not None
        )
        forced = None if request.forced_text is None else request.forced_text.encode()
        while len(said) < (most if forced is None else len(forced)):
            p = self.after((request.prompt.encode() + said)[-self.order :])
            if forced is not None:
                byte = forced[len(said)]
            elif request.temperature == 0:
                byte = int(p.argmax())
            else:
                byte = int(rng.choice(256, p=truncate(p, request)))
            said += bytes([byte])
            stops = [said.find(stop.encode()) for stop in request.stop if stop.encode() in said]
            if stops:
                said, finish = said[: min(stops)], "stop"
                break
        return Chunk(row, said.decode(errors="ignore"), len(said), finish)
