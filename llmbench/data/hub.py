"""The hub: whether it can be reached, and texts of its data sets as files on this machine.

`python -m llmbench.data.hub` is the child process that imports the `datasets` library, which is
slow and large: the parent of a run stays light.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmbench import storage
from llmbench.errors import Unavailable, UsageError
from llmbench.storage import default_cache

ENDPOINT = "https://huggingface.co"
SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
TRUE = ("1", "ON", "YES", "TRUE")
ABSENT, UNREACHED = "is not on this machine", ", and the Hub cannot be reached from here"
# with it, a folder of that name in the current one is not taken for the data set
REMOTE = "hf://datasets/"


def offline() -> bool:
    """Whether the environment says that nothing is to be fetched."""
    return any(os.environ.get(name, "").upper() in TRUE for name in SWITCHES)


def reachable(seconds: float = 0.7) -> bool:
    """Whether the hub, or the proxy on the way to it, takes a connection within this time; asked
    once a process. False when `offline()`.
    """
    return not offline() and _connects(seconds)


@cache
def _connects(seconds: float) -> bool:
    answered = threading.Event()

    def knock() -> None:
        with suppress(
            OSError, ValueError
        ):  # a name that no resolver knows, an address that is none
            socket.create_connection(_first_hop(), timeout=seconds).close()
            answered.set()

    threading.Thread(target=knock, daemon=True).start()  # a resolver that hangs heeds no time-out
    return answered.wait(seconds)


def _first_hop() -> tuple[str, int]:
    """Host and port that a request to the hub goes to first."""
    from urllib.request import getproxies, proxy_bypass

    hub = urlsplit(os.environ.get("HF_ENDPOINT") or ENDPOINT)
    proxies = getproxies()
    proxy = proxies.get(hub.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(hub.netloc):
        hub = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return hub.hostname or "", hub.port or (443 if hub.scheme == "https" else 80)


def hub_home() -> Path:
    """The folder under which the hub's own libraries keep what they fetched
    (huggingface_hub.constants, read without importing it).
    """
    home = os.environ.get("HF_HOME") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    )
    return Path(os.path.expandvars(home)).expanduser()


def hub_cache() -> Path:
    """Where they keep files as they are on the hub."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(named)).expanduser() if named else hub_home() / "hub"


def _datasets_cache() -> Path:
    """Where `datasets` keeps the data sets that it prepared."""
    named = os.environ.get("HF_DATASETS_CACHE")
    return Path(named).expanduser() if named else hub_home() / "datasets"


@dataclass(frozen=True)
class Rows:
    """The strings in a field of a data set's split, or, with `columns`, these fields as they are.
    `id`: owner/name on the hub, or the absolute path of a folder with data files.
    """

    id: str
    config: str | None = None
    split: str = "test"
    field: str = "text"
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.id} ({self.config})" if self.config else self.id


def text_file(rows: Rows, cache: Path | None = None, fetch: bool = True) -> Path:
    """A JSONL file of the rows, {"id", "text"} or {"id", column, ...} each, all as it is: from our
    cache, else made there. `fetch`: the hub may be asked.

    Raises UsageError where folder, configuration, split or field do not exist; Unavailable, with
    the command that brings the data set to where it is then found without a network, where it is
    not on this machine and the hub does not give it.
    """
    folder = Path(rows.id)
    if folder.is_absolute():
        if not folder.is_dir():
            raise UsageError("there is no such folder", where=rows.id)
        file = _file(rows, _state(folder), cache)
        if not _is_kept(file):
            _read_in_child(rows, [rows.id], file, online=False)
        return file
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", rows.id):
        raise UsageError(f"{rows.id!r} is not a Hub dataset", hint="an id has the form owner/name")
    file = _file(rows, None, cache)
    if _is_kept(file):
        return file
    if fetch and reachable():
        _read_in_child(rows, [REMOTE + rows.id], file, online=True)
    else:
        sources = [REMOTE + rows.id] * _is_prepared(rows.id) + [
            str(place) for place in _snapshots(rows.id)
        ]
        if not sources:
            raise _unavailable(rows, f"{ABSENT}{UNREACHED * (fetch and not offline())}")
        _read_in_child(rows, sources, file, online=False)
    return file


