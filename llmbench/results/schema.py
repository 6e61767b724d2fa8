"""Records as plain data: older schemas are brought up to that of today, a step a number, and a
reviewed record has a digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from llmbench.results.signature import Part, Signature

SCHEMA = 2
# a kind of task until schema 1 -> since; also the default name of a task and the name of its files
RENAMED_TASKS = {"choice": "multiple-choice", "batch-fit": "max-batch"}


def new_task_name(name: str) -> str:
    """What a task of an older record is called today."""
    return RENAMED_TASKS.get(name, name)


def file_names(task: str) -> list[str]:
    """The names that the files of a task may have: today's first."""
    return [task, *(old for old, new in RENAMED_TASKS.items() if new == task)]


def _before_notes(data: dict[str, Any]) -> None:
    """Schema 0 had ranks and no notes on what they rest on, and a failure had no hint: both may be
    empty.
    """
    data.setdefault("notes", {})


def _before_field_names(data: dict[str, Any]) -> None:
    """Schema 1 called two kinds of tasks by other names: in protocols, and as the default name of
    such a task.
    """
    for row in _rows_of(data, "scores"):
        if isinstance(row.get("signature"), str):
            row["signature"] = _rename_protocol(row["signature"])
    for row in (*_rows_of(data, "scores"), *_rows_of(data, "failures")):
        if isinstance(row.get("task"), str):
            row["task"] = new_task_name(row["task"])
    notes: dict[str, Any] = data["notes"] if isinstance(data.get("notes"), dict) else {}
    for place in (notes.get("tasks"), data.get("items")):
        if isinstance(place, dict):
            for key in list(place):  # keeps their order
                name, colon, metric = key.partition(":")
                place[f"{new_task_name(name)}{colon}{metric}"] = place.pop(key)
    cells: dict[str, Any] = notes["cells"] if isinstance(notes.get("cells"), dict) else {}
    for model, tasks in cells.items():
        if isinstance(tasks, list):
            cells[model] = [
                new_task_name(name) if isinstance(name, str) else name for name in tasks
            ]


def _rows_of(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = data.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _rename_protocol(text: str) -> str:
    signature = Signature.parse(text)
    protocol = signature.values().get("protocol", "")
    name, slash, version = protocol.partition("/")
    if name not in RENAMED_TASKS:
        return text
    now = f"{RENAMED_TASKS[name]}{slash}{version}"
    return str(
        Signature(
            tuple(Part("protocol", now) if p.key == "protocol" else p for p in signature.parts)
        )
    )


UPGRADES: dict[int, Callable[[dict[str, Any]], None]] = {
    0: _before_notes,
    1: _before_field_names,
}  # schema -> what makes a record's data of it those of the next


def upgrade(data: dict[str, Any]) -> None:
    """Make the data of a record those of SCHEMA, a step a number. KeyError where a step is missing:
    that schema never was.
    """
    while data["schema"] < SCHEMA:
        UPGRADES[data["schema"]](data)
        data["schema"] += 1


def digest(data: Mapping[str, Any]) -> str:
    """sha256 of a reviewed record's content, as JSON has it, without the digest that it holds
    itself.
    """
    review = {key: value for key, value in data["review"].items() if key != "sha256"}
    return hashlib.sha256(
        json.dumps({**data, "review": review}, sort_keys=True).encode()
    ).hexdigest()
