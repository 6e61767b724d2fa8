"""Which tasks, groups and tags lm-eval knows, from the names in its files: a scan of its 14,000
files takes seconds, reading them all as YAML, which lm-eval does at each start, ten times as long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from llmbench.errors import UsageError, did_you_mean
from llmbench.storage import Damaged, default_cache, read_sealed, write_sealed

Kind = Literal["task", "group", "tag"]
VERSION = 1  # of the file in which names are kept
KEY = re.compile(
    rb"""^["']?(task|group|tag|include|class|aggregate_metric_list)["']?[ ]*:"""
    rb"""[ ]*(.*?)[ ]*(?:[ ]\#.*)?\r?$"""
    rb"""((?:\n[ ]*-[ ]*[^\n:]*$)*)""",
    re.MULTILINE | re.VERBOSE,
)
IGNORED = ("__pycache__", ".ipynb_checkpoints")


@dataclass(frozen=True)
class Entry:
    """A name. `file`: where it is defined; `members`: of a tag its tasks; `is_class`: whether it
    is a class in Python; `has_average`: of a group, whether it has a score of its own.
    """

    name: str
    kind: Kind
    file: str = ""
    members: tuple[str, ...] = ()
    is_class: bool = False
    has_average: bool = False


def find_package() -> Path:
    """Return the folder of lm-eval's tasks. UsageError if lm-eval is not installed."""
    found = find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise UsageError("the task `lm-eval` needs lm-eval", hint="pip install 'llmbench[lm-eval]'")
    return Path(found.submodule_search_locations[0]) / "tasks"


def find_version() -> str:
    """Return the version of lm-eval, the harness, as signatures name it."""
    return metadata.version("lm_eval")


def read_catalog(include_path: str | None) -> dict[str, Entry]:
    """Return what there is by name; files of the user's own come before lm-eval's.

    Raises UsageError if `include_path` is not a folder.
    """
    known = dict(_read_shipped())
    if include_path is not None:
        folder = Path(include_path)
        if not folder.is_dir():
            raise UsageError("`include_path` is not a folder", where=include_path)
        known |= _scan(folder)
    return known


@cache
def _read_shipped() -> Mapping[str, Entry]:
    """lm-eval's own, kept in the cache for each installation."""
    folder = find_package()
    try:
        changed = max(
            (folder / "manager.py").stat().st_mtime_ns, (folder / "__init__.py").stat().st_mtime_ns
        )
    except OSError:
        changed = 0
    facts = [VERSION, str(folder), find_version(), changed]
    file = default_cache() / "lm-eval-tasks.json"
    try:
        kept = read_sealed(file)
        if kept["of"] == facts:
            return {row[0]: _from_row(row) for row in kept["entries"]}
    except (OSError, Damaged, ValueError, KeyError, TypeError, IndexError):
        pass
    found = _scan(folder)
    rows = [[e.name, e.kind, e.file, e.members, e.is_class, e.has_average] for e in found.values()]
    with suppress(OSError):  # then it is scanned anew each time
        write_sealed(file, {"of": facts, "entries": rows})
    return found


def _from_row(row: Sequence[Any]) -> Entry:
    name, kind, file, members, is_class, has_average = row
    return Entry(name, kind, file, tuple(members), is_class, has_average)


def _scan(folder: Path) -> dict[str, Entry]:
    """The names in the YAML files of a folder, in lm-eval's order: the first of a name counts."""
    found: dict[str, Entry] = {}
    tags: dict[str, list[str]] = {}
    for file in sorted(_list_files(folder)):
        keys = _read_keys(file)
        is_class = "class" in keys
        is_group = "group" in keys and not is_class
        name = keys.get("group") if is_group else keys.get("task")
        if not isinstance(name, str) or not name or name in found:
            continue
        kind: Kind = "group" if is_group else "task"
        found[name] = Entry(name, kind, file, (), is_class, "aggregate_metric_list" in keys)
        if kind == "task":
            for tag in keys.get("tag") or ():
                tags.setdefault(tag, []).append(name)
    for tag, members in tags.items():
        found.setdefault(tag, Entry(tag, "tag", "", tuple(sorted(members))))
    return found


def _list_files(folder: Path) -> Iterable[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in IGNORED]
        yield from (f"{place}{os.sep}{name}" for name in files if name.endswith(".yaml"))


def _read_keys(file: str, depth: int = 0) -> dict[str, str | list[str]]:
    """The keys of KEY that stand at the left edge of a file, tags of included files among them."""
    found: dict[str, str | list[str]] = {}
    try:
        raw = Path(file).read_bytes()
    except OSError:
        return found
    for key, value, lines in KEY.findall(raw):
        name, text = key.decode(), _strip(value)
        rest = [_strip(line.strip()[1:]) for line in lines.split(b"\n") if line.strip()]
        listed = [_strip(part.encode()) for part in text.strip("[]").split(",")]
        if name in ("tag", "include"):
            found[name] = rest if not text else listed
        else:
            found[name] = text
    for other in found.pop("include", ()) if depth < 8 else ():
        beside = Path(file).parent / other
        found = {**_read_keys(str(beside), depth + 1), **found}
    return found


def _strip(value: bytes) -> str:
    return value.decode(errors="replace").strip().strip("\"'")


def match_names(wanted: Sequence[str], catalog: Mapping[str, Entry]) -> list[Entry]:
    """Return the entries that names and patterns (`mmlu_*`) stand for, each once; of a pattern no
    tags. UsageError for one that stands for nothing.
    """
    found: dict[str, Entry] = {}
    for name in wanted:
        if name in catalog:
            found.setdefault(name, catalog[name])
            continue
        matched = [
            entry
            for entry in catalog.values()
            if entry.kind != "tag" and fnmatchcase(entry.name, name)
        ]
        if not matched:
            raise UsageError(
                f"lm-eval has no task {name!r}",
                hint=did_you_mean(name, catalog) or "its names: lm_eval ls tasks",
            )
        for entry in sorted(matched, key=lambda entry: entry.name):
            found.setdefault(entry.name, entry)
    return list(found.values())
