"""Trained networks that several machines share at an address: s3://, gs://, file:// and whatever
else fsspec opens.

Each file is an object under the digest of its bytes, and each network a small sealed list of these,
under the same key as in a machine's own cache. The list is written last, so that a network is there
as a whole or not at all; and whatever comes from there is verified before it is used.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from llmbench import storage
from llmbench.errors import LlmbenchError, UsageError
from llmbench.storage import Damaged

# What checkpoints consist of. None of these runs code when it is loaded.
SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja", ".md")
LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


class SharedCache:
    """A cache at an address."""

    def __init__(self, url: str):
        """Raises UsageError if nothing that is installed opens such addresses."""
        self.url = hide_login(url)  # as it may be shown
        self._files, self._root = open_address(url)

    def check(self) -> None:
        """Raise UsageError if nobody answers at the address."""
        try:
            self._files.exists(self._root)
        except Exception as error:  # each kind of store raises its own
            raise UsageError(
                f"the cache cannot be reached: {describe_error(error)}",
                where=self.url,
                hint="check the address and what it needs to let you in, or leave out --cache",
            ) from None

    def pull(self, folder: Path, since: float | None = None) -> bool:
        """Bring a network into its folder of this machine's cache.

        Args:
            folder: where it will be; the last two names are its key.
            since: seconds since 1970; what was made before is too old.

        Returns:
            Whether it was there.

        Raises Damaged if it is not as it was written; nothing of it is kept then. OSError, or what
        the store raises, if it cannot be read.
        """
        try:
            raw = bytes(self._files.cat_file(self._name_list(folder)))
        except FileNotFoundError:
            return False
        files, made = _read_list(raw, _name_key(folder))
        if since is not None and made < since:
            return False
        with storage.place_folder(folder) as beside:
            for name, digest in files.items():
                path = beside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._files.get_file(self._name_object(digest), str(path))
                except FileNotFoundError:
                    raise Damaged(f"{folder.name}/{name}: it is missing") from None
                if storage.digest_file(path) != digest:
                    raise Damaged(f"{folder.name}/{name}: changed since it was written")
        return True

    def holds(self, folder: Path) -> bool:
        """Return whether a network is there, as far as names tell."""
        return bool(self._files.exists(self._name_list(folder)))

    def push(self, folder: Path, anew: bool = False) -> None:
        """Write a network of this machine's cache, if it is not there. anew: also if it is.

        Raises Damaged if the one in the folder is not as it was written, and OSError, or what the
        store raises, if it cannot be written.
        """
        if not anew and self.holds(folder):
            return
        storage.check_folder(folder)
        files = storage.read_sealed(folder / storage.SEAL)["files"]
        for name, digest in files.items():
            target = self._name_object(digest)
            if anew or self._measure(target) != (folder / name).stat().st_size:
                self._put(folder / name, target)
        made = (folder / storage.SEAL).stat().st_mtime
        beside = folder.with_name(f".list-{uuid4().hex}")
        try:
            facts = {"network": _name_key(folder), "files": files, "made": made}
            storage.write_sealed(beside, facts)
            self._put(beside, self._name_list(folder))
        finally:
            beside.unlink(missing_ok=True)

    def _name_list(self, folder: Path) -> str:
        return f"{self._root}/{_name_key(folder)}.json"

    def _name_object(self, digest: str) -> str:
        return f"{self._root}/objects/{digest}"

    def _measure(self, target: str) -> int | None:
        """The bytes of an object; None if it is not there."""
        with suppress(FileNotFoundError):
            size: int | None = self._files.info(target)["size"]
            return size
        return None

    @cached_property
    def _is_atomic(self) -> bool:
        """Whether what is uploaded appears at once: so it is in stores that are asked over HTTP."""
        return bool(self._files.async_impl)

    def _put(self, file: Path, target: str) -> None:
        """Write an object, so that nobody finds half of it."""
        if self._is_atomic:
            self._files.put_file(str(file), target)
            return
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        beside = f"{target}.{uuid4().hex}.part"
        try:
            self._files.put_file(str(file), beside)
            self._files.mv(beside, target)
        except BaseException:
            with suppress(Exception):
                self._files.rm_file(beside)
            raise


def is_address(cache: str) -> bool:
    """Return whether a cache is an address, and not a folder."""
    return re.match(r"[A-Za-z][\w+.-]+:/", cache) is not None  # C:/ is none


def split_cache(cache: str | Path | None) -> Mapping[str, Any]:
    """Return the options `cache` and `cache_url` of what a person named."""
    if cache is None:
        return {}
    return {"cache_url": str(cache)} if is_address(str(cache)) else {"cache": Path(cache)}


def check_caches(folder: Path | None, url: str | None) -> None:
    """Raise UsageError if no cache can be in this folder, or at this address."""
    for name, where in (("cache", folder), ("LLMBENCH_CACHE", storage.default_cache())):
        if where is not None and is_address(str(where)):
            raise UsageError(
                f"{name}: {str(where)!r} is an address, and must be a folder",
                hint="give an address with --cache, or from Python with cache='s3://...'",
            )
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError("the cache is not a folder", where=str(folder))
    if url is not None:
        SharedCache(url).check()


def open_address(url: str) -> tuple[Any, str]:
    """Return (file system, root) of an address. UsageError if nothing installed opens it."""
    scheme = url.partition(":")[0].lower()
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ImportError as error:
        hint = "pip install 'llmbench[cache]'"
        raise UsageError(
            f"a cache at {scheme}:// needs fsspec: {error}", where=hide_login(url), hint=hint
        ) from None
    try:
        opened: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UsageError(
            f"a cache at {scheme}:// needs a library: {error}",
            where=hide_login(url),
            hint=f"pip install {LIBRARIES.get(scheme, 'what is named here')}",
        ) from None
    except Exception as error:  # unknown kinds are a ValueError, others what the store raises
        raise UsageError(
            f"no cache can be at this address: {describe_error(error)}",
            where=hide_login(url),
            hint="a folder, or an address that fsspec opens: s3://BUCKET/NAME, gs://BUCKET/NAME",
        ) from None
    return opened[0], opened[1].rstrip("/")


def _read_list(raw: bytes, name: str) -> tuple[Mapping[str, str], float]:
    """The files of a network, name -> sha256, and when it was made. Damaged if that is no such
    list, or names a file that could lie elsewhere or run code.
    """
    storage.check_seal(raw, f"the list of {name}")
    try:
        found = json.loads(raw)
        files, made = dict(found["files"]), float(found["made"])
        if found["network"] != name:
            raise Damaged(f"the list of {name} is that of {found['network']}")
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"the list of {name} is not one: {error}") from None
    for file, digest in files.items():
        parts = PurePosixPath(file).parts
        is_plain = re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", file) and not {".", ".."} & {*parts}
        if not is_plain or not file.endswith(SUFFIXES) or file == storage.SEAL:
            raise Damaged(f"the list of {name}: {file!r} is no file of a checkpoint")
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise Damaged(f"the list of {name}: no digest of {file!r}")
    return files, made


def _name_key(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def hide_login(text: str) -> str:
    """Return a text without the names and passwords in its addresses: sftp://***@HOST."""
    return re.sub(r"://[^\s/]*@", "://***@", text)


def describe_error(error: BaseException) -> str:
    """Return an error of a store in one line, without what lets people in there."""
    what = error.what if isinstance(error, LlmbenchError) else str(error)
    return hide_login(" ".join(f"{type(error).__name__}: {what}".split()))[:300]
