"""`llmbench new adapter NAME`: a working adapter, and a test beside it, to start from."""

from __future__ import annotations

import keyword
import re
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from llmbench.errors import UsageError

IMPORTED = (
    "TokenAdapter",
    "Tokens",
    "Passage",
    "Request",
    "Window",
)  # by the templates, which a class of that name would hide


def write_adapter(name: str, folder: Path) -> list[Path]:
    """Write NAME.py and test_NAME.py into `folder`. UsageError where the name is no identifier or a
    file is in the way.
    """
    stem = re.sub(r"[^a-z0-9_]", "_", name.strip().lower().removesuffix(".py"))
    cls = stem.title().replace("_", "")
    if (
        not (stem.isidentifier() and cls.isidentifier())
        or keyword.iskeyword(stem)
        or keyword.iskeyword(cls)
        or cls in IMPORTED
    ):
        raise UsageError(
            f"{name!r} cannot be the name of a model's Python file",
            hint="letters, digits and underscores, as in my_net",
        )
    written = []
    for target, template in (
        (folder / f"{stem}.py", "adapter.py.txt"),
        (folder / f"test_{stem}.py", "test_adapter.py.txt"),
    ):
        if target.exists():
            raise UsageError(
                "there is such a file already", where=str(target), hint="choose another name"
            )
        text = (
            resources.files("llmbench.cli")
            .joinpath("templates", template)
            .read_text(encoding="utf-8")
        )
        written.append((target, text.replace("__CLASS__", cls).replace("__MODULE__", stem)))
    if stem in sys.modules or find_spec(stem) is not None:
        raise UsageError(
            f"there is a module {stem!r} already, which the file would hide",
            hint="choose another name",
        )
    for target, text in written:
        target.write_text(text, encoding="utf-8")
    return [target for target, _ in written]
