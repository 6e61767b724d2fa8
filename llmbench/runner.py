"""The only loop: cells, resume, progress. The parent stays light: it imports no torch and sleeps while a worker runs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import llmbench
from llmbench import machine, record, registry
from llmbench import suite as suites
from llmbench.card import Card
from llmbench.data import overlap_share
from llmbench.errors import UsageError
from llmbench.imports import source_file
from llmbench.ranking import rank_scores
from llmbench.record import Failure, ModelRow, Record, Score, SuiteRow
from llmbench.suite import LikelihoodSpec, Suite
from llmbench.worker import text_row

DEFAULT_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Options:
    """The command line of a run."""

    models: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    out: Path | None = None
    device: str = "auto"
    dtype: str | None = None
    threads: int | None = None
    limit: int | None = None
    seed: int = 0
    timeout: float = DEFAULT_TIMEOUT
    offline: bool = False
    cache: Path | None = None

    def for_cells(self) -> dict[str, Any]:
        """What can change a number: part of every cell's key."""
        return {"device": self.device, "dtype": self.dtype, "limit": self.limit, "seed": self.seed}


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


@dataclass
class Plan:
    """A run, checked and ready: nothing in it can be a usage error any more."""

    suite: Suite
    cards: list[Card]
    options: Options
    out: Path

    def key(self, card: Card, task: Any) -> str:
        """Of a cell: everything that can change its numbers, as far as the parent can know it."""
        facts = [card.model_dump(mode="json"), task.model_dump(mode="json"), self.options.for_cells(), llmbench.__version__]
        facts += [self.suite.texts[role].sha256 for role in ("train", "valid") if role in self.suite.texts]
        if isinstance(task, LikelihoodSpec):
            facts.append(self.suite.texts[task.text].sha256)
        for spec in (registry.adapters().get(card.adapter, card.adapter), card.network.cls if card.network else ""):
            if ":" in spec:
                facts.append(hashlib.sha256(source_file(spec).read_bytes()).hexdigest())
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def cell_path(self, card: Card, task: Any) -> Path:
        return self.out / "cells" / card.name / f"{task.name}.json"

    def cell(self, card: Card, task: Any) -> dict[str, Any] | None:
        """The finished cell, if it is there, whole, and of this very question."""
        try:
            data = json.loads(self.cell_path(card, task).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(data, dict) and data.get("key") == self.key(card, task) and {"model", "scores", "seconds"} <= data.keys()
        return data if whole else None


def plan(spec: str, options: Options) -> Plan:
    """Read and check everything that can be checked without running a model; UsageError where something is wrong."""
    suite = suites.read(spec)
    suite.load_texts(options.data, options.limit, options.seed)
    cards = suite.cards(list(options.models), list(options.only))
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    made = Plan(suite, cards, options, options.out or Path("reports") / suite.name / stamp)
    _check_out(made)
    for card in cards:
        for task in suite.tasks:
            made.key(card, task)  # a model file or module that is not there is found here
    _check_code(cards)
    return made


def _check_out(made: Plan) -> None:
    """A folder that holds another suite's run, or something else altogether, is refused."""
    if made.out.exists() and not made.out.is_dir():
        raise UsageError("--out is a file", where=str(made.out), hint="name a folder")
    mark = made.out / "suite.json"
    if mark.is_file():
        try:
            before = json.loads(mark.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if (before.get("name"), before.get("sha256")) != (made.suite.name, made.suite.sha256):
            raise UsageError(
                f"this folder holds a run of the suite {before.get('name')!r} as it was then", where=str(made.out), hint="choose another --out"
            )
    elif made.out.is_dir() and any(made.out.iterdir()):
        raise UsageError("--out is not empty and holds no run", where=str(made.out), hint="choose another folder")


def _check_code(cards: Sequence[Card]) -> None:
    """Import code from outside in a short child process, so that what is wrong with it is said before anything runs."""
    outside = [_card_json(card) for card in cards if registry.is_outside(card)]
    if not outside:
        return
    done = subprocess.run(
        [sys.executable, "-m", "llmbench.worker", "--check"],
        input=json.dumps({"cards": outside}) + "\n",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    if findings:
        first = findings[0]
        raise UsageError(first["what"], where=first["where"], hint=first["hint"])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"importing the model files ended the process ({_exit_words(done.returncode)}): {last}", where=outside[0]["name"])


def _card_json(card: Card) -> dict[str, Any]:
    return card.model_dump(mode="json", by_alias=True)


def run(made: Plan, watcher: Watcher | None = None) -> tuple[Record, bool]:
    """Fill the cells that are missing and write run.json. Gives the record, and whether it was interrupted."""
    watcher = watcher or Silent()
    started = _now()
    made.out.mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    interrupted = False
    with _lock(made.out):
        mark = {"name": made.suite.name, "version": made.suite.version, "sha256": made.suite.sha256}
        record.write_json(made.out / "suite.json", mark)
        try:
            for number, card in enumerate(made.cards, 1):
                watcher.model(card.name, number, len(made.cards))
                failures += _run_model(made, card, watcher)
        except KeyboardInterrupt:
            interrupted = True
        result = _assemble(made, failures, started)
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
    (out / ".lock").unlink(missing_ok=True)


def _run_model(made: Plan, card: Card, watcher: Watcher) -> list[Failure]:
    """One worker for the model's missing cells. Whatever happens to it is a row for each cell it leaves open."""
    missing = [task for task in made.suite.tasks if made.cell(card, task) is None]
    for task in made.suite.tasks:
        if task not in missing:
            watcher.cell(card.name, task.name, "done before")
    if not missing:
        return []
    job = {
        "card": _card_json(card),
        "tasks": [task.model_dump(mode="json") for task in missing],
        "texts": {role: text_row(text) for role, text in made.suite.texts.items()},
        "options": {**made.options.for_cells(), "offline": made.options.offline, "cache": str(made.options.cache or "") or None},
        "keys": {task.name: made.key(card, task) for task in missing},
        "out": str(made.out),
    }
    log = made.out / "cells" / card.name / "worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    kills = machine.oom_kills()
    with log.open("wb") as errors, _worker(errors, made.options) as child:
        failures, open_tasks, late = _follow(child, job, made.options.timeout, card, watcher)
    if open_tasks:
        reason, message, hint = _ending(child.returncode, late, made.options.timeout, log, kills)
        for name in open_tasks:
            failures.append(Failure(model=card.name, task=name, reason=reason, message=message, hint=hint))
            watcher.cell(card.name, name, reason)
    return failures


@contextmanager
def _worker(errors: Any, options: Options) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, so that Ctrl-C reaches the parent alone; it does not outlive this block."""
    threads = str(options.threads or machine.cores())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    if options.offline:
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "llmbench.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
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
        if kind == "progress":
            watcher.progress(card.name, event["what"], event["share"], event["remark"])
        elif kind == "cell":
            open_tasks.remove(event["task"])
            watcher.cell(card.name, event["task"], "done")
        elif kind == "failed":
            open_tasks.remove(event["task"])
            row = {key: event[key] for key in ("task", "reason", "message", "hint")}
            failures.append(Failure(model=card.name, **row))
            watcher.cell(card.name, event["task"], event["reason"])
    child.wait()
    return failures, open_tasks, False


def _events(child: subprocess.Popen[bytes], timeout: float) -> Iterator[dict[str, Any] | None]:
    """The worker's events; None, and the end, when a cell took longer than `timeout` seconds."""
    assert child.stdout is not None
    descriptor, rest = child.stdout.fileno(), b""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
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


def _assemble(made: Plan, failures: Sequence[Failure], started: str) -> Record:
    """The record, from the cells that are there."""
    models: dict[str, ModelRow] = {}
    scores: list[Score] = []
    for card in made.cards:
        for task in made.suite.tasks:
            cell = made.cell(card, task)
            if cell is None:
                continue
            models.setdefault(card.name, ModelRow.model_validate(cell["model"]))
            scores += [Score.model_validate({"model": card.name, "task": task.name, **row}) for row in cell["scores"]]
        models.setdefault(card.name, ModelRow(name=card.name, stage=card.stage, family=card.family))
    _add_overlap(made, models)
    notes = {"tasks": rank_scores(scores, made.out)}
    return Record(
        schema=record.SCHEMA,
        llmbench=llmbench.__version__,
        suite=SuiteRow(name=made.suite.name, version=made.suite.version, sha256=made.suite.sha256),
        started=started,
        finished=_now(),
        seed=made.options.seed,
        options={**made.options.for_cells(), "data": sorted(made.options.data), "timeout": made.options.timeout},
        machine=machine.facts(made.options.threads or machine.cores()),
        models=list(models.values()),
        scores=scores,
        failures=list(failures),
        notes=notes,
    )


def _add_overlap(made: Plan, models: Mapping[str, ModelRow]) -> None:
    """How much of the test stands word for word in what a model learnt from; unknown for models that bring their own training."""
    texts = made.suite.texts
    asked = [texts[task.text] for task in made.suite.tasks if isinstance(task, LikelihoodSpec)]
    if "train" not in texts or not asked:
        return
    share = max((value for text in asked if (value := overlap_share(text, texts["train"])) is not None), default=None)
    for card in made.cards:
        if card.network is not None or card.adapter == "byte-ngram":
            models[card.name].overlap = share
        elif card.adapter in ("uniform-bytes", "compressor"):
            models[card.name].overlap = 0.0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