def _file(rows: Rows, state: Any, cache: Path | None) -> Path:
    """Where the rows are kept; another place for each state of a folder."""
    digest = hashlib.sha256(json.dumps([asdict(rows), state]).encode()).hexdigest()
    name = Path(rows.id).name if state is not None else rows.id.replace("/", "--")
    return (cache or default_cache()) / "hub" / f"{name}-{digest[:16]}.jsonl"


def _is_kept(file: Path) -> bool:
    """Whether the rows are kept and as they were written."""
    try:
        note = storage.read_sealed(file.with_suffix(".json"))
        return file.is_file() and storage.digest_file(file) == note["sha256"]
    except (OSError, ValueError, KeyError):
        return False


def list_fields(file: Path) -> list[str]:
    """Return the fields of the data set that a file's rows are of; [] if they were not noted."""
    return [str(name) for name in storage.read_sealed(file.with_suffix(".json")).get("fields", [])]


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """What changes when a file of the folder does."""
    facts = [
        (str(file.relative_to(folder)), file.stat())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    return [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]


def _is_prepared(id: str) -> bool:
    """Whether `datasets` has something of this data set; its folders are called owner___name, in
    snake case.
    """
    plain = re.sub("[/_]", "", id).lower()
    with suppress(OSError):
        return any(
            folder.name.replace("_", "").lower() == plain
            for folder in _datasets_cache().iterdir()
            if folder.is_dir()
        )
    return False


def _snapshots(id: str) -> list[Path]:
    """The data set's files as `hf download` brings them, in which `datasets` does not look by
    itself.
    """
    place = hub_cache() / f"datasets--{id.replace('/', '--')}"
    with suppress(OSError):
        folder = place / "snapshots" / (place / "refs" / "main").read_text(encoding="utf-8").strip()
        return [folder] if folder.is_dir() else []
    return []


def _unavailable(rows: Rows, why: str = ABSENT, hint: str = "") -> Unavailable:
    arguments = ", ".join(json.dumps(part) for part in (rows.id, rows.config) if part is not None)
    command = (
        f"python -c {shlex.quote(f'from datasets import load_dataset; load_dataset({arguments})')}"
    )
    return Unavailable(f"the dataset {rows} {why}", hint=hint or f"fetch it once: {command}")


def _read_in_child(rows: Rows, sources: Sequence[str], file: Path, online: bool) -> None:
    """Let a child write the file, from the first of the sources that serves."""
    environment = (
        dict(os.environ)
        if online
        else {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    )
    job = {"rows": asdict(rows), "sources": sources, "file": str(file)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "llmbench.data.hub"],
        input=json.dumps(job).encode() + b"\n",
        stdout=subprocess.PIPE,
        stderr=(
            None if sys.stderr.isatty() else subprocess.PIPE
        ),  # a terminal sees the bars of a long download
        env=environment,
        check=False,
    )
    try:
        said = json.loads(done.stdout)
    except ValueError:
        last = (
            (done.stderr or b"").decode(errors="replace").strip().splitlines() or ["no message"]
        )[-1]
        said = {
            "kind": "trouble",
            "what": f"reading it ended with exit code {done.returncode}: {last}",
            "hint": "",
        }
    if said["kind"] == "usage" or (said["kind"] == "trouble" and Path(rows.id).is_absolute()):
        raise UsageError(said["what"], where=rows.id, hint=said["hint"])
    if said["kind"] == "trouble":
        raise (
            _unavailable(rows, f"is unavailable: {said['what']}", said["hint"])
            if online
            else _unavailable(rows)
        )


def main() -> None:
    """Entry point of the child: a job as JSON on stdin, how it went as JSON on what was stdout."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    said = {"kind": "done"}
    try:
        _write(
            Rows(**{**job["rows"], "columns": tuple(job["rows"]["columns"])}),
            job["sources"],
            Path(job["file"]),
        )
    except UsageError as error:
        said = {"kind": "usage", "what": error.what, "hint": error.hint}
    except Exception as error:
        unknown = type(error).__name__ == "DatasetNotFoundError"
        hint = (
            "look at the spelling; a private or gated one needs `hf auth login`" if unknown else ""
        )
        said = {
            "kind": "trouble",
            "what": " ".join(f"{type(error).__name__}: {error}".split())[:1000],
            "hint": hint,
        }
    out.write(json.dumps(said))
    out.close()


def _write(rows: Rows, sources: Sequence[str], file: Path) -> None:
    """The rows, from the first source that has them; beside the file a note where they came from.
    The file comes last: one that is there is whole.
    """
    import datasets

    datasets.utils.logging.set_verbosity_error()
    builder, source = _first(rows, sources)
    splits = sorted(map(str, builder.info.splits or {}))
    if rows.split not in splits:
        raise UsageError(
            f"there is no split {rows.split!r}", hint=f"there are: {', '.join(splits)}"
        )
    table = builder.as_dataset(split=rows.split)
    fields = {
        name: kind.dtype if isinstance(kind, datasets.Value) else type(kind).__name__
        for name, kind in table.features.items()
    }
    lines = (
        _columns(table, fields, rows.columns)
        if rows.columns
        else _strings(table, fields, rows.field)
    )
    commit = next(
        (
            name
            for name in (str(builder.hash), Path(source).name)
            if re.fullmatch("[0-9a-f]{40}", name)
        ),
        None,
    )
    note = {
        **asdict(rows),
        "config": builder.config.name,
        "rows": len(lines),
        "fields": list(fields),
        "commit": commit,
        "fingerprint": table._fingerprint,
    }
    note |= {
        "datasets": datasets.__version__,
        "read": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    storage.write_lines(file.with_suffix(".new"), lines)
    note["sha256"] = storage.digest_file(file.with_suffix(".new"))
    storage.write_sealed(file.with_suffix(".json"), note)
    file.with_suffix(".new").replace(file)


def _columns(
    table: Any, fields: Mapping[str, str], columns: Sequence[str]
) -> list[dict[str, object]]:
    """Those of the columns that the data set has: a part may be called one thing or another."""
    found = [name for name in columns if name in fields]
    if not found:
        raise UsageError(
            f"there is none of the fields {', '.join(columns)}",
            hint=f"there are: {', '.join(fields)}",
        )
    return [{**row, "id": str(i)} for i, row in enumerate(table.select_columns(found))]


def _strings(table: Any, fields: Mapping[str, str], field: str) -> list[dict[str, object]]:
    if field not in fields:
        raise UsageError(f"there is no field {field!r}", hint=f"there are: {', '.join(fields)}")
    if fields[field] not in ("string", "large_string"):
        raise UsageError(
            f"the field {field!r} holds {fields[field]}, not text",
            hint=f"there are: {', '.join(fields)}",
        )
    lines = [
        {"id": str(i), "text": row[field]} for i, row in enumerate(table.select_columns([field]))
    ]
    empty = [line["id"] for line in lines if line["text"] is None]
    if empty:
        raise UsageError(f"field {field!r} is empty in row {empty[0]}")
    return lines


def _first(rows: Rows, sources: Sequence[str]) -> tuple[Any, str]:
    """(builder, source) of the first source in which the data set is whole."""
    import datasets

    trouble: Exception | None = None
    for source in sources:
        try:
            builder = datasets.load_dataset_builder(source, rows.config)
            builder.download_and_prepare()
        except Exception as error:
            trouble = trouble or error
            names = _configurations(source)
            if names and rows.config not in names and (rows.config or len(names) > 1):
                what = (
                    f"there is no configuration {rows.config!r}"
                    if rows.config
                    else "the data set has several configurations"
                )
                raise UsageError(what, hint=f"there are: {', '.join(names)}") from None
        else:
            return builder, source
    assert trouble is not None
    raise trouble


def _configurations(source: str) -> list[str]:
    """Names of the configurations; none where they cannot be told."""
    import datasets

    if (
        source.startswith(REMOTE) and offline()
    ):  # of one that was prepared here, `datasets` only knows what was prepared
        return []
    with suppress(Exception):
        return sorted(datasets.get_dataset_config_names(source))
    return []


if __name__ == "__main__":
    main()
