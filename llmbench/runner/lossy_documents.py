"""Documents that some models of a run cannot hold, left out of the scores of all of them.

Nothing is computed again: a cell's samples hold what each document adds to the scores. So a model
that joins a run later, and cannot hold other documents, changes the scores of those before it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmbench.data.text import Text
from llmbench.plan import task_registry
from llmbench.plan.plan import Plan
from llmbench.results.cell import CellRow
from llmbench.results.record import Failure
from llmbench.results.rows import LeftOut
from llmbench.tasks.lossy import (
    HINT,
    DocumentTask,
    choose_documents,
    explain_refusal,
    score_rest,
)
from llmbench.tasks.task import Task


@dataclass(frozen=True)
class Rest:
    """What is left of a task. scores: of the models whose cells have other scores. refused: the
    models that are refused so that not too much is left out.
    """

    scores: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    refused: Mapping[str, Failure] = field(default_factory=dict)
    left_out: LeftOut | None = None


def score_documents(
    made: Plan,
    spec: Task.Settings,
    cells: Mapping[str, CellRow],
    damaged: Mapping[str, Mapping[str, str]],
) -> Rest:
    """Score the documents that all models with a cell of a task can hold.

    Cells without `lossy` are of masked models, which keep all documents. damaged: what models
    whose cells are damaged cannot hold, so that the documents stay the same without their scores.
    """
    lossy = {name: cell["lossy"] for name, cell in cells.items() if "lossy" in cell}
    lossy = {**damaged, **lossy}
    if not lossy or spec.text is None:
        return Rest()
    text = made.suite.texts[spec.text]
    ids, refused = choose_documents(text, lossy)
    task = task_registry.build(spec, made.suite.texts, made.options.seed)
    assert isinstance(task, DocumentTask)
    ranked = [name for name in lossy if name not in refused]
    scores = {
        name: score_rest(task, _read_rows(made, cells[name]), ids)
        for name in ranked
        if name in cells and set(lossy[name]) != set(ids)
    }
    failures = {
        name: Failure(
            model=name,
            task=spec.name,
            reason="unsupported",
            message=explain_refusal(text, lossy[name]),
            hint=HINT,
        )
        for name in refused
        if name in cells
    }
    causes = {name: lossy[name] for name in ranked}
    return Rest(scores, failures, _note(text, ids, causes) if ids else None)


def _note(text: Text, ids: Sequence[str], causes: Mapping[str, Mapping[str, str]]) -> LeftOut:
    return LeftOut(
        documents={
            id: {name: lost[id] for name, lost in causes.items() if id in lost} for id in ids
        },
        bytes=sum(document.size for document in text.documents if document.id in ids),
        all_documents=len(text.documents),
        all_bytes=sum(document.size for document in text.documents),
        models=list(causes),
    )


def _read_rows(made: Plan, cell: CellRow) -> list[Mapping[str, Any]]:
    """The samples of a cell, as they were written; its digests were checked when it was read."""
    names = [name for name in cell["files"] if name.startswith("samples/")]
    file = next(Path(name) for name in names if name.endswith(".jsonl"))
    with (made.out / file).open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines if line.strip()]
