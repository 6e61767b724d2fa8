"""Objects named `module:Name` or `file.py:Name`. Every way in which that fails is one clear
UsageError: with file:line:column if code is wrong, and without a place if the name is, so that
the caller can say where the name stands.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from llmbench.errors import UsageError, did_you_mean
from llmbench.storage import is_file

# names that a source uses to bind others while it runs
DYNAMIC = {"*", "globals", "locals", "vars", "setattr", "exec", "__dict__", "__getattr__"}


def load_object(spec: str) -> Any:
    """The object named `module:Name` or `file.py:Name`; every way in which that fails is one clear
    UsageError.
    """
    where, _, name = spec.rpartition(":")
    try:
        module = _load_file(Path(where)) if where.endswith(".py") else import_module(where)
    except UsageError:
        raise
    except SyntaxError as error:
        raise UsageError(
            f"syntax error: {error.msg}", where=f"{error.filename}:{error.lineno}:{error.offset}"
        ) from None
    except ModuleNotFoundError as error:
        is_its_own = f"{where}.".startswith(f"{error.name}.")
        raise UsageError(
            f"there is no module {error.name!r}",
            where="" if is_its_own else _find_raise(error, where),
            hint="install it, or run where it can be imported",
        ) from None
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # whatever somebody's module does when imported, leaving included
        raise UsageError(
            f"importing raised {type(error).__name__}: {error}", where=_find_raise(error, where)
        ) from None
    try:
        return getattr(module, name)
    except AttributeError:
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise _no_class(name, where, classes) from None


def check_spec(spec: str) -> None:
    """Raise UsageError, without a place, if `module:Class` or `file.py:Class` names nothing: no
    such file or module, or a file whose source never binds the name. Nothing is imported.
    """
    name = spec.rpartition(":")[2]
    file = source_file(spec)
    if file.suffix == ".py":
        names, classes = _find_names(file, file.stat().st_mtime_ns)
        if names and name not in names:
            raise _no_class(name, str(file), classes)


@cache
def _find_names(file: Path, changed: int) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names that a file's source binds anywhere, and its classes. No names if that cannot be
    told from the source alone. `changed`: when it was written.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset(), ()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            names.add(node.id)  # read or written: a name that is read may be bound in other ways
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    if names & DYNAMIC:
        return frozenset(), ()
    return frozenset(names), tuple(n.name for n in tree.body if isinstance(n, ast.ClassDef))


def _no_class(name: str, where: str, classes: Iterable[str]) -> UsageError:
    return UsageError(f"there is no class {name!r} in {where}", hint=did_you_mean(name, classes))


def _no_file(path: Path) -> UsageError:
    near = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
    return UsageError(f"there is no file {path}", hint=did_you_mean(path.name, near))


def class_place(cls: type) -> str:
    """file:line:column of a class; its dotted name if it is in no file."""
    try:
        return f"{inspect.getfile(cls)}:{inspect.getsourcelines(cls)[1]}:1"
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__}"


def _load_file(path: Path) -> Any:
    if not is_file(path):
        raise _no_file(path)
    name = f"llmbench_model_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and inspect look classes up here
    sys.path.append(
        str(path.parent)
    )  # so that the file can import its neighbours, and none of them hides a library
    spec.loader.exec_module(module)
    return module


def _find_raise(error: BaseException, fallback: str) -> str:
    """file:line of the innermost frame of the user's file."""
    at, trace = fallback, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(fallback.rpartition("/")[2]):
            at = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}:1"
        trace = trace.tb_next
    return at


def source_file(spec: str) -> Path:
    """Return the file that holds `module:Name` or `file.py:Name`, without importing anything."""
    where = spec.rpartition(":")[0]
    file = Path(where) if where.endswith(".py") else _module_file(where)
    if not is_file(file):
        raise _no_file(file)
    return file


def source_files(spec: str) -> list[Path]:
    """Return the file of `module:Name` or `file.py:Name`, and what it imports from beside it."""
    found, waiting = [], [source_file(spec)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.append(file)
            waiting += _neighbours(file)
    return sorted(found)


def _module_file(name: str) -> Path:
    """The file of a dotted module. Only the top level is asked of Python's finders: they would
    import the packages above the others.
    """
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise UsageError(
            f"there is no module {top!r}", hint="install it, or name a file: file.py:Class"
        )
    file = Path(spec.origin)
    for number, part in enumerate(rest, 2):
        inside = file.parent / part
        file = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
        if not is_file(file):
            whole = ".".join(name.split(".")[:number])
            near = [path.stem for path in inside.parent.glob("*.py")]
            raise UsageError(f"there is no module {whole!r}", hint=did_you_mean(part, near))
    return file


def _neighbours(file: Path) -> list[Path]:
    """Files beside `file` that it imports by name."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {(node.module or alias.name).rpartition(".")[2] for alias in node.names}
    return [near for name in names if (near := file.with_name(f"{name}.py")).is_file()]
