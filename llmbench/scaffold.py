"""`llmbench new adapter NAME`: a working adapter, and a test beside it, to start from."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from llmbench.errors import UsageError


def write_adapter(name: str, folder: Path) -> list[Path]:
    """Write NAME.py and test_NAME.py into `folder`. UsageError where the name is no identifier or a file is in the way."""
    stem = re.sub(r"[^a-z0-9_]", "_", name.strip().lower().removesuffix(".py"))
    if not stem.isidentifier():
        raise UsageError(f"{name!r} cannot be the name of a Python file", hint="letters, digits and underscores")
    cls = stem.title().replace("_", "")
    written = []
    for target, template in ((folder / f"{stem}.py", "adapter.py.txt"), (folder / f"test_{stem}.py", "test_adapter.py.txt")):
        if target.exists():
            raise UsageError("there is such a file already", where=str(target), hint="choose another name")
        text = resources.files("llmbench").joinpath("templates", template).read_text(encoding="utf-8")
        written.append((target, text.replace("__CLASS__", cls).replace("__MODULE__", stem)))
    for target, text in written:
        target.write_text(text, encoding="utf-8")
    return [target for target, _ in written]
