"""One model, its own process: load, run the tasks, write each finished cell at once, end.

`python -m llmbench.runner.worker` reads its job and reports events (see messages.py). `--check`
reads a list of models instead and reports what is wrong with their code, running nothing but its
import.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from llmbench import limits, storage
from llmbench.adapter import (
    Adapter,
    AdapterFacts,
    BuildContext,
    KeptSeal,
    ModelInfo,
    Progress,
)
from llmbench.config.fingerprints import identifies_weights
from llmbench.config.model_card import Card
from llmbench.config.plugins import load_object
from llmbench.conformance import certificates
from llmbench.data.text import Text
from llmbench.errors import (
    CellError,
    LlmbenchError,
    ModelError,
    OutOfMemory,
    UsageError,
    is_out_of_memory,
)
from llmbench.hardware import machine
from llmbench.hardware.device import pick_device
from llmbench.hardware.memory import Gpu, Gpus, Meter, all_gpus
from llmbench.plan import registry, task_registry
from llmbench.plan.resolved_model import ResolvedModel, make_adapter, resolve_model, with_facts
from llmbench.results import record
from llmbench.results.cell import write_cell
from llmbench.runner import messages
from llmbench.runner.engine import connection
from llmbench.runner.engine.sharing import Say, make_shared
from llmbench.runner.folder.shards import claim_shards, make_shelf
from llmbench.runner.messages import CheckJob, Emit, FailedEvent, Job, JobOptions
from llmbench.storage import default_cache
from llmbench.tasks.lossy import run_documents
from llmbench.tasks.shards.running import run_shards
from llmbench.tasks.task import Task, check_outcome


def main() -> None:
    """Entry point of the child process."""
    checking = "--check" in sys.argv
    meter = Meter()
    if not checking:
        with meter.phase("imports"):  # those of a worker that is started before its turn
            for module in sys.argv[1:]:
                importlib.import_module(module)
    job, emit, replies = connection.connect(stays=not checking)
    if checking:
        check(job, emit)
    else:
        work(job, emit, meter, replies)
        emit({"event": "end"})
    connection.leave()


def check(job: CheckJob, emit: Emit) -> None:
    """Import the code of each model; report what is wrong with it, or the facts of its class."""
    for data in job["models"]:
        model = ResolvedModel.from_json(data)
        card = model.card
        try:
            cls = registry.adapter_class(model.adapter)
            if card.network:
                from llmbench.adapters.bpe_network import class_of

                network: type = class_of(card.network.cls, cls.network_class)
                _fits(network, card.network.arguments, card.network.cls, 50)
            elif cls.build.__func__ is Adapter.build.__func__:  # type: ignore[attr-defined]  # a classmethod has its function there
                _fits(cls, card.arguments, card.adapter)
        except LlmbenchError as error:
            emit(
                {
                    "event": "wrong",
                    "model": model.name,
                    "what": error.what,
                    "where": error.where,
                    "hint": error.hint,
                }
            )
        else:
            facts = asdict(AdapterFacts.of(cls))
            emit({"event": "facts", "model": model.name, "facts": facts})


def _fits(cls: Any, arguments: Mapping[str, Any], where: str, *first: Any) -> None:
    """UsageError unless the constructor takes these arguments."""
    try:
        inspect.signature(cls).bind_partial(
            *first, **arguments
        )  # first what is misspelt, then what is missing
        inspect.signature(cls).bind(*first, **arguments)
    except TypeError as error:
        raise UsageError(
            f"{cls.__name__}: {error}", where=where, hint="look at `arguments` in the card"
        ) from None


def work(job: Job, emit: Emit, meter: Meter, replies: Iterator[Any] = iter(())) -> None:
    """All cells of one model. A failure is an event; only a crash ends the process early.

    meter: of memory since this process began. Tasks that ask for a process of their own come first,
    in a process that did nothing else. replies: which shards to compute, one for each claim.
    """
    machine.keep_freed_memory()
    model, tasks, texts = read_job(job)
    report = connection.progress(emit)
    is_measured = any(task.process == "own" for task in tasks)
    try:
        if is_measured:
            _import_measured(model, job, meter)
        with meter.phase("load") if is_measured else nullcontext():
            # two workers of a model would write the same file of kept answers
            keep = None if job.get("helps") else emit
            adapter = load(
                model, texts, job, report, keep, lambda text: emit({"event": "note", "text": text})
            )
        info, row = describe(adapter, model.card)
    except BaseException as error:
        for task in tasks:
            emit(failure(task.name, error))
        return
    for task in tasks:
        if job["known"].get(task.name) == info.fingerprint:
            emit({"event": "cell", "task": task.name, "outcome": "done before", "digest": ""})
            continue
        emit({"event": "task", "task": task.name})
        begun = time.perf_counter()
        try:
            asked = task_registry.build(task, texts, job["options"]["seed"])
            asked.scratch = Path(job["out"])
            asked.load_model = partial(load_spec, texts=texts, job=job, report=report)
            if task.process == "own":
                asked.meter = meter
            shelf = make_shelf(
                Path(job["out"]),
                task.name,
                job["keys"][task.name],
                info,
                job.get("shards", ()),
                emit,
            )
            claim = partial(claim_shards, emit, replies, task.name, shelf)
            run = partial(run_shards, shelf=shelf, claim=claim, helps=job.get("helps", False))
            outcome = check_outcome(asked, run_documents(asked, task, adapter, report, run))
            if job.get("helps"):
                continue
            head = messages.head_of(job, task.name, row)
            digest = write_cell(Path(job["out"]), head, outcome, time.perf_counter() - begun)
        except BaseException as error:
            emit(failure(task.name, error))
            if isinstance(error, KeyboardInterrupt):
                return
        else:
            emit({"event": "cell", "task": task.name, "outcome": "done", "digest": digest})
    if not job.get("helps") and (not tasks or any(task.process == "shared" for task in tasks)):
        certify(adapter, info, job, emit, report)
    adapter.close()


def _import_measured(model: ResolvedModel, job: Job, meter: Meter) -> None:
    """Import what the model needs, the baseline of its memory, and find the GPU to measure."""
    meter.phases.clear()
    with meter.phase("imports"):
        _imports(model)
    if (
        "torch" in sys.modules
        and job["options"]["device"] != "cpu"
        and _device("auto", model) == "cuda"
    ):
        meter.gpu = Gpus(all_gpus()) if model.is_spread else Gpu("cuda:0")


def read_job(job: Job) -> tuple[ResolvedModel, list[Task.Settings], dict[str, Text]]:
    """The model, the tasks and the texts of a job."""
    model = ResolvedModel.from_json(job["model"])
    tasks = [task_registry.read_settings(row) for row in job["tasks"]]
    return model, tasks, {role: messages.read_text(row) for role, row in job["texts"].items()}


def describe(adapter: Adapter, card: Card) -> tuple[ModelInfo, record.ModelRow]:
    """What a model is, under its card's name, and the record's row for it."""
    info = replace(adapter.info, name=card.name, family=card.family or adapter.info.family)
    return info, model_row(info, card)


class Loaded(NamedTuple):
    """A model in this process, and the only task that is asked of it."""

    adapter: Adapter
    info: ModelInfo
    row: record.ModelRow
    task: Task


def load_only_task(job: Job, emit: Emit) -> Loaded | None:
    """Load the model of a job with one task; report the cell and return None if it is there already
    and of these very weights.
    """
    model, (spec,), texts = read_job(job)
    adapter = load(model, texts, job, connection.progress(emit))
    info, row = describe(adapter, model.card)
    if job["known"].get(spec.name) == info.fingerprint:
        emit({"event": "cell", "task": spec.name, "outcome": "done before", "digest": ""})
        return None
    return Loaded(adapter, info, row, task_registry.build(spec, texts, job["options"]["seed"]))


def _imports(model: ResolvedModel) -> None:
    """What a model of this kind imports before it is loaded: the baseline of its memory."""
    registry.adapter_class(model.adapter)
    if model.card.network:
        load_object(model.card.network.cls)
    if model.stages:
        importlib.import_module("llmbench.models.pretrained.loading")
        importlib.import_module("transformers")


def certify(adapter: Adapter, info: ModelInfo, job: Job, emit: Emit, report: Progress) -> None:
    """Earn A1 and A2 by sampling, after the cells, which nothing that happens here can take back.
    What these weights have earned they keep; an unfinished proof goes on.
    """
    from llmbench.conformance import kit
    from llmbench.conformance.unfinished import OF_RUN, Unfinished

    known = set(job["certificates"])
    cache = _cache(job["options"])
    place, weights = (
        certificates.of_run(Path(job["out"]), info.name),
        certificates.of_weights(cache, info.fingerprint, info.device),
    )
    is_known = identifies_weights(info.fingerprint)
    found = certificates.load_certificate(place, info.fingerprint, info.device, known)
    if found is None and is_known:
        found = certificates.load_certificate(weights, info.fingerprint, info.device, known)
    if found is None:  # what was not earned before may have been the machine's fault
        unfinished = Unfinished(cache, OF_RUN, info.fingerprint, info.device)
        before = unfinished.read(known)
        results = kit.sample(adapter, limits.PROOF_SECONDS, report, before, unfinished.write)
        unfinished.end(results)
        found = kit.certificate(results, info.fingerprint, info.device)
    try:
        digest, cached = storage.write_sealed(place, found), ""
        if is_known and certificates.load_certificate(place, info.fingerprint, info.device):
            older = certificates.read(weights, info.fingerprint, info.device, known)
            with suppress(OSError):  # without a cache the run has its certificate all the same
                cached = storage.write_sealed(weights, certificates.merge(found, older) or found)
        emit({"event": "certificate", "digest": digest, "cached": cached})
    except OSError as error:  # a full disk costs the certificate, not the run
        sys.stderr.write(f"could not keep the certificate: {error}\n")


def _cache(options: JobOptions) -> Path:
    return Path(options["cache"]) if options["cache"] else default_cache()


def load(
    model: ResolvedModel,
    texts: Mapping[str, Text],
    job: Job,
    report: Progress,
    emit: Emit | None = None,
    say: Say = sys.stderr.write,
) -> Adapter:
    """The model, on its device, trained or from the cache. `emit`: told of answers that it keeps;
    without it nothing is kept. `say`: told what a person should know.
    """
    options, answers = job["options"], Path(job["out"]) / "answers" / f"{model.name}.jsonl"

    def tell(seal: KeptSeal) -> None:
        if emit is not None:
            emit({"event": "answers", "seal": seal})

    device = options["device"]
    if device in ("auto", "cuda"):
        device = _device(device, model)
    build_context = BuildContext(
        train=texts.get("train"),
        valid=texts.get("valid"),
        seed=options["seed"],
        device=device,
        dtype=options["dtype"] or "float32",
        progress=report,
        cache=_cache(options),
        kept_answers=None if emit is None else answers,
        kept_seal=job.get("answers"),
        tell_kept=tell,
        domain=texts.get("domain"),
        domain_valid=texts.get("domain_valid"),
        offline=options["offline"],
        missing=job["missing"],
        retrain_since=options["retrain_since"],
    )
    if options["cache_url"]:
        return make_shared(model, build_context, options["cache_url"], say)
    return make_adapter(model, build_context)


def load_spec(spec: str, texts: Mapping[str, Text], job: Job, report: Progress) -> Adapter:
    """Another model than the job's, for a task that compares with it."""
    model = resolve_model(spec)
    if model.is_outside:
        model = with_facts(model, AdapterFacts.of(registry.adapter_class(model.adapter)))
    return load(model, texts, job, report)


