"""lm-eval's questions as documents, and back: a run plans, samples and hashes them like any text.

A document's text is JSON: what is asked of a model, to the letter, and where it comes from.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmbench.data.documents import Document, Documents
from llmbench.data.text import Text
from llmbench.errors import Unavailable, UsageError
from llmbench.tasks.lm_eval import catalog
from llmbench.tasks.lm_eval.generating import find_disobeyed
from llmbench.tasks.lm_eval.harness import Loaded, work_in_silence

# what a configuration says of where data are: the questions themselves are in the text
PLACES = ("dataset_path", "dataset_name", "dataset_kwargs", "metadata", "custom_dataset")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of an object in memory: another in each process


@dataclass(frozen=True)
class Ask:
    """A request to a model: `kind` is lm-eval's request type, `context` what it reads, `more` the
    continuation that is scored, or how an answer is generated; `rendered`: whether the model's chat
    template wrote the context.
    """

    kind: str
    context: str
    more: Any = None
    rendered: bool = False

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What lm-eval's own models are given."""
        return (
            (self.context,) if self.kind == "loglikelihood_rolling" else (self.context, self.more)
        )


@dataclass(frozen=True)
class Question:
    """A document of a task: its number there, all that is asked about it, and how often."""

    id: str
    member: str
    number: int
    digest: str
    asks: tuple[Ask, ...]
    repeats: int
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, document: Document) -> Question:
        """The question that a document holds."""
        row = json.loads(document.text)
        asks = (Ask(kind, row["contexts"][at], more) for kind, at, more in row["asks"])
        where = (row["task"], row["number"], row["digest"])
        return cls(document.id, *where, tuple(asks), row["repeats"], row["of"])


def make_text(
    role: str,
    loaded: Loaded,
    limit: int | None,
    seed: int,
    arguments: Mapping[str, Any] | None = None,
) -> Text:
    """Return all questions of a task or a group; of each task a seeded sample of `limit`, each with
    the very prompt that it has in the whole.

    arguments: of lm-eval's `build_all_requests`.
    """
    documents, is_sampled = list[Document](), False
    for name, task in loaded.members.items():
        with work_in_silence(loaded.is_trusted):
            rows = list(_list_rows(name, task, arguments or {}))
        if limit is not None and limit < len(rows):
            chosen = sorted(random.Random(seed).sample(range(len(rows)), limit))
            rows, is_sampled = [rows[i] for i in chosen], True
        before = f"{name} " if loaded.group is not None else ""
        documents += [Document(f"{before}{row['number']}", _as_json(row)) for row in rows]
    return Text(role, Documents(documents), f"{limit}@{seed}" if is_sampled else "none")


def _list_rows(name: str, task: Any, arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What is asked about each document, in lm-eval's order."""
    try:
        task.build_all_requests(**arguments)
        facts = describe(task)
    except Exception as error:  # whatever a task's template or function does
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(
            f"lm-eval cannot ask the questions of {name}: {line}",
            hint="correct the task file, or ask with fewer `num_fewshot`",
        ) from error
    by_number: dict[int, list[Any]] = {}
    for instance in task.instances:
        by_number.setdefault(instance.doc_id, []).append(instance)
    for number, instances in by_number.items():
        instances.sort(key=lambda instance: instance.idx)
        contexts: dict[str, int] = {}
        asks = []
        for one in instances:
            context, *more = one.args
            _check_texts(name, one.request_type, context, more)
            if one.request_type == "generate_until" and (why := find_disobeyed(more[0])):
                raise UsageError(
                    f"lm-eval's task {name} generates with {why}",
                    hint="set it by `gen_kwargs`, or leave the task out",
                )
            at = contexts.setdefault(context, len(contexts))
            asks.append([one.request_type, at, more[0] if more else None])
        yield {
            "task": name,
            "number": number,
            "digest": digest_doc(instances[0].doc),
            "of": facts,
            "repeats": max(1, instances[0].repeats or 1),
            "contexts": list(contexts),
            "asks": asks,
        }


def _check_texts(name: str, kind: str, context: object, more: Sequence[object]) -> None:
    """UsageError if a request is not text."""
    wanted: type = dict if kind == "generate_until" else str
    is_text = isinstance(context, str) and all(isinstance(one, wanted) for one in more[:1])
    if not is_text or len(more) > 1 or (kind == "loglikelihood_rolling") != (not more):
        raise UsageError(f"lm-eval's task {name} asks {kind} with more than text")


def describe(task: Any) -> Mapping[str, str | int]:
    """Return what tells a task from another version of it: lm-eval's, and a digest of its whole
    configuration, its functions among it.
    """
    config = task.dump_config()
    kept = {key: value for key, value in config.items() if key not in PLACES}
    said = ADDRESS.sub("", json.dumps(kept, sort_keys=True, default=str))
    return {
        "version": str(task.VERSION),
        "harness": catalog.find_version(),
        "shots": int(task.get_config("num_fewshot") or 0),
        "config": _digest(said),
    }


def digest_doc(doc: Any) -> str:
    """Return a digest of a document of a data set."""
    return _digest(json.dumps(doc, sort_keys=True, default=str, ensure_ascii=False))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def find_docs(task: Any, questions: Sequence[Question]) -> list[Any]:
    """Return the documents of a data set that questions are about.

    Raises Unavailable if they are others than when the run was planned.
    """
    docs = task.eval_docs
    found = []
    for question in questions:
        doc = docs[question.number] if question.number < len(docs) else None
        if digest_doc(doc) != question.digest:
            raise Unavailable(
                f"the data of lm-eval's task {question.member} changed while the run went on",
                hint="run again",
            )
        found.append(doc)
    return found


def _as_json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
