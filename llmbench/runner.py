"""The only loop: cells, resume, progress. The parent stays light: it imports no torch and sleeps while a worker runs."""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import llmbench
from llmbench import certificates, machine, record, registry
from llmbench.adapter import Materials, default_cache
from llmbench.card import Card
from llmbench.checkpoints import learnt
from llmbench.data import Text, overlap_share
from llmbench.errors import UsageError
from llmbench.plan import Options, Plan, read_cell
from llmbench.ranking import rank_scores
from llmbench.record import Failure, Machine, ModelRow, Notes, Record, Score, SuiteRow
from llmbench.suite import TaskSpec, asked_about, is_fresh
from llmbench.worker import text_row

LONGEST_WAIT = 3600.0  # seconds in one wait of the operating system, which knows no months


class Watcher(Protocol):
    """What is told about a run as it goes; the command line draws it."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...


class Silent:
    """Nobody is watching."""

    def model(self, name: str, number: int, count: int) -> None: ...
    def progress(self, name: str, what: str, share: float, remark: str) -> None: ...
    def cell(self, name: str, task: str, outcome: str) -> None: ...


def run(made: Plan, watcher: Watcher | None = None) -> tuple[Record, bool]:
    """Fill the cells that are missing and write run.json. Gives the record, and whether it was interrupted."""
    watcher = watcher or Silent()
    started = _now()
    made.out.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    interrupted = False
    with _lock(made.out):
        before = _before(made.out)
        mark = {"name": made.suite.name, "version": made.suite.version, "sha256": made.suite.sha256}
        record.write_json(made.out / "suite.json", mark)
        try:
            for number, card in enumerate(made.cards, 1):
                watcher.model(card.name, number, len(made.cards))
                failures += _run_model(made, card, watcher)
        except KeyboardInterrupt:
            interrupted = True
        result = _assemble(made, failures, started, before)
        result.write(made.out)
    return result, interrupted


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """One run at a time in a folder."""
    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError("another run is at work in this folder", where=str(out), hint="wait for it, or choose another --out") from None
        yield


def _before(out: Path) -> Record | None:
    """The record that an earlier run left in this folder."""
    try:
        return record.load(out)
    except UsageError:
        return None


def _run_model(made: Plan, card: Card, watcher: Watcher) -> list[Failure]:
    """One worker for the model's missing cells. Whatever happens to it is a row for each cell it leaves open.

    A model from outside is loaded even if all its cells are there: its weights may have changed, which only its fingerprint tells.
    """
    known = {task.name: cell["model"]["fingerprint"] for task in made.suite.tasks if (cell := made.cell(card.name, task.name)) is not None}
    if not registry.is_outside(card):
        for name in known:
            watcher.cell(card.name, name, "done before")
    failures = _unavailable(made, card, watcher)
    lacking = {failure.task for failure in failures}
    asked = [task for task in made.suite.tasks if task.name not in lacking and (task.name not in known or registry.is_outside(card))]
    if not asked:
        return failures
    (made.out / "cells" / card.name / "worker.log").unlink(missing_ok=True)
    shared, fresh = [task for task in asked if not is_fresh(task)], [task for task in asked if is_fresh(task)]
    batches = [shared] if shared or card.recipe is not None else []  # one without a task trains, so that a fresh process finds what it measures
    for tasks in (*batches, *([task] for task in fresh)):
        failures += _run_batch(made, card, tasks, known, watcher)
    failed = {failure.task for failure in failures}
    for task in asked:
        if task.name not in failed and made.cell(card.name, task.name) is None:
            lost = "the worker finished this cell, and it cannot be read back"
            failures.append(Failure(model=card.name, task=task.name, reason="error", message=lost, hint="run again with the same --out"))
    return failures


def _run_batch(made: Plan, card: Card, tasks: Sequence[TaskSpec], known: Mapping[str, str], watcher: Watcher) -> list[Failure]:
    """One worker and its tasks: rows for those that it leaves open."""
    job = {
        "card": card.model_dump(mode="json", by_alias=True),
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "known": dict(known),
        "texts": {role: text_row(text) for role, text in made.suite.texts.items()},
        "missing": {role: [error.what, error.hint] for role, error in made.suite.missing.items()},
        "options": {**made.options.for_cells(), "offline": made.options.offline, "cache": str(made.options.cache or "") or None},
        "question": made.question,
        "keys": {task.name: made.keys[card.name, task.name] for task in tasks},
        "out": str(made.out),
    }
    log = made.out / "cells" / card.name / "worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    kills = machine.oom_kills()
    with log.open("ab") as errors, _worker(errors, made.options) as child:
        failures, open_tasks, late = _follow(child, job, made.options.timeout, card, watcher)
    if open_tasks:
        reason, message, hint = _ending(child.returncode, late, made.options.timeout, log, kills)
        for name in open_tasks:
            failures.append(Failure(model=card.name, task=name, reason=reason, message=message, hint=hint))
            watcher.cell(card.name, name, reason)
    return failures


def _unavailable(made: Plan, card: Card, watcher: Watcher) -> list[Failure]:
    """Rows of the model's cells whose texts cannot be had here."""
    failures = []
    for task in made.suite.tasks:
        lack = made.lacks.get((card.name, task.name))
        if lack is not None:
            failures.append(Failure(model=card.name, task=task.name, reason="unavailable", message=lack.what, hint=lack.hint))
            watcher.cell(card.name, task.name, "unavailable")
    return failures


