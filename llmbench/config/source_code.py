"""Which files a piece of code imports, and a hash of what they do: no file is run for it.

The hash is of the compiled code without its positions, docstrings and asserts, so that a comment, a
docstring or another formatting changes nothing.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType

PACKAGE = Path(__file__).resolve().parents[1]


def find_imports(first: Iterable[Path], without: Sequence[str] = ()) -> list[Path]:
    """Return these files and all that they import, directly or not, sorted.

    Args:
        first: where to begin; files of llmbench or anybody's.
        without: modules and packages that are not followed, as `llmbench.leaderboard`.

    Followed are modules of llmbench and, from a file outside it, the files beside that file.
    """
    found: set[Path] = set()
    waiting = [file.resolve() for file in first]
    while waiting:
        file = waiting.pop()
        if file in found or any(_is_inside(file, name) for name in without):
            continue
        found.add(file)
        waiting += _find_imports(file, _stamp(file))
    return sorted(found)


def digest_code(files: Iterable[Path]) -> str:
    """Return a hash (64 hex digits) of what these files do, in the order of their names."""
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file.name} {_digest(file, _stamp(file))}\n".encode())
    return whole.hexdigest()


def digest_class(cls: type) -> str:
    """Return a hash (64 hex digits) of what a class does: of its name, its own functions, and its
    file with what that imports, if it has one.
    """
    own = [getattr(value, "fget", value) for value in vars(cls).values()]
    code = [_describe(value.__code__) for value in own if isinstance(value, FunctionType)]
    with suppress(OSError, TypeError):  # a class of a notebook has no file
        code.append(digest_code(find_imports([Path(inspect.getfile(cls))])))
    return hashlib.sha256("\n".join([cls.__qualname__, *code]).encode()).hexdigest()


def _stamp(file: Path) -> tuple[int, int]:
    """What tells that a file changed since it was read."""
    seen = file.stat()
    return seen.st_mtime_ns, seen.st_size


@lru_cache(maxsize=1024)
def _compile(file: Path, stamp: tuple[int, int]) -> CodeType | None:
    """The code of a file; None if it has a syntax error."""
    try:
        return compile(file.read_bytes(), file.name, "exec", dont_inherit=True, optimize=2)
    except (SyntaxError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _find_imports(file: Path, stamp: tuple[int, int]) -> tuple[Path, ...]:
    """The files that one file imports, at its top or inside a function."""
    code, found = _compile(file, stamp), set[str]()
    inside = PACKAGE in file.parents
    for block in () if code is None else _blocks(code):
        for name in block.co_names:
            if name == PACKAGE.name or name.startswith(f"{PACKAGE.name}."):
                place = str(PACKAGE.joinpath(*name.split(".")[1:]))
                members = {f"{member}.py" for member in block.co_names} & _list_names(place)
                found |= {f"{place}.py", *(f"{place}/{member}" for member in members)}
            elif not inside:
                found.add(str(file.with_name(f"{name.rpartition('.')[2]}.py")))
    return tuple(path for path in map(Path, sorted(found)) if path.is_file())


def _list_names(place: str) -> set[str]:
    """The names of what lies in a folder; none if it is not one."""
    try:
        return {entry.name for entry in os.scandir(place)}
    except OSError:
        return set()


@lru_cache(maxsize=1024)
def _digest(file: Path, stamp: tuple[int, int]) -> str:
    code = _compile(file, stamp)
    facts = repr(file.read_bytes()) if code is None else _describe(code)
    return hashlib.sha256(facts.encode()).hexdigest()


def _blocks(code: CodeType) -> Iterator[CodeType]:
    """This code and that of all functions and classes inside."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _blocks(value)


def _describe(value: object) -> str:
    """A constant or a block of code as text that is the same in every process."""
    if isinstance(value, CodeType):
        parts = (
            *_drop_docstring(value),
            value.co_flags,
            value.co_argcount,
            value.co_posonlyargcount,
            value.co_kwonlyargcount,
            value.co_name,
            value.co_names,
            value.co_varnames,
            value.co_freevars,
            value.co_cellvars,
        )
        return f"{parts!r}[{','.join(_describe(part) for part in value.co_consts)}]"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(_describe(part) for part in value))}}}"
    if isinstance(value, tuple):
        return f"({','.join(_describe(part) for part in value)})"
    return repr(value)


def _drop_docstring(code: CodeType) -> tuple[bytes, list[tuple[int, int, int, int, bool]]]:
    """The instructions and exception handlers, without the empty instructions of a docstring."""
    raw, first = code.co_code, 0
    while first < len(raw) and raw[first] != dis.opmap["RESUME"]:
        first += 2
    last = first = first + 2
    while last < len(raw) and raw[last] == dis.opmap["NOP"]:
        last += 2
    back = last - first
    handlers = [
        (max(e.start - back, first), e.end - back, e.target - back, e.depth, e.lasti)
        for e in dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # not in the stubs
    ]
    return raw[:first] + raw[last:], handlers


def _is_inside(file: Path, name: str) -> bool:
    """Whether a file is this module, or in this package."""
    place = PACKAGE.joinpath(*name.split(".")[1:])
    return file == place.with_suffix(".py") or place in file.parents
