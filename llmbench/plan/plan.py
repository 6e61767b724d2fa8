"""A run before it runs: everything that can be wrong with suite, models, texts and folder is found
here, with exit code 2 and nothing done.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from llmbench import limits, storage
from llmbench.adapter import Adapter
from llmbench.config.model_card import Card
from llmbench.config.plugins import source_files
from llmbench.errors import Unavailable, UsageError, did_you_mean, drop_folders
from llmbench.hardware import machine
from llmbench.models.pretrained import files as pretrained_files
from llmbench.plan import registry, task_registry
from llmbench.plan import suite as plan_suite
from llmbench.plan.adapter_code import import_code, is_shipped
from llmbench.plan.resolved_model import ResolvedModel, resolve_model, with_facts
from llmbench.plan.suite import LEARNT, Suite
from llmbench.results.cell import CellRow, read_cell
from llmbench.tasks.task import Task
from llmbench.training.shared_cache import check_caches

WORDS = {
    "about",
    "estimate",
    "price",
    "published",
    "source",
    "licence",
    "stage",
    "family",
    "parent",
}  # parts of a card that change no number


@dataclass(frozen=True)
class Options:
    """The command line of a run. `named`, from Python only: name on the board -> SPEC or object."""

    models: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    out: Path | None = None
    device: str = "auto"
    dtype: str | None = None
    threads: int | None = None
    limit: int | None = None
    seed: int = 0
    timeout: float = limits.CELL_SECONDS
    offline: bool = False
    cache: Path | None = None
    cache_url: str | None = None  # of trained networks that machines share, beside the cache
    memory_budget: int | None = None
    price_per_hour: float | None = None
    named: Mapping[str, str | Adapter] = field(default_factory=dict)
    retrain_since: float | None = None  # see BuildContext
    workers: int = 1  # at work at once, where nothing is timed
    engine: str = "local"  # where they run; it changes no number

    def for_cells(self) -> Mapping[str, object]:
        """What can change a number."""
        return {"device": self.device, "dtype": self.dtype, "limit": self.limit, "seed": self.seed}

    @property
    def machine(self) -> str:
        """What times and memory are of: the machine, and how many of its threads."""
        return f"{machine.name()}, {self.threads or machine.cores()} threads"

    @property
    def device_kind(self) -> str:
        """`auto` resolved without torch, so that a folder begun on another kind of device is not
        taken for this one.
        """
        return self.device if self.device != "auto" else "cuda" if machine.gpus() else "cpu"


@dataclass(frozen=True)
class Plan:
    """A run, checked and ready.

    `models`: what is known of each, by name, in the order of the board. `keys`: (model, task) -> a
    hash of all that can change the cell's numbers. `lacks`: the cells that cannot be filled because
    a text or a checkpoint is unavailable, and the reason. `absent`: the suite's optional models
    that are left out because they are not on this machine, and how to get each.
    """

    suite: Suite
    models: Mapping[str, ResolvedModel]
    options: Options
    out: Path
    question: str
    keys: Mapping[tuple[str, str], str]
    lacks: Mapping[tuple[str, str], Unavailable] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def cards(self) -> list[Card]:
        """The models' cards, in the order of the board."""
        return [model.card for model in self.models.values()]

    @property
    def objects(self) -> dict[str, Adapter]:
        """The models that are objects of this process, by name."""
        named = self.options.named
        return {name: model for name, model in named.items() if isinstance(model, Adapter)}

    def cell_path(self, model: str, task: str) -> Path:
        return self.out / "cells" / model / f"{task}.json"

    def cell(self, model: str, task: str) -> CellRow | None:
        """The finished cell, if it is there, whole, and of this very question."""
        found = read_cell(self.cell_path(model, task))
        return found if found is not None and found["key"] == self.keys.get((model, task)) else None