@contextmanager
def _worker(errors: Any, options: Options) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C reaches the parent alone; it does not outlive this block."""
    threads = str(options.threads or machine.cores())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    if options.offline:
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "llmbench.worker"],  # -P: nothing in the current folder hides a library
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):  # the worker, and whatever its model started
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()


def _follow(
    child: subprocess.Popen[bytes], job: Mapping[str, Any], timeout: float, card: Card, watcher: Watcher
) -> tuple[list[Failure], list[str], bool]:
    """Read events until the worker ends or is late: (failures it reported, tasks it left open, whether it was late)."""
    failures: list[Failure] = []
    open_tasks = [task["name"] for task in job["tasks"]]
    assert child.stdin is not None
    try:
        child.stdin.write(json.dumps(job).encode() + b"\n")
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it died at once; the loop below finds its pipe closed
    for event in _events(child, timeout):
        if event is None:
            return failures, open_tasks, True
        kind = event["event"]
        if kind == "end":
            break
        if kind == "progress":
            watcher.progress(card.name, event["what"], event["share"], event["remark"])
        elif kind == "cell":
            open_tasks.remove(event["task"])
            watcher.cell(card.name, event["task"], event["outcome"])
        elif kind == "failed":
            open_tasks.remove(event["task"])
            row = {key: event[key] for key in ("task", "reason", "message", "hint")}
            failures.append(Failure(model=card.name, **row))
            watcher.cell(card.name, event["task"], event["reason"])
    with suppress(subprocess.TimeoutExpired):
        child.wait(timeout=10)
    return failures, open_tasks, False


def _events(child: subprocess.Popen[bytes], timeout: float) -> Iterator[dict[str, Any] | None]:
    """The worker's events; None, and the end, when a cell took longer than `timeout` seconds."""
    assert child.stdout is not None
    descriptor, rest = child.stdout.fileno(), b""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if not selector.select(min(max(0.0, left), LONGEST_WAIT)):
                if left > LONGEST_WAIT:
                    continue
                yield None
                return
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["event"] in ("cell", "failed"):
                    deadline = time.monotonic() + timeout
                yield event


