"""What a task file may do. One of lm-eval's own may name functions; one of the user's own, which
may have come from anywhere, runs no code unless its suite says `trust_code: true`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from llmbench.errors import UsageError
from llmbench.tasks.lm_eval.catalog import find_package

PARSED = 4096  # files of lm-eval's that are kept read: a group of groups names thousands
PLAIN = "tag:yaml.org,2002:"
TRUST = "`trust_code: true` in the suite lets task files run code; read them first"


def is_shipped(file: Path) -> bool:
    """Whether a file came with lm-eval."""
    return file.resolve().is_relative_to(_find_package())


@cache
def _find_package() -> Path:
    return find_package().resolve()


def check_file(file: Path, trust_code: bool) -> None:
    """Raise UsageError if a task file, or one that it includes, may not be used."""
    for one in _list_includes(file, set()):
        _check_own(one, trust_code)


def _list_includes(file: Path, seen: set[Path]) -> Iterator[Path]:
    """A file and those that it includes, at any depth."""
    file = file.expanduser().resolve()
    if file in seen or is_shipped(file):  # what came with lm-eval includes nothing else
        return
    seen.add(file)
    yield file
    content = _load(file)
    includes = content.get("include", [])
    for other in includes if isinstance(includes, list) else [includes]:
        yield from _list_includes(file.parent / str(other), seen)


def read_plain(file: Path) -> Mapping[str, Any]:
    """Return a task file with what it includes, functions as their names; nothing is run."""
    content = _load(file)
    includes = content.get("include", [])
    merged = dict[str, object]()
    for other in includes if isinstance(includes, list) else [includes]:
        merged |= read_plain(file.parent / str(other))
    return merged | {key: value for key, value in content.items() if key != "include"}


class _Loader(yaml.SafeLoader):
    """Reads `!function name` as the string."""


def _as_text(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> str:
    return str(node.value)


_Loader.add_multi_constructor("!", _as_text)


def _load(file: Path) -> Mapping[str, Any]:
    return _load_shipped(file) if is_shipped(file) else _parse(file)


@lru_cache(PARSED)
def _load_shipped(file: Path) -> Mapping[str, Any]:
    """A file of lm-eval's, which does not change while it is used."""
    return _parse(file)


def _parse(file: Path) -> Mapping[str, Any]:
    try:
        found = _Loader(file.read_bytes()).get_single_data()
    except OSError as error:
        raise UsageError(f"cannot read the task file: {error.strerror}", where=str(file)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = " ".join(str(error).split())
        raise UsageError(f"not YAML: {line}", where=str(file)) from None
    if not isinstance(found, dict):
        raise UsageError("not a task file: it has no keys", where=str(file))
    return found


def _check_own(file: Path, trust_code: bool) -> None:
    """UsageError if a file that is not lm-eval's loads code from the hub, or runs any without
    trust.
    """
    for found in _walk(_load(file)):
        if found.get("trust_remote_code"):
            raise UsageError(
                "`trust_remote_code` is refused: a data set must not run code",
                where=str(file),
                hint="remove it, or save the data set as JSON lines first",
            )
        if found.get("unsafe_code"):
            _refuse_unsafe(str(file))
    if trust_code:
        return
    for event in yaml.parse(file.read_bytes(), Loader=yaml.SafeLoader):
        tag = getattr(event, "tag", None)
        if isinstance(tag, str) and not tag.startswith(PLAIN):
            mark = event.start_mark
            spot = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
            raise UsageError(f"this task file runs code ({tag})", where=spot, hint=TRUST)
    for found in _walk(_load(file)):
        _check_keys(found, file)


def _check_keys(found: Mapping[str, Any], file: Path) -> None:
    """UsageError for a key that brings code from elsewhere."""
    for key in ("class", "use_prompt", "hf_evaluate", "custom_dataset"):
        if found.get(key):
            raise UsageError(f"`{key}` loads code from elsewhere", where=str(file), hint=TRUST)
    name = found.get("metric")
    if name is not None:
        from lm_eval.api import metrics, registry

        assert metrics  # which fills the registry
        if not isinstance(name, str) or name not in registry.metric_registry:
            raise UsageError(f"{name!r} is no metric of lm-eval", where=str(file), hint=TRUST)


def _refuse_unsafe(where: str) -> None:
    raise UsageError(
        "this task runs the code that a model writes, which llmbench never does",
        where=where,
        hint="leave it out; lm-eval itself asks with --confirm_run_unsafe_code",
    )


def check_unsafe(name: str, config: Mapping[str, Any]) -> None:
    """Raise UsageError for a task that runs what a model wrote."""
    if config.get("unsafe_code"):
        _refuse_unsafe(name)


def _walk(value: object) -> Iterator[Mapping[str, Any]]:
    """All objects in a file."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from _walk(part)