def plan(spec: str, options: Options) -> Plan:
    """Read the suite and check all that can be checked without running a model.

    Raises UsageError for the first thing that is wrong.
    """
    _check_numbers(options)
    check_caches(options.cache, options.cache_url)
    machine.check_device(options.device)
    suite = plan_suite.read(spec)
    suite.load_texts(
        options.data, options.limit, options.seed, fetch=not options.offline, cache=options.cache
    )
    cards = suite.cards(list(options.models), list(options.only), options.named)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    out = options.out or Path("reports") / suite.name / stamp
    _check_out(out, suite)
    for card in cards:
        _check_adapter(card)
    models = {card.name: resolve_model(card) for card in cards}
    absent = _find_absent(suite, models, options)
    models = {name: model for name, model in models.items() if name not in absent}
    for model in models.values():
        _check_parts(model)
    others = _resolve_others(suite)
    found = import_code(
        [m for m in models.values() if not m.is_object and (m.is_outside or not is_shipped(m))]
    )
    models |= {name: with_facts(models[name], facts) for name, facts in found.items()}
    for model in models.values():
        _check_texts(model, suite)
    texts = {role: text.sha256 for role, text in suite.texts.items()}
    question = _digest([suite.sha256, texts, options.for_cells(), options.device_kind])
    cells = [(model, task) for model in models.values() for task in suite.tasks]
    lacks = {
        (model.name, task.name): lack
        for model, task in cells
        if (lack := _find_lack(suite, model, task)) is not None
    }
    keys = {
        (model.name, task.name): _key(suite, options, model, task, others[task.name])
        for model, task in cells
        if (model.name, task.name) not in lacks
    }
    for model in models.values():
        whole = _find_lacking_files(model, options)
        for task in suite.tasks:
            lack = whole or _find_lacking_other(others[task.name], options)
            if lack is not None:
                lacks.setdefault((model.name, task.name), lack)
    return Plan(suite, models, options, out, question, keys, lacks, absent)


def _check_numbers(options: Options) -> None:
    """UsageError for a number that is beyond all sense, as Python may give it."""
    price = options.price_per_hour
    if price is not None and not 0 < price < math.inf:
        raise UsageError(f"--price-per-hour {price} is not a price above 0")
    if not options.timeout > 0:
        raise UsageError(f"--timeout {options.timeout} is not a number of seconds above 0")
    if not re.fullmatch(r"local|ray|ray:(//)?[^/:\s]+:\d+", options.engine):
        raise UsageError(
            f"--engine {options.engine!r} is not an engine",
            hint="local, ray, ray:HOST:PORT, or ray://HOST:PORT",
        )
    if options.engine != "local" and options.workers != 1:
        raise UsageError(
            f"--workers {options.workers} is of --engine local",
            hint="a cluster has as many workers as it has room for, with --threads cores each",
        )
    for name, value, least, most in (
        ("seed", options.seed, 0, limits.SEED),
        ("limit", options.limit, 1, sys.maxsize),
        ("threads", options.threads, 1, limits.THREADS),
        ("workers", options.workers, 1, limits.WORKERS),
    ):
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{name} {value} is not from {least} to {most}")


def _find_lack(suite: Suite, model: ResolvedModel, task: Task.Settings) -> Unavailable | None:
    """Why a cell cannot be filled: a text of its task, or one that its model learns from, is not on
    this machine.
    """
    learnt = LEARNT if model.learns_from_suite else ()
    roles = [*task.text_roles().values(), *learnt]
    return next((suite.missing[role] for role in roles if role in suite.missing), None)


def _find_lacking_files(model: ResolvedModel, options: Options) -> Unavailable | None:
    """Why a checkpoint cannot be loaded: it is not on this machine, and the hub is out of reach.
    UsageError if its directory is wrong.
    """
    try:
        model.verify_files(options.offline)
    except Unavailable as error:
        return Unavailable(f"{error.where}: {error.what}", hint=error.hint)
    return None


def _find_lacking_other(others: Sequence[ResolvedModel], options: Options) -> Unavailable | None:
    """Why a model that a task loads beside the one that is asked cannot be loaded."""
    found = (_find_lacking_files(other, options) for other in others)
    return next((lack for lack in found if lack is not None), None)


def _resolve_others(suite: Suite) -> dict[str, list[ResolvedModel]]:
    """Return task -> the models that it loads beside the one that is asked. UsageError if one has
    no known adapter, or not all parts that this needs.
    """
    found = {
        task.name: [resolve_model(spec) for spec in task.list_models()] for task in suite.tasks
    }
    for model in (model for others in found.values() for model in others):
        _check_adapter(model.card)
        _check_parts(model)
        _check_texts(model, suite)
    return found


def _find_absent(
    suite: Suite, models: Mapping[str, ResolvedModel], options: Options
) -> dict[str, str]:
    """The optional models that are not on this machine, and how to get each. UsageError if there
    are no others.
    """
    lacks = {
        name: _find_lacking_files(models[name], options)
        for name in models
        if name in suite.optional
    }
    absent = {
        name: drop_folders(f"{lack.what}{f' ({lack.hint})' if lack.hint else ''}")
        for name, lack in lacks.items()
        if lack is not None
    }
    if len(absent) == len(models):
        raise UsageError(
            "all models of the suite are optional, and none is on this machine",
            where=str(suite.path),
            hint=next(iter(absent.values())),
        )
    return absent


