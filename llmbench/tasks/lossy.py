"""Documents that a tokenizer cannot hold: refused with the whole text, or left out for all models.

A worker leaves out what its own model cannot hold (`run_documents`). Only the run knows what the
others cannot hold: it scores the documents that are left from each model's samples (`summarise`).
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field

from llmbench.adapter import Adapter, Passage, Progress
from llmbench.data.text import Document, Text
from llmbench.errors import Unsupported
from llmbench.ledger import CODE, SPELLING, TOKEN, Ledger
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome, Parts, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.task import Task

PARTS = 20  # at most one document of so many may be left out, and one byte of so many
SHARE = f"{100 // PARTS} %"
Run = Callable[[Task, Adapter, Progress], Outcome]
HINT = "cut the text into smaller documents (`split`), or run this model on a text of its own"


class DocumentTask(Task):
    """A task whose scores are made of sums over documents, so that some can be left out later."""

    class Settings(Task.Settings):
        """Bits of documents."""

        lossy: Literal["refuse", "leave-out"] = Field(
            "refuse",
            description=(
                "documents that a model's tokenizer cannot hold: refuse the model, or leave them"
                f" out for all models (at most {SHARE})"
            ),
        )

    keeps_parts: bool = False  # whether samples have the parts that `summarise` needs

    @abstractmethod
    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        """Return what is scored of a document."""

    @abstractmethod
    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        """Return the scores of the task's documents, from their samples with parts."""

    def size_items(self, adapter: Adapter) -> Sequence[int]:
        return [document.size for document in self.text.documents]

    def take(self, first: int, last: int) -> Self:
        part = copy.copy(self)
        part.text = self.text.take(first, last)
        return part

    def leave_out(self, ids: Collection[str]) -> Self:
        """Return the same task about the other documents."""
        rest = copy.copy(self)
        rest.text = self.text.leave_out(ids)
        return rest


def leaves_out(settings: Task.Settings) -> bool:
    """Return whether an entry of a suite leaves out documents that a tokenizer cannot hold."""
    return isinstance(settings, DocumentTask.Settings) and settings.lossy == "leave-out"


def run_documents(
    task: Task,
    settings: Task.Settings,
    adapter: Adapter,
    progress: Progress,
    run: Run = lambda task, adapter, progress: task.run(adapter, progress),
) -> Outcome:
    """Run a task, without the documents that the model cannot hold if its entry says so.

    A masked model keeps all: its pseudo-bits say themselves what is lost. `run`: runs the task that
    is left. Raises Unsupported if too many would be left out.
    """
    if not isinstance(task, DocumentTask) or not leaves_out(settings) or adapter.is_masked:
        return run(task, adapter, progress)
    lost = find_losses(task, adapter)
    if exceeds(task.text, lost):
        first, why = next(iter(lost.items()))
        raise Unsupported(
            f"lossy tokenizer: it cannot hold {_count(task.text, lost)}, and at most {SHARE} of"
            f" documents and bytes may be left out; {first!r}: {why}",
            hint=HINT,
        )
    rest = task.leave_out(lost)
    rest.keeps_parts = len(task.text.documents) >= PARTS  # of fewer none is ever left out
    outcome = run(rest, adapter, progress)
    return replace(outcome, scores=mark(outcome.scores, task.text, lost), lossy=lost)


def find_losses(task: DocumentTask, adapter: Adapter) -> dict[str, str]:
    """Return the ids of the documents that a model cannot hold, and what it loses of each."""
    found = {}
    for document in task.text.documents:
        losses = map(adapter.find_loss, task.list_passages(document, adapter))
        if why := next(filter(None, losses), ""):
            found[document.id] = why
    return found


def exceeds(text: Text, ids: Collection[str]) -> bool:
    """Return whether these are more documents, or bytes, of a text than may be left out."""
    sizes = [document.size for document in text.documents if document.id in ids]
    whole = sum(document.size for document in text.documents)
    return len(sizes) * PARTS > len(text.documents) or sum(sizes) * PARTS > whole


def choose_documents(
    text: Text, lossy: Mapping[str, Collection[str]]
) -> tuple[list[str], list[str]]:
    """Return the ids that are left out for all models, and the models that are refused instead.

    lossy: model -> the ids that it cannot hold, few enough by themselves. If they are too many
    together, models are refused until the rest is not: the one with the most documents first, of
    equal ones the last by name.
    """
    left, refused = dict(lossy), []
    while exceeds(text, ids := {id for some in left.values() for id in some}):
        worst = max(left, key=lambda name: (len(left[name]), name))
        refused.append(worst)
        del left[worst]
    return [document.id for document in text.documents if document.id in ids], refused


def explain_refusal(text: Text, ids: Collection[str]) -> str:
    """Return why a model is refused that could have left out its documents alone."""
    return (
        f"lossy tokenizer: it cannot hold {_count(text, ids)}, and with those of other models more"
        f" than {SHARE} of documents or bytes would be left out"
    )


def score_rest(
    task: DocumentTask, samples: Sequence[Mapping[str, Any]], ids: Sequence[str]
) -> list[ScoreRow]:
    """Return the scores of a task without some documents, from a model's samples of the others.

    samples: rows as they were written, with parts.
    """
    kept = [_as_numbers(row) for row in samples if row["id"] not in ids]
    return mark(task.leave_out(ids).summarise(kept), task.text, ids)


def mark(rows: Sequence[Mapping[str, Any]], text: Text, ids: Collection[str]) -> list[Any]:
    """Return score rows with the number of documents that were left out of `text`, if any were."""
    if not ids:
        return list(rows)
    part = f"{len(ids)} of {text.sha256[:16]}"
    return [
        {
            **row,
            "signature": str(Signature.parse(row["signature"]).extend(left_out=part)),
            "left_out": len(ids),
        }
        for row in rows
    ]


def name_charge(ledgers: Iterable[Ledger]) -> str:
    """Return what charged the bits, as in a score: tokens, or a compressor's code."""
    return "code" if any((ledger.kind == CODE).any() for ledger in ledgers) else "token"


def count_parts(ledgers: Sequence[Ledger], words: int) -> Parts:
    """Return what the ledgers of a document, of so many words, add to sums that samples lack."""
    return {
        "words": words,
        "tokens": sum(ledger.tokens for ledger in ledgers),
        "unknown": sum(ledger.unknown for ledger in ledgers),
        "token_bits": sum(ledger.total(TOKEN) for ledger in ledgers),
        "spelling_bits": sum(ledger.total(SPELLING) for ledger in ledgers),
        "charged": name_charge(ledgers),
        "straddled": sum(ledger.context_bytes > 0 for ledger in ledgers),
    }


def _count(text: Text, ids: Collection[str]) -> str:
    count, whole = len(text.documents), sum(document.size for document in text.documents)
    share = sum(document.size for document in text.documents if document.id in ids) / max(1, whole)
    return (
        f"{len(ids):,} of {count:,} document{'' if count == 1 else 's'} ({share:.1%} of the bytes)"
    ).replace("% of", " % of")


def _as_numbers(row: Mapping[str, Any]) -> SampleRow:
    """A sample as JSON holds it, with infinite bits as numbers again."""
    parts = {key: float(part) if part == "inf" else part for key, part in row["parts"].items()}
    statistics = {
        name: [float(value) if value == "inf" else value for value in values]
        for name, values in row["statistics"].items()
    }
    return {**row, "parts": parts, "statistics": statistics}  # type: ignore[typeddict-item]
