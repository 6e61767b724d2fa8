"""Objects named `module:Name` or `file.py:Name`. Every way in which that fails is one clear UsageError with its place."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from llmbench.errors import UsageError, did_you_mean


def load_object(spec: str) -> Any:
    """The object named `module:Name` or `file.py:Name`; every way in which that fails is one clear UsageError."""
    where, _, name = spec.rpartition(":")
    try:
        module = _load_file(Path(where)) if where.endswith(".py") else import_module(where)
    except UsageError:
        raise
    except SyntaxError as error:
        raise UsageError(f"syntax error: {error.msg}", where=f"{error.filename}:{error.lineno}:{error.offset}") from None
    except ModuleNotFoundError as error:
        raise UsageError(f"there is no module {error.name!r}", where=where, hint="install it, or run where it can be imported") from None
    except Exception as error:  # whatever somebody's module does when imported
        raise UsageError(f"importing raised {type(error).__name__}: {error}", where=_raised_at(error, where)) from None
    if not hasattr(module, name):
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__]
        raise UsageError(f"there is no class {name!r}", where=where, hint=did_you_mean(name, classes))
    return getattr(module, name)


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError("there is no such model file", where=str(path))
    name = f"llmbench_model_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and inspect look classes up here
    sys.path.insert(0, str(path.parent))  # so that the file can import its neighbours
    spec.loader.exec_module(module)
    return module


def _raised_at(error: BaseException, fallback: str) -> str:
    """file:line of the innermost frame of the user's file."""
    at, trace = fallback, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(fallback.rpartition("/")[2]):
            at = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}:1"
        trace = trace.tb_next
    return at


def source_file(spec: str) -> Path:
    """The file that holds `module:Name` or `file.py:Name`, found without importing it."""
    where = spec.rpartition(":")[0]
    if where.endswith(".py"):
        file = Path(where)
    else:
        try:
            found = find_spec(where)
        except (ImportError, ValueError):
            found = None
        if found is None or found.origin is None:
            raise UsageError(f"there is no module {where!r}", where=spec)
        file = Path(found.origin)
    if not file.is_file():
        raise UsageError("there is no such file", where=str(file))
    return file
