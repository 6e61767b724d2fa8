"""Bits of passages from a server's log-probabilities, by every model's windows and ledgers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from llmbench.adapter import Passage, Window
from llmbench.adapters.servers.echo import Echo
from llmbench.adapters.servers.kept_answers import KeptAnswers
from llmbench.inference.pass_progress import Passes
from llmbench.inference.text.lines import (
    PassageLine,
    TextModel,
    cut_line,
    encode_lines,
    make_ledger,
)
from llmbench.inference.windows import Piece
from llmbench.ledger import Ledger


def score(
    model: TextModel,
    echo: Echo,
    kept: KeptAnswers,
    concurrency: int,
    passages: Sequence[Passage],
    window: Window,
) -> Iterator[Ledger]:
    """Yield the ledgers of the passages, in order; so many windows are asked for at once."""
    lines = encode_lines(model, passages)
    jobs = [(line, piece) for line in lines for piece in cut_line(line, model.context, window)]
    passes = Passes(sum(piece.b - piece.a for _, piece in jobs))
    pool = ThreadPoolExecutor(max(1, min(concurrency, len(jobs))))
    try:
        futures = [pool.submit(_fill, echo, kept, line, piece, passes) for line, piece in jobs]
        for future in futures:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)
    for line in lines:
        yield make_ledger(line)


def _fill(echo: Echo, kept: KeptAnswers, line: PassageLine, piece: Piece, passes: Passes) -> None:
    """Fill in the bits of a window's targets: the server reads them, and the last one as well."""
    ids = line.ids[piece.a : piece.b + 1].tolist()
    key = kept.key_of({"way": echo.way, "model": echo.dialect.model, "ids": ids})
    known = kept.find(key)
    if known is None:
        nats = echo.read(ids)
        # JSON has no infinity
        kept.keep(key, [None if math.isinf(value) else value for value in nats[1:].tolist()])
    else:
        nats = np.array([math.nan, *(-math.inf if value is None else value for value in known)])
    charged = nats[piece.first - piece.a :]
    line.bits[piece.first - line.first : piece.b + 1 - line.first] = np.maximum(
        -charged / math.log(2), 0.0
    )
    passes.advance(piece.b - piece.a)
