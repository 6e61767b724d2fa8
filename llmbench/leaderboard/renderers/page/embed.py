"""What the page's script needs as data, and the script itself, as parts of one file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

from markupsafe import Markup

from llmbench.leaderboard.overview.items import TaskItem, TaskItems
from llmbench.leaderboard.renderers.sanitise import show_html

ASSETS = files("llmbench.leaderboard.renderers.page").joinpath("assets")
STYLES = ("base", "tables", "first", "plots", "parts", "samples", "print")
SCRIPTS = (
    "core",
    "tips",
    "tables",
    "copy",
    "models",
    "plots",
    "pairs",
    "bits",
    "difference",
    "samples",
    "start",
)
# signs that end a script, begin a comment, or part lines in older browsers
_ESCAPED = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


@lru_cache(maxsize=1)
def read_styles() -> Markup:
    """Return the style sheets, one after the other."""
    return Markup("\n").join(Markup(_read(f"{name}.css")) for name in STYLES)  # noqa: S704 - ours


@lru_cache(maxsize=1)
def read_script() -> Markup:
    """Return the script: its files in one strict function, so that they share names among
    themselves alone.
    """
    parts = "\n".join(_read(f"{name}.js") for name in SCRIPTS)
    return Markup(f'(() => {{\n"use strict";\n{parts}\n}})();')  # noqa: S704 - ours


def digest_script(script: str) -> str:
    """Return the script's digest as a content security policy names it: no other script runs."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _read(name: str) -> str:
    return ASSETS.joinpath(name).read_text(encoding="utf-8").strip()


def write_json(data: object) -> Markup:
    """Return data as JSON that is harmless inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_ESCAPED))  # noqa: S704 - escaped for where it stands


def pack_items(tasks: Sequence[TaskItems]) -> list[dict[str, object]]:
    """Return the items as the browser of samples reads them: what models have in the order of the
    models, null where they have nothing.
    """
    return [
        {
            "task": show_html(task.task),
            "metrics": [
                {"title": show_html(metric.title), "better": metric.better}
                for metric in task.metrics
            ],
            "models": [show_html(name) for name in task.models],
            "total": task.total,
            "items": [_pack_item(task, item) for item in task.items],
        }
        for task in tasks
    ]


def _pack_item(task: TaskItems, item: TaskItem) -> dict[str, object]:
    packed: dict[str, object] = {
        "id": show_html(item.id),
        "values": [
            [_round(item.values.get(metric.key, {}).get(name)) for name in task.models]
            for metric in task.metrics
        ],
    }
    if item.prompt:
        packed["prompt"] = show_html(item.prompt)
    if item.near:
        packed["near"] = [show_html(name) for name in item.near]
    if item.reference:
        packed["reference"] = show_html(item.reference)
    if item.answers:
        packed["answers"] = [
            None if (said := item.answers.get(name)) is None else show_html(said)
            for name in task.models
        ]
    return packed


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