def _ending(code: int, late: bool, timeout: float, log: Path, kills: int | None) -> tuple[Any, str, str]:
    """(reason, message, hint) for a worker that ended with cells open."""
    if late:
        return "timeout", f"no result within {timeout:g} s", "give more with --timeout"
    now = machine.oom_kills()
    if code == -signal.SIGKILL and kills is not None and now is not None and now > kills:
        return "out_of_memory", "the system killed the worker for want of memory", "a smaller model, or more memory"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = f": {lines[-1][:300]}" if lines else ""
    return "crashed", f"the worker ended with {_exit_words(code)}{last}", f"see {log.parent.name}/{log.name} in the run's cells"


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _assemble(made: Plan, failures: Sequence[Failure], started: str, before: Record | None) -> Record:
    """The record: this run's cells, and those of models that an earlier run of the same question left in this folder."""
    models: dict[str, ModelRow] = {}
    scores: list[Score] = []
    done: dict[str, list[str]] = {}
    names = [card.name for card in made.cards]
    others = [row.name for row in before.models if row.name not in names] if before else []
    for name in [*others, *names]:
        for task in made.suite.tasks:
            cell = made.cell(name, task.name) if name in names else read_cell(made.cell_path(name, task.name))
            if cell is None or (name not in names and cell["question"] != made.question):  # of this run's models the key has told
                continue
            models.setdefault(name, ModelRow.model_validate(cell["model"]))
            scores += [Score.model_validate({"model": name, "task": task.name, **row}) for row in cell["scores"]]
            done.setdefault(name, []).append(task.name)
    for card in made.cards:
        models.setdefault(card.name, ModelRow(name=card.name, stage=card.stage, family=card.family))
    for row in models.values():
        _add_certificate(made, row)
    refused = [row.name for row in models.values() if row.certificate and "refused" in (p.state for p in row.certificate.levels.values())]
    _add_overlap(made, models, before)
    kept = [failure for failure in before.failures if failure.model in models and failure.model not in names] if before else []
    return Record(
        schema=record.SCHEMA,
        llmbench=llmbench.__version__,
        suite=SuiteRow(name=made.suite.name, version=made.suite.version, sha256=made.suite.sha256),
        started=started,
        finished=_now(),
        seed=made.options.seed,
        options={**made.options.for_cells(), "data": sorted(made.options.data), "timeout": made.options.timeout},
        machine=Machine.model_validate(machine.facts(made.options.threads or machine.cores())),
        models=list(models.values()),
        scores=scores,
        failures=[*kept, *failures],
        notes=Notes.model_validate({"tasks": rank_scores(scores, made.out, refused), "cells": done}),
    )


def _add_certificate(made: Plan, row: ModelRow) -> None:
    """What the model was proven to be, by this run or by `llmbench check`, with the weights of its cells."""
    if not row.fingerprint:
        return
    places = certificates.of_run(made.out, row.name), certificates.of_weights(made.options.cache or default_cache(), row.fingerprint)
    found = certificates.merge(*(certificates.read(place, row.fingerprint) for place in places))
    row.certificate = record.Certificate.model_validate(found) if found else None


def _add_overlap(made: Plan, models: Mapping[str, ModelRow], before: Record | None) -> None:
    """How much of the test stands word for word in what a model learnt from; unknown for models that bring their own training."""
    for row in before.models if before else []:
        if row.name in models:
            models[row.name].overlap = row.overlap
    texts = made.suite.texts
    asked = [texts[role] for role in {asked_about(task) for task in made.suite.tasks} if role in texts]
    if "train" not in texts or not asked:
        return
    share = max((value for text in asked if (value := overlap_share(text, texts["train"])) is not None), default=None)
    for card in made.cards:
        if card.network is not None or card.adapter == "byte-ngram":
            models[card.name].overlap = share
        elif card.recipe is not None:
            models[card.name].overlap = _overlap_of_stages(made, card, asked)
        elif card.adapter in ("uniform-bytes", "compressor"):
            models[card.name].overlap = 0.0


def _overlap_of_stages(made: Plan, card: Card, asked: Sequence[Text]) -> float | None:
    """Of a checkpoint that was trained here from nothing; unknown where its first weights came from elsewhere."""
    stages = registry.lineage(card)
    if stages[0].checkpoint.new is None:
        return None
    texts = made.suite.texts
    stuff = Materials(train=texts.get("train"), valid=texts.get("valid"), domain=texts.get("domain"), domain_valid=texts.get("domain_valid"))
    learnt_texts = [text for stage in stages if (text := learnt(stage, stuff)[0]) is not None]
    return max((value for test in asked for text in learnt_texts if (value := overlap_share(test, text)) is not None), default=None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
