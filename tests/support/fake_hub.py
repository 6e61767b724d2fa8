"""A hub on this machine, with one data set: enough of its interface for `datasets` and for `hf
download`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llmbench.data import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(id: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """Its address, while it serves the files of the data set `id`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None: ...

        def answer(self, code: int, body: bytes, **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
            head, _, rest = path.partition(id)
            _, kind, _, *name = (rest + "///").split("/", 3)
            file = "/".join(name).rstrip("/")
            if head == "/datasets/" and kind == "resolve" and file in files:
                self.answer(200, files[file], ETag=f'"{_hash(files[file])}"', X_Repo_Commit=COMMIT)
            elif head == "/datasets/" and kind == "resolve":
                self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            elif head == "/api/datasets/" and kind == "tree":
                found = [
                    {"type": "file", "path": key, "size": len(raw), "oid": _hash(raw)}
                    for key, raw in files.items()
                    if key.startswith(file)
                ]
                self.answer(200, json.dumps(found).encode())
            elif head == "/api/datasets/":
                self.answer(
                    200,
                    json.dumps(
                        {"id": id, "sha": COMMIT, "siblings": [{"rfilename": key} for key in files]}
                    ).encode(),
                )
            else:
                self.answer(401, b"", X_Error_Code="RepoNotFound")

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _hash(raw: bytes) -> str:
    return hashlib.sha1(raw).hexdigest()


@contextmanager
def elsewhere(tmp_path, monkeypatch):
    """No cache but the test's own, no hub but the test's own, and a question about it that is asked
    anew.
    """
    for name in (
        *hub.SWITCHES,
        "HF_HUB_CACHE",
        "HF_DATASETS_CACHE",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "cache"))
    hub._connects.cache_clear()
    yield
    hub._connects.cache_clear()


def parquet_folder(tmp_path: Path, **splits: list[dict[str, object]]) -> Path:
    """The folder `pages` in `tmp_path` with a Parquet file for each split."""
    place = tmp_path / "pages"
    place.mkdir(exist_ok=True, parents=True)
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows), place / f"{split}.parquet")
    return place
