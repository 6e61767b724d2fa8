"""Bring a published folder here from its address, file by file, no byte more than its list says.

Only https, or http to this machine itself. No redirect to another host is followed.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from llmbench import limits, storage
from llmbench.errors import UsageError
from llmbench.publishing.manifest import NAME, PublishedFile, parse_manifest

LOOPBACK = ("localhost", "127.0.0.1", "::1")
BLOCK = 1 << 20  # bytes read at once
MOST_REDIRECTS = 3


def is_address(word: str) -> bool:
    """Whether a word is an address, and no path."""
    return "://" in word


def download(address: str, place: Path) -> None:
    """Write the published folder at `address` into `place`.

    Raises UsageError, which names the file, if the address is not allowed, if something is not
    there, or if a file is another one than its list says.
    """
    base = _check_address(address)
    with _open(f"{base}{NAME}") as answer:
        raw = answer.read(limits.MANIFEST_BYTES + 1)
    if len(raw) > limits.MANIFEST_BYTES:
        raise UsageError(f"it has more than {limits.MANIFEST_BYTES:,} bytes", where=f"{base}{NAME}")
    manifest = parse_manifest(raw, f"{base}{NAME}")
    storage.write_bytes(place / NAME, raw)
    for name, file in manifest.files.items():
        where = f"{base}{quote(name)}"
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        with _open(where) as answer:
            _copy(answer, place / name, file, where)


def _check_address(address: str) -> str:
    """The address with a slash at its end. UsageError if nothing may be asked of it."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"not an address: {error}", where=address) from None
    is_here = parts.scheme == "http" and host in LOOPBACK
    if not host or not (parts.scheme == "https" or is_here):
        raise UsageError(
            "only https:// is read from, and http:// on this machine",
            where=address,
            hint="download the folder, and name it",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "the address of a folder has no name, password, query or fragment",
            where=parts.hostname or "",
        )
    path = parts.path.removesuffix("index.html")
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}/"


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to the same scheme, host and port alone."""

    max_redirections = MOST_REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Raise UsageError if it leads elsewhere."""
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            raise UsageError(
                f"it is redirected to another host, {after.scheme}://{after.netloc}",
                where=req.full_url,
                hint="name that address, if you trust it",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _open(address: str) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request; UsageError if there is none."""
    is_here = urlsplit(address).hostname in LOOPBACK
    handlers: list[urllib.request.BaseHandler] = [_SameHost()]
    if is_here:
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    opener.addheaders = [("User-Agent", "llmbench"), ("Accept-Encoding", "identity")]
    try:
        with opener.open(address, timeout=limits.SERVER_SECONDS) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise UsageError(f"the server answers {error.code}", where=address) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(f"it cannot be read: {reason}", where=address) from None


def _copy(answer: IO[bytes], target: Path, file: PublishedFile, where: str) -> None:
    """Write what the list says, and no byte more. UsageError if it is something else."""
    digest, left = hashlib.sha256(), file.bytes
    with target.open("wb") as handle:
        while block := answer.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            handle.write(block)
    if left != 0 or digest.hexdigest() != file.sha256:
        raise UsageError("not the file that was published: it was changed", where=where)