def _key(
    suite: Suite,
    options: Options,
    model: ResolvedModel,
    task: Task.Settings,
    others: Sequence[ResolvedModel],
) -> str:
    facts: list[Any] = [_describe_card(model), task.model_dump(mode="json")]
    if model.is_object:
        facts.append(uuid4().hex)  # what an object computes cannot be told: measured in each run
    facts += _identify_weights(model)
    if task.process == "attempts":
        facts.append(options.memory_budget)
    if task.process != "shared":  # what a machine needs is no other machine's
        facts.append(options.machine)
    facts += [
        options.dtype,
        options.seed,
        options.device_kind,
        task_registry.task_class(task.task).protocol,
    ]
    facts += [suite.texts[role].sha256 for role in LEARNT if role in suite.texts]
    facts += [suite.texts[role].sha256 for role in task.text_roles().values()]
    facts += task_registry.source_digests(task.task)
    facts += _identify_code(model)
    for other in others:
        facts += [_describe_card(other), *_identify_weights(other), *_identify_code(other)]
    return _digest(facts)


def _describe_card(model: ResolvedModel) -> dict[str, Any]:
    """The parts of a model's card that can change a number."""
    return model.card.model_dump(mode="json", exclude=WORDS)


def _identify_weights(model: ResolvedModel) -> list[Any]:
    """What tells the files of a model's weights from others."""
    facts = list[Any]()
    if model.stages:
        facts += [
            [
                s.checkpoint.model_dump(mode="json"),
                s.recipe.model_dump(mode="json") if s.recipe else None,
            ]
            for s in model.stages
        ]
        facts.append(pretrained_files.identity(model.stages[0].checkpoint))
    return facts + model.identify_files()


def _identify_code(model: ResolvedModel) -> list[str]:
    """Digests of the files of a model's own classes."""
    network = model.card.network
    return [
        hashlib.sha256(file.read_bytes()).hexdigest()
        for spec in (model.adapter, network.cls if network else "")
        if ":" in spec
        for file in source_files(spec)
    ]


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _check_out(out: Path, suite: Suite) -> None:
    """A folder that holds another suite's run, or something else altogether, is refused."""
    if out.exists() and not out.is_dir():
        raise UsageError("--out is a file", where=str(out), hint="name a folder")
    mark = out / "suite.json"
    if mark.is_file():
        try:
            before = storage.read_sealed(mark)
        except storage.Damaged as error:
            raise UsageError(
                str(error), where=str(out), hint="choose another --out, or remove this folder"
            ) from None
        if (before.get("name"), before.get("sha256")) != (suite.name, suite.sha256):
            raise UsageError(
                f"this folder holds a run of the suite {before.get('name')!r} as it was then",
                where=str(out),
                hint="choose another --out",
            )
    elif out.is_dir() and any(out.iterdir()):
        raise UsageError(
            "--out is not empty and holds no run", where=str(out), hint="choose another folder"
        )


def _check_adapter(card: Card) -> None:
    """UsageError unless the card's adapter is registered, or written as a class."""
    if ":" in card.adapter or card.adapter in (registry.OBJECT, *registry.ADAPTERS):
        return
    known = registry.adapters()  # which reads all packages
    if card.adapter not in known:
        raise UsageError(
            f"unknown adapter {card.adapter!r}",
            where=card.name,
            hint=did_you_mean(card.adapter, known),
        )


def _check_parts(model: ResolvedModel) -> None:
    """UsageError unless the card has what its adapter needs."""
    card = model.card
    parts = {"network": card.network, "recipe": card.recipe, "checkpoint": card.checkpoint}
    for name in model.facts.required_parts:
        if parts[name] is None:
            raise UsageError(
                f"the card has no {name!r}, which the adapter {card.adapter!r} needs",
                where=card.name,
            )
    if card.checkpoint is not None and card.checkpoint.new is not None and card.recipe is None:
        raise UsageError(
            "the card has a new checkpoint and no 'recipe' to train it by", where=card.name
        )


def _check_texts(model: ResolvedModel, suite: Suite) -> None:
    """UsageError if the model learns from a training text and the suite has none."""
    _check_parts(model)  # of an adapter that was only now imported
    if model.facts.learns_from_text and not {"train"} & {*suite.texts, *suite.missing}:
        raise UsageError(
            "this model learns from a training text, and the suite has none",
            where=model.name,
            hint="add a text `train` to the suite",
        )