def _device(wanted: str, model: ResolvedModel) -> str:
    if not model.facts.needs_torch:
        return "cpu"  # and need not wait for torch's import
    return pick_device(wanted)


def model_row(info: ModelInfo, card: Card) -> record.ModelRow:
    """The record's row for a model; ModelError where `info` holds what a record cannot."""
    published = [figure.model_dump() for figure in card.published]
    try:
        return record.ModelRow.model_validate(
            {**asdict(info), "stage": card.stage, "certificate": None, "published": published}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ModelError(
            f"info.{first['loc'][0]}: {first['msg']}, not {first['input']!r}",
            hint="see ModelInfo in llmbench/adapter.py",
        ) from None


def failure(task: str, error: BaseException) -> FailedEvent:
    """The event of a cell that failed: the reason in one word, the message in one line; the
    traceback goes to the log.
    """
    if is_out_of_memory(error) and not isinstance(error, OutOfMemory):
        error = OutOfMemory(_line(error), hint="a smaller model, or more memory")
    if isinstance(error, LlmbenchError):
        reason = error.reason if isinstance(error, CellError) else "error"
        message, hint = f"{error.where}: {error.what}" if error.where else error.what, error.hint
    else:
        traceback.print_exception(error)
        reason, message, hint = (
            "error",
            f"{_spot(error)}{_line(error)}",
            "the traceback is in the worker's log",
        )
    return {
        "event": "failed",
        "task": task,
        "reason": reason,
        "message": " ".join(message.split())[:2000],
        "hint": hint,
    }


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _spot(error: BaseException) -> str:
    """file:line where it was raised: the innermost frame outside installed packages, if there is
    one.
    """
    frames = traceback.extract_tb(error.__traceback__)
    package = str(Path(__file__).parent)
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith((sys.prefix, sys.base_prefix, package, "<"))
    ]
    chosen = own or frames
    return f"{chosen[-1].filename}:{chosen[-1].lineno}: " if chosen else ""


if __name__ == "__main__":
    main()
