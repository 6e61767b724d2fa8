"""`llmbench new adapter|task|metric NAME`: working code to start from, with its test."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from llmbench import limits
from llmbench.errors import UsageError

IMPORTED = {  # by the templates: a class of that name would hide them
    "Adapter",
    "Callable",
    "Document",
    "Metric",
    "MockAdapter",
    "Outcome",
    "Passage",
    "Request",
    "Task",
    "Text",
    "TextMetric",
    "TokenAdapter",
    "Tokens",
    "Window",
}


@dataclass(frozen=True)
class Plugin:
    """What `llmbench new` writes: template -> file name, and the command to try it with."""

    files: dict[str, str]
    command: str


PLUGINS = {
    "adapter": Plugin(
        {"adapter.py.txt": "{stem}.py", "test_adapter.py.txt": "test_{stem}.py"},
        "llmbench run quick --model {stem}.py:{cls}",
    ),
    "task": Plugin(
        {
            "task.py.txt": "{stem}.py",
            "task.yaml.txt": "{stem}.yaml",
            "test_task.py.txt": "test_{stem}.py",
        },
        "llmbench run {stem}.yaml",
    ),
    "metric": Plugin(
        {
            "metric.py.txt": "{stem}.py",
            "metric.yaml.txt": "{stem}.yaml",
            "test_metric.py.txt": "test_{stem}.py",
        },
        "llmbench run {stem}.yaml",
    ),
}


def write_plugin(kind: str, name: str, folder: Path) -> tuple[list[Path], str]:
    """Write the files of a new adapter, task or metric into `folder`.

    Returns the files and the command that tries them. Raises UsageError if the name is not an
    identifier, hides a module, or a file exists; then nothing is written.
    """
    if "/" in name or "\\" in name or len(name) > limits.NAME_CHARACTERS:
        raise UsageError(
            f"{name!r} is not a name: files are written into the current folder",
            hint="letters, digits and underscores, as in my_net",
        )
    stem = re.sub(r"[^a-z0-9_]", "_", name.strip().lower().removesuffix(".py"))
    cls = stem.title().replace("_", "")
    _check_name(name, stem, cls)
    plugin = PLUGINS[kind]
    texts = {
        folder / target.format(stem=stem): _read_template(template, stem, cls)
        for template, target in plugin.files.items()
    }
    for target in texts:
        if target.exists():
            raise UsageError(
                "the file already exists", where=str(target), hint="choose another name"
            )
    if stem in sys.modules or find_spec(stem) is not None:
        raise UsageError(
            f"a module {stem!r} already exists, and the file would hide it",
            hint="choose another name",
        )
    for target, text in texts.items():
        target.write_text(text, encoding="utf-8")
    return list(texts), plugin.command.format(stem=stem, cls=cls)


def _check_name(name: str, stem: str, cls: str) -> None:
    is_name = stem.isidentifier() and cls.isidentifier() and stem.isascii()
    if (
        not is_name
        or stem.startswith("_")
        or keyword.iskeyword(stem)
        or keyword.iskeyword(cls)
        or cls in IMPORTED
    ):
        raise UsageError(
            f"{name!r} cannot be the name of a Python file and its class",
            hint="letters, digits and underscores, as in my_net",
        )


def _read_template(template: str, stem: str, cls: str) -> str:
    file = resources.files("llmbench.cli").joinpath("templates", template)
    text = file.read_text(encoding="utf-8")
    return text.replace("__CLASS__", cls).replace("__MODULE__", stem)
