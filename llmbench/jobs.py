"""What a worker is told, as plain JSON: a model, tasks, texts, options, where to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.data.text import Document, Text

if TYPE_CHECKING:
    from llmbench.config.model_card import Card
    from llmbench.plan.plan import Plan
    from llmbench.tasks.config import TaskSpec


def job_of(made: Plan, card: Card, tasks: Sequence[TaskSpec], known: Mapping[str, str]) -> dict[str, Any]:
    """The job of a worker. `known`: task -> the fingerprint that its finished cell was made with."""
    return {
        "card": card.model_dump(mode="json", by_alias=True),
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "known": dict(known),
        "texts": {role: text_row(text) for role, text in made.suite.texts.items()},
        "missing": {role: [error.what, error.hint] for role, error in made.suite.missing.items()},
        "options": {**made.options.for_cells(), "offline": made.options.offline, "cache": str(made.options.cache or "") or None},
        "question": made.question,
        "machine": made.options.machine,
        "keys": {task.name: made.keys[card.name, task.name] for task in tasks},
        "out": str(made.out),
    }


def log_of(made: Plan, card: Card) -> Path:
    """Where what a model prints is kept."""
    return made.out / "cells" / card.name / "worker.log"


def text_row(text: Text) -> dict[str, Any]:
    """A text as part of a job."""
    documents = [[document.id, document.text, document.given, list(document.choices), document.truth] for document in text.documents]
    return {"name": text.name, "sampled": text.sampled, "documents": documents}


def read_text(row: Mapping[str, Any]) -> Text:
    """The text of a `text_row`."""
    documents = tuple(Document(id, text, given, tuple(choices), truth) for id, text, given, choices, truth in row["documents"])
    return Text(row["name"], documents, row["sampled"])
