"""Files written at once or not at all, and where things are kept."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


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
    write_text(
        path,
        "".join(json.dumps(_json(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows),
    )


def write_text(path: Path, text: str) -> None:
    """Text, written like `write_json`. A full disk leaves the old file as it was and raises
    OSError.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, raw: bytes) -> None:
    """Bytes, written like `write_json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
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
