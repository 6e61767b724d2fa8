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
    cells = {name: ["likelihood", "speed"] for name in models}
    files = {}
    hand = Hand(folder, suite=suite, options=options, **changes)
    for at, name in enumerate(models):
        hand.add(name, BITS, bits(*(rate + at for rate in RATES)))
        mean = sum(RATES) / len(RATES) + at
        hand.add(name, POWER, bits(*RATES), value=2**mean)
        hand.add(name, SPEED, [[1000.0 + i, 1] for i in range(8)], session="s1")
    hand.changes["notes"] = {"cells": cells}
    hand.write()
    for file in sorted(folder.glob("samples/*/*")):
        files[file.relative_to(folder).as_posix()] = storage.digest_file(file)
    hand.changes["notes"] = {"cells": cells, "files": files}
    hand.record().write(folder)
    return folder


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
