"""Names of tasks -> their classes and settings.

A built-in task is one line of shipped.TASKS. Others come from the entry-point group
`llmbench.tasks`, or are named as file.py:Class or module:Class. Nothing is imported before it is
asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from llmbench.config.plugins import class_place, load_object, source_files
from llmbench.data.text import Text
from llmbench.errors import UsageError, did_you_mean
from llmbench.plan.shipped import TASKS as TASKS
from llmbench.plan.shipped import tasks as tasks
from llmbench.tasks.task import Task

PROTOCOL = r"[A-Za-z0-9._-]+/[0-9]+"
OPEN_PROCESSES = ("shared", "own")  # the others need a loop of their own in the runner


def locate(spec: str) -> str:
    """The file.py:Class or module:Class behind a name. UsageError if there is no such task."""
    if spec.endswith(".py"):
        raise UsageError("a task file needs its class", hint=f"{spec}:ClassName")
    where = TASKS.get(spec, spec)
    where = where if ":" in where else tasks().get(spec, "")  # which reads all packages
    if not where:
        raise UsageError(f"unknown task {spec!r}", hint=did_you_mean(spec, tasks()))
    return where


def task_class(spec: str) -> type[Task]:
    """The class of a task. UsageError if it cannot be imported or is not a complete Task."""
    where = locate(spec)
    file = Path(where.rpartition(":")[0])
    return _load(where, hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "")


@cache
def _load(where: str, digest: str) -> type[Task]:
    """The class, imported once for each version of its file, whose sha256 is `digest`."""
    place, _, name = where.rpartition(":")
    found = load_object(where)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise UsageError(
            f"{name!r} is not a Task",
            where=class_place(found) if isinstance(found, type) else place,
            hint="subclass llmbench.Task",
        )
    problem = _problem(found, where in TASKS.values())
    if problem:
        raise UsageError(
            f"{name} {problem}",
            where=class_place(found),
            hint="see docs/tasks.md",
        )
    return found


def _problem(cls: type[Task], built_in: bool) -> str:
    """What a task's class lacks; "" if nothing."""
    missing = sorted(cls.__abstractmethods__)
    if missing:
        return f"does not define {', '.join(missing)}"
    protocol = vars(cls).get("protocol", next((vars(c).get("protocol") for c in cls.__mro__), None))
    if not isinstance(protocol, str) or not re.fullmatch(PROTOCOL, protocol):
        return "has no `protocol` of the form 'name/1'"
    if not (isinstance(cls.Settings, type) and issubclass(cls.Settings, Task.Settings)):
        return "has a `Settings` that does not subclass Task.Settings"
    if not built_in and cls.Settings.process not in OPEN_PROCESSES:
        return f"has the process {cls.Settings.process!r}: use {' or '.join(OPEN_PROCESSES)}"
    return ""


def is_outside(spec: str) -> bool:
    """Whether the task did not come with llmbench."""
    return locate(spec) not in TASKS.values()


def source_digests(spec: str) -> list[str]:
    """Hashes of the files of a task from outside, so that a change of its code runs it again."""
    if not is_outside(spec):
        return []  # its protocol has a version
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in source_files(locate(spec))]


def read_settings(row: Mapping[str, object]) -> Task.Settings:
    """The settings that `model_dump(mode="json")` gave as `row`."""
    return task_class(str(row["task"])).Settings.model_validate_json(json.dumps(row))


def build(settings: Task.Settings, texts: Mapping[str, Text], seed: int) -> Task:
    """The task that an entry of a suite describes."""
    return task_class(settings.task).from_settings(settings, texts, seed)
