"""Files written at once or not at all, and where things are kept."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from llmbench import system

SEAL = "sealed.json"  # of a folder: the digests of its files
DIGEST = "digest"  # the last key of a sealed file
UNSET = "0" * 64  # in the digest's place while it is computed


class Damaged(ValueError):
    """A file is not as it was written. The message says which, and what is wrong."""


def write_json(path: Path, data: Any) -> None:
    """JSON, written to a file beside it, flushed to disk and renamed: a reader sees the old file or
    the new one, never half of one.
    """
    write_text(path, as_json(data) + "\n")


def as_json(data: Any) -> str:
    """JSON as the record has it."""
    return json.dumps(_json(data), ensure_ascii=False, allow_nan=False, indent=1)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines, written like `write_json`."""
    write_stream(path, (_encode(as_line(row)) for row in rows))


def as_line(row: Mapping[str, Any]) -> str:
    """A row as JSON lines have it, with its line end."""
    return json.dumps(_json(row), ensure_ascii=False, allow_nan=False) + "\n"


def write_sealed(path: Path, data: Mapping[str, object]) -> str:
    """Like `write_json`, with the digest of all its bytes at the end; see `read_sealed`. Returns
    the sha256 of the file.
    """
    raw = _encode(seal(data))
    write_bytes(path, raw)
    return hashlib.sha256(raw).hexdigest()


def seal(data: Mapping[str, object]) -> str:
    """JSON of an object with the digest of all its bytes as the last key."""
    text = as_json({**{k: v for k, v in data.items() if k != DIGEST}, DIGEST: UNSET}) + "\n"
    digest = hashlib.sha256(_encode(text)).hexdigest()
    before, _, after = text.rpartition(UNSET)
    return f"{before}{digest}{after}"


def check_seal(raw: bytes, name: str) -> None:
    """Raise Damaged unless the bytes of a sealed file are those that were written."""
    found = re.search(rb'"digest": "([0-9a-f]{64})"\n\}\n$', raw)
    if not found:
        raise Damaged(f"{name}: it does not end with its digest: cut off, or changed by hand")
    whole = raw[: found.start(1)] + UNSET.encode() + raw[found.end(1) :]
    if hashlib.sha256(whole).hexdigest() != found[1].decode():
        raise Damaged(f"{name}: its digest is wrong: changed since it was written")


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file. OSError if there is none, or if it is anything else: a pipe
    would be waited for without end.
    """
    with open_regular(path) as file:
        return file.read()


def is_file(path: Path) -> bool:
    """Whether there is such a regular file; none has a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def open_regular(path: Path) -> BufferedReader:
    """A regular file, opened for reading. OSError if it is missing, or a pipe, device or folder."""
    handle = os.open(path, system.READING)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_sealed(path: Path, expected: str | None = None) -> dict[str, Any]:
    """The object of a sealed file. Raises Damaged if it is not what was written, or not the file
    with the sha256 `expected`; OSError if it cannot be read.
    """
    raw = read_bytes(path)
    if expected is not None and hashlib.sha256(raw).hexdigest() != expected:
        raise Damaged(f"{path.name}: not the file that was written")
    check_seal(raw, path.name)
    data: dict[str, Any] = json.loads(raw)
    data.pop(DIGEST)
    return data


def digest_file(path: Path) -> str:
    """sha256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal_folder(folder: Path) -> None:
    """Write the digests of a folder's files beside them. See `check_folder`."""
    files = {name: digest_file(folder / name) for name in _names(folder)}
    write_sealed(folder / SEAL, {"files": files})


def check_folder(folder: Path) -> None:
    """Raise Damaged unless the files of a sealed folder are those that were written, all of them
    and no others; OSError if they cannot be read.
    """
    known = read_sealed(folder / SEAL)["files"]
    if list(known) != _names(folder):
        raise Damaged(f"{folder.name}: files were added or are missing")
    for name, digest in known.items():
        if digest_file(folder / name) != digest:
            raise Damaged(f"{folder.name}/{name}: changed since it was written")


@contextmanager
def place_folder(folder: Path) -> Iterator[Path]:
    """A folder to write in, which is sealed and becomes `folder` once all is on the disk; of two
    processes that make the same one, the second's is dropped.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        yield beside
        seal_folder(beside)
        for file in beside.rglob("*"):
            if file.is_file():
                system.flush_file(file)
        beside.chmod(0o755)
        try:
            beside.rename(folder)
        except OSError:  # somebody else was quicker, with the same key and so the same model
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def is_intact(folder: Path) -> bool:
    """Whether a folder is there as it was written. A damaged one is removed, to be made again."""
    if not folder.is_dir():
        return False
    try:
        check_folder(folder)
    except Damaged:
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    return folder.is_dir()


def _names(folder: Path) -> list[str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(name for f in files if (name := f.relative_to(folder).as_posix()) != SEAL)


def write_text(path: Path, text: str) -> None:
    """Text, written like `write_json`. A full disk leaves the old file as it was and raises
    OSError.
    """
    write_bytes(path, _encode(text))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def write_bytes(path: Path, raw: bytes) -> None:
    """Bytes, written like `write_json`."""
    write_stream(path, [raw])


def write_stream(path: Path, pieces: Iterable[bytes]) -> None:
    """Bytes that come in pieces, written like `write_json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _json(value: Any) -> Any:
    """+inf as "inf"; NaN is refused by the writer."""
    if isinstance(value, float) and math.isinf(value) and value > 0:
        return "inf"
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value


def default_cache() -> Path:
    """Where trained baselines are kept: $LLMBENCH_CACHE, else the user's cache folder."""
    chosen = os.environ.get("LLMBENCH_CACHE")
    return (
        Path(chosen)
        if chosen
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmbench"
    )
