"""A run that is made by hand, its publication, and a server of it on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from llmbench import storage
from llmbench.plan.registry import suite_path
from llmbench.publishing import manifest
from llmbench.results.ranking import rank_scores
from llmbench.results.record import Notes
from llmbench.stats import Interval, block_interval, ratio_interval
from support.hand_runs import BITS, Hand, bits

RATES = tuple(1.9 + 0.017 * i for i in range(18))
POWER = ("likelihood", "byte_perplexity", "perplexity", "lower")
SPEED = ("speed", "decode_bytes_per_second", "bytes/s", "higher")
MODELS = ("byte-ngram", "zlib")


def quick_run(folder: Path, models=MODELS, **changes) -> Path:
    """A run of `quick`, which asked these models for bits and for their speed."""
    raw = suite_path("quick").read_bytes()
    suite = {"name": "quick", "version": 1, "sha256": hashlib.sha256(raw).hexdigest()}
    options = {"device": "cpu", "dtype": None, "limit": None, "seed": 0, "data": []}
    hand = Hand(folder, suite=suite, options=options, **changes)
    for at, name in enumerate(models):
        rows, blocks = bits(*(rate + at for rate in RATES)), [1000.0 + i for i in range(8)]
        per_byte = ratio_interval(*zip(*rows, strict=True))
        power = {name: 2**end for name, end in _ends(per_byte).items()}
        hand.add(name, BITS, rows, **_ends(per_byte))
        hand.add(name, POWER, rows, value=2**per_byte.value, **power)
        speed = _ends(block_interval(blocks))
        hand.add(name, SPEED, [[rate, 1] for rate in blocks], session="s1", **speed)
    hand.write()
    record = hand.record()
    proven = rank_scores(record.scores, folder)
    files = {
        file.relative_to(folder).as_posix(): storage.digest_file(file)
        for file in sorted(folder.glob("samples/*/*"))
    }
    cells = {name: ["likelihood", "speed"] for name in models}
    record.notes = Notes.model_validate({"cells": cells, "files": files, "tasks": proven})
    record.write(folder)
    return folder


def _ends(found: Interval) -> dict[str, float | None]:
    return {"low": found.low, "high": found.high}


def seal_again(folder: Path) -> None:
    """Write a new list of the files, as somebody would who changed one of them."""
    (folder / manifest.NAME).unlink()
    manifest.write_manifest(folder, "0.1.0")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nobody reads it."""


@contextmanager
def serve(folder: Path, handler=Quiet) -> Iterator[str]:
    """Serve a folder on this machine; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
