"""Records as plain data: older schemas are brought up to that of today, a step a number, and a
reviewed record has a digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from llmbench.results.signature import Part, Signature

SCHEMA = 3
SEALED = 3  # from this schema on a run's record ends with its digest
# a kind of task until schema 1 -> since; also the default name of a task and the name of its files
RENAMED_TASKS = {"choice": "multiple-choice", "batch-fit": "max-batch"}


def new_task_name(name: str) -> str:
    """What a task of an older record is called today."""
    return RENAMED_TASKS.get(name, name)


def file_names(task: str) -> list[str]:
    """The names that the files of a task may have: today's first."""
    return [task, *(old for old, new in RENAMED_TASKS.items() if new == task)]


def _before_notes(data: dict[str, object]) -> None:
    """Schema 0 had ranks and no notes on what they rest on, and a failure had no hint: both may be
    empty.
    """
    data.setdefault("notes", {})


def _before_field_names(data: dict[str, object]) -> None:
    """Schema 1 called two kinds of tasks by other names: in protocols, and as the default name of
    such a task.
    """
    for row in _rows_of(data, "scores"):
        if isinstance(signature := row.get("signature"), str):
            row["signature"] = _rename_protocol(signature)
    for row in (*_rows_of(data, "scores"), *_rows_of(data, "failures")):
        if isinstance(task := row.get("task"), str):
            row["task"] = new_task_name(task)
    notes = _as_dict(data.get("notes"))
    for place in (notes.get("tasks"), data.get("items")):
        if isinstance(place, dict):
            for key in list(place):  # keeps their order
                name, colon, metric = key.partition(":")
                place[f"{new_task_name(name)}{colon}{metric}"] = place.pop(key)
    cells = _as_dict(notes.get("cells"))
    for model, tasks in cells.items():
        if isinstance(tasks, list):
            cells[model] = [
                new_task_name(name) if isinstance(name, str) else name for name in tasks
            ]


def _as_dict(value: object) -> dict[str, object]:
    """The value if it is a mapping; otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def _rows_of(data: Mapping[str, object], name: str) -> list[dict[str, object]]:
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


def _before_digests(data: dict[str, object]) -> None:
    """Schema 2 ended without its digest, and did not know the digests of the folder's files."""


UPGRADES: dict[int, Callable[[dict[str, object]], None]] = {
    0: _before_notes,
    1: _before_field_names,
    2: _before_digests,
}  # schema -> what makes a record's data of it those of the next


def upgrade(data: dict[str, object]) -> None:
    """Make the data of a record those of SCHEMA, a step a number. KeyError where a step is missing:
    that schema never was.
    """
    first = data["schema"]
    assert isinstance(first, int)
    for number in range(first, SCHEMA):
        UPGRADES[number](data)
        data["schema"] = number + 1


def digest(data: Mapping[str, Any]) -> str:
    """sha256 of a reviewed record's content, as JSON has it, without the digest that it holds
    itself.
    """
    review = {key: value for key, value in data["review"].items() if key != "sha256"}
    return hashlib.sha256(
        json.dumps({**data, "review": review}, sort_keys=True).encode()
    ).hexdigest()
