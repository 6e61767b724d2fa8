"""A shard on disk: the answers of a model to a run of a task's items, and whose they are.

The file is a zip of NumPy arrays of numbers, and reading one runs no code. Bits keep all 64 bits.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmbench import storage
from llmbench.ledger import Ledger
from llmbench.tasks.shards.recording import Kept, Kind

VERSION = 1
DIGEST_BYTES = 16
UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile)

Tell = Callable[[str, str], None]  # is told the name and the sha256 of each file that was written


class Shelf:
    """The shards of one cell, each a file in a folder.

    mark: what their answers depend on; shards with another one are not taken. known: sha256 of
    files that are believed, besides those that are written here.
    """

    def __init__(
        self,
        folder: Path,
        mark: Mapping[str, object],
        known: Collection[str] = (),
        tell: Tell = lambda name, digest: None,
    ):
        self.folder, self._mark, self._known, self._tell = folder, dict(mark), set(known), tell

    def believe(self, digests: Iterable[str]) -> None:
        """Believe files that others have written."""
        self._known.update(digests)

    def name(self, first: int, last: int) -> str:
        """Return the file's name of the shard with items first .. last-1."""
        return f"{first:08}-{last:08}.npz"

    def write(self, first: int, last: int, kept: Mapping[Kind, Kept]) -> None:
        """Keep the answers to items first .. last-1."""
        raw = encode({**self._mark, "first": first, "last": last}, kept)
        name, found = self.name(first, last), hashlib.sha256(raw).hexdigest()
        storage.write_bytes(self.folder / name, raw)
        self._known.add(found)
        self._tell(name, found)

    def read(self, first: int, last: int) -> dict[Kind, Kept] | None:
        """Return the answers to items first .. last-1; None if they are not there, or of another
        question or model, or not believed.
        """
        try:
            raw = storage.read_bytes(self.folder / self.name(first, last))
            if hashlib.sha256(raw).hexdigest() not in self._known:
                return None
            head, kept = decode(raw)
        except UNREADABLE:
            return None
        wanted = json.loads(json.dumps({**self._mark, "first": first, "last": last}))
        return kept if head == wanted else None


def encode(head: Mapping[str, object], kept: Mapping[Kind, Kept]) -> bytes:
    """Return a shard as the bytes of its file."""
    arrays: dict[str, Any] = {"head": _pack({**head, "version": VERSION, "kinds": list(kept)})}
    for kind, some in kept.items():
        digests = np.frombuffer(b"".join(some.digests), dtype=np.uint8)
        arrays[f"{kind}.asked"] = digests.reshape(-1, DIGEST_BYTES)
        if kind == "bits":
            arrays |= {f"bits.{name}": array for name, array in _pack_ledgers(some.answers)}
        else:
            arrays[kind] = _pack(some.answers)
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def decode(raw: bytes) -> tuple[dict[str, object], dict[Kind, Kept]]:
    """Return the head and the answers of a file; ValueError or KeyError if it is no shard."""
    with np.load(io.BytesIO(raw)) as arrays:
        head = _unpack(arrays["head"])
        if head.pop("version") != VERSION:
            raise ValueError("a shard of another version")
        found: dict[Kind, Kept] = {}
        for kind in head.pop("kinds"):
            kept = Kept()
            joined = arrays[f"{kind}.asked"].tobytes()
            kept.digests = [
                joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)
            ]
            kept.answers = _unpack_ledgers(arrays) if kind == "bits" else _unpack(arrays[kind])
            found[kind] = kept
    return head, found


def _pack(value: object) -> Any:
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def _unpack(array: Any) -> Any:
    return json.loads(array.tobytes())


def _pack_ledgers(ledgers: list[Ledger]) -> list[tuple[str, Any]]:
    """The charges of all ledgers, one after the other, and what else they hold."""

    def join(name: str, kind: type) -> Any:
        parts = [getattr(ledger, name) for ledger in ledgers]
        return np.concatenate([np.empty(0, dtype=kind), *parts], dtype=kind)

    start, end = join("start", np.int64), join("end", np.int64)
    return [
        ("start", start),
        ("length", end - start),
        ("bits", join("bits", np.float64)),
        ("kind", join("kind", np.uint8)),
        ("count", np.array([len(ledger.start) for ledger in ledgers], dtype=np.int64)),
        ("bytes", np.array([ledger.bytes for ledger in ledgers], dtype=np.int64)),
        ("context", np.array([ledger.context_bytes for ledger in ledgers], dtype=np.int64)),
        ("names", _pack([[ledger.id, ledger.loss] for ledger in ledgers])),
    ]


def _unpack_ledgers(arrays: Any) -> list[Ledger]:
    start, bits, kind = (arrays[f"bits.{name}"] for name in ("start", "bits", "kind"))
    end = start + arrays["bits.length"]
    edges = np.concatenate([[0], np.cumsum(arrays["bits.count"])]).tolist()
    names = _unpack(arrays["bits.names"])
    sizes, contexts = (arrays[f"bits.{name}"].tolist() for name in ("bytes", "context"))
    return [
        Ledger(start[a:b], end[a:b], bits[a:b], kind[a:b], size, id, loss, context)
        for a, b, size, context, (id, loss) in zip(
            edges, edges[1:], sizes, contexts, names, strict=False
        )
    ]
