"""The list of a published folder's files, published.json, and the check of the files against it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmbench import limits, storage
from llmbench.errors import UsageError

NAME = "published.json"
FORMAT = 1
RECORD, PAGE, README = "run.json", "index.html", "README.md"
# what a repository adds to a folder that stands in it
IGNORED = re.compile(r"\.git(?:attributes|ignore|hub)?(?:/.*)?")


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class PublishedFile(_Row):
    """Size in bytes and digest of a file."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(_Row):
    """What is in published.json. `files`: path in the folder -> what the file is."""

    published: int
    llmbench: str
    files: dict[str, PublishedFile]


@dataclass(frozen=True)
class Publication:
    """A folder whose files are those of its list. `sha256`: of the list, which stands for all."""

    folder: Path
    manifest: Manifest
    sha256: str


def write_manifest(folder: Path, version: str) -> str:
    """Write the list of a folder's files; return the sha256 of the list."""
    files = {
        name: {
            "bytes": (folder / name).stat().st_size,
            "sha256": storage.digest_file(folder / name),
        }
        for name in list_files(folder)
    }
    return storage.write_sealed(
        folder / NAME, {"published": FORMAT, "llmbench": version, "files": files}
    )


def list_files(folder: Path) -> list[str]:
    """The files of a folder by their paths in it, sorted, without the list itself and without those
    of a git repository.
    """
    found = (
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_symlink() or not file.is_dir()
    )
    return sorted(name for name in found if name != NAME and not IGNORED.fullmatch(name))


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """The list in these bytes. UsageError if it was changed, or is not such a list."""
    try:
        storage.check_seal(raw, NAME)
        data: Mapping[str, object] = json.loads(raw)
        manifest = Manifest.model_validate(
            {key: value for key, value in data.items() if key != storage.DIGEST}
        )
    except storage.Damaged as error:
        raise UsageError(str(error), where=where) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        spot = ".".join(str(step) for step in first["loc"])
        raise UsageError(f"{NAME} is wrong at {spot}: {first['msg']}", where=where) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{NAME} is not JSON: {error}", where=where) from None
    _check_manifest(manifest, where)
    return manifest


def _check_manifest(manifest: Manifest, where: str) -> None:
    """UsageError if a list is of another format, too large, or names a file outside."""
    if manifest.published != FORMAT:
        raise UsageError(
            f"{NAME} has format {manifest.published}; this llmbench knows {FORMAT}",
            where=where,
            hint="update llmbench",
        )
    for name in manifest.files:
        if not is_safe_name(name):
            raise UsageError(f"{NAME} names a file outside its folder: {name!r}", where=where)
    if RECORD not in manifest.files:
        raise UsageError(f"{NAME} lists no {RECORD}", where=where)
    if len(manifest.files) > limits.PUBLISHED_FILES:
        raise UsageError(
            f"{NAME} lists {len(manifest.files):,} files; at most {limits.PUBLISHED_FILES:,} are"
            " read",
            where=where,
        )
    whole = sum(file.bytes for file in manifest.files.values())
    if whole > limits.PUBLISHED_BYTES:
        raise UsageError(
            f"the files of {NAME} have {whole:,} bytes; at most {limits.PUBLISHED_BYTES:,} are"
            " read",
            where=where,
        )


def is_safe_name(name: str) -> bool:
    """Whether a name is a path inside a folder, on every system, and not the list's own."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and name == path.as_posix() != NAME
        and not path.is_absolute()
        and not {"..", "."} & {*path.parts}
        and not re.search(r'[\x00-\x1f\x7f\\:*?"<>|]', name)
        and all(len(part) <= 255 for part in path.parts)
        and not IGNORED.fullmatch(name)
    )


def open_publication(folder: Path) -> Publication:
    """The publication in a folder, after a look at every file. UsageError, which names the file, if
    one was changed, is missing, or was added.
    """
    if (folder / NAME).is_symlink():
        raise UsageError("a link, not the list that was published", where=str(folder / NAME))
    try:
        raw = storage.read_bytes(folder / NAME)
    except OSError:
        raise UsageError(
            f"there is no {NAME}",
            where=str(folder),
            hint="name a folder that `llmbench publish` wrote, or its address",
        ) from None
    manifest = parse_manifest(raw, str(folder))
    added = sorted({*list_files(folder)} - manifest.files.keys())
    if added:
        raise UsageError("this file was not published", where=str(folder / added[0]))
    for name, file in manifest.files.items():
        _check_file(folder, name, file)
    return Publication(folder, manifest, hashlib.sha256(raw).hexdigest())


def _check_file(folder: Path, name: str, file: PublishedFile) -> None:
    path = folder / name
    parents = [folder / part for part in PurePosixPath(name).parents if part.name]
    if any(part.is_symlink() for part in [path, *parents]):
        raise UsageError("a link, not the file that was published", where=str(path))
    try:
        if path.stat().st_size != file.bytes or storage.digest_file(path) != file.sha256:
            raise UsageError("not the file that was published: it was changed", where=str(path))
    except OSError as error:
        raise UsageError(
            f"the published file cannot be read: {error.strerror}", where=str(path)
        ) from None
