"""A run before it runs: everything that can be wrong with suite, models, texts and folder is found
here, with exit code 2 and nothing done.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from llmbench.adapter import Adapter
from llmbench.config.model_card import Card
from llmbench.config.plugins import source_files
from llmbench.data import hub
from llmbench.errors import Unavailable, UsageError, did_you_mean
from llmbench.hardware import machine
from llmbench.models.pretrained import files as pretrained_files
from llmbench.plan import registry, task_registry
from llmbench.plan import suite as plan_suite
from llmbench.plan.suite import LEARNT, Suite
from llmbench.results.cell import read_cell
from llmbench.tasks.task import Task
from llmbench.training.cache import ADAPTER_SOURCES

DEFAULT_TIMEOUT = 3600.0
CHECK_TIMEOUT = 120.0  # seconds for importing all model files
WORDS = {
    "about",
    "estimate",
    "published",
    "source",
    "licence",
    "stage",
    "family",
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
    timeout: float = DEFAULT_TIMEOUT
    offline: bool = False
    cache: Path | None = None
    memory_budget: int | None = None
    price_per_hour: float | None = None
    named: Mapping[str, str | Adapter] = field(default_factory=dict)

    def for_cells(self) -> dict[str, Any]:
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
    """A run, checked and ready. `keys`: (model, task) -> all that can change the cell's numbers,
    hashed once, before anything runs.

    `lacks`: the cells that cannot be filled because a text cannot be had here, and why.
    """

    suite: Suite
    cards: list[Card]
    options: Options
    out: Path
    question: str
    keys: Mapping[tuple[str, str], str]
    lacks: Mapping[tuple[str, str], Unavailable] = field(default_factory=dict)

    @property
    def objects(self) -> dict[str, Adapter]:
        """The models that are objects of this process, by name."""
        named = self.options.named
        return {name: model for name, model in named.items() if isinstance(model, Adapter)}

    def cell_path(self, model: str, task: str) -> Path:
        return self.out / "cells" / model / f"{task}.json"

    def cell(self, model: str, task: str) -> dict[str, Any] | None:
        """The finished cell, if it is there, whole, and of this very question."""
        found = read_cell(self.cell_path(model, task))
        return found if found is not None and found["key"] == self.keys.get((model, task)) else None


def plan(spec: str, options: Options) -> Plan:
    """Read and check everything that can be checked without running a model; UsageError where
    something is wrong.
    """
    if not options.timeout > 0:
        raise UsageError(f"--timeout {options.timeout} is not a number of seconds above 0")
    suite = plan_suite.read(spec)
    suite.load_texts(
        options.data, options.limit, options.seed, fetch=not options.offline, cache=options.cache
    )
    cards = suite.cards(list(options.models), list(options.only), options.named)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    out = options.out or Path("reports") / suite.name / stamp
    _check_out(out, suite)
    for card in cards:
        if card.adapter != registry.OBJECT:
            _check_card(card, suite)
    texts = {role: text.sha256 for role, text in suite.texts.items()}
    question = _digest([suite.sha256, texts, options.for_cells(), options.device_kind])
    cells = [(card, task) for card in cards for task in suite.tasks]
    lacks = {
        (card.name, task.name): lack
        for card, task in cells
        if (lack := _lack(suite, card, task)) is not None
    }
    keys = {
        (card.name, task.name): _key(suite, options, card, task)
        for card, task in cells
        if (card.name, task.name) not in lacks
    }
    for card in cards:
        lack = _unfetched(card, options)
        lacks |= {
            (card.name, task.name): lack
            for task in suite.tasks
            if lack is not None and (card.name, task.name) not in lacks
        }
    _check_code(
        [
            card
            for card in cards
            if card.adapter != registry.OBJECT
            and (registry.is_outside(card) or not _as_shipped(card))
        ]
    )
    return Plan(suite, cards, options, out, question, keys, lacks)


def _lack(suite: Suite, card: Card, task: Task.Settings) -> Unavailable | None:
    """Why a cell cannot be filled: a text that its task asks about or takes examples from, or that
    its model learns from, cannot be had here.
    """
    roles = [*task.text_roles().values(), *(LEARNT if _learns(card) else ())]
    return next((suite.missing[role] for role in roles if role in suite.missing), None)


def _unfetched(card: Card, options: Options) -> Unavailable | None:
    """Why a checkpoint cannot be loaded: it is not on this machine, and cannot be fetched.
    UsageError where its directory is wrong.
    """
    first = registry.lineage(card)[0].checkpoint if card.checkpoint else None
    if (
        first is None
        or first.id is None
        or (not pretrained_files.is_directory(first.id) and not options.offline and hub.reachable())
    ):
        return None  # nothing to look for, or the worker asks the hub
    try:
        pretrained_files.verify(
            pretrained_files.locate(first.id, first.revision), first.trust_remote_code
        )
    except Unavailable as error:
        return Unavailable(f"{error.where}: {error.what}", hint=error.hint)
    return None


def _learns(card: Card) -> bool:
    """Whether a card says that its model learns from the suite's texts. Of a model of one's own,
    the worker finds out.
    """
    general = card.checkpoint is not None and card.checkpoint.learns == "general"
    return (
        card.network is not None or card.recipe is not None or card.adapter == "byte-ngram"
    ) and not general


def _key(suite: Suite, options: Options, card: Card, task: Task.Settings) -> str:
    facts: list[Any] = [card.model_dump(mode="json", exclude=WORDS), task.model_dump(mode="json")]
    if card.adapter == registry.OBJECT:
        facts.append(uuid4().hex)  # what an object computes cannot be told: measured in each run
    if card.checkpoint:
        stages = registry.lineage(card)
        facts += [
            [
                s.checkpoint.model_dump(mode="json"),
                s.recipe.model_dump(mode="json") if s.recipe else None,
            ]
            for s in stages
        ]
        facts.append(pretrained_files.identity(stages[0].checkpoint))
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
    for spec in (
        registry.adapters().get(card.adapter, card.adapter),
        card.network.cls if card.network else "",
    ):
        if ":" in spec:
            facts += [hashlib.sha256(file.read_bytes()).hexdigest() for file in source_files(spec)]
    return _digest(facts)


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _check_out(out: Path, suite: Suite) -> None:
    """A folder that holds another suite's run, or something else altogether, is refused."""
    if out.exists() and not out.is_dir():
        raise UsageError("--out is a file", where=str(out), hint="name a folder")
    mark = out / "suite.json"
    if mark.is_file():
        try:
            before = json.loads(mark.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
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


def _check_card(card: Card, suite: Suite) -> None:
    """What a card needs, as far as it can be told without importing its code."""
    known = registry.adapters()
    if card.adapter not in known and ":" not in card.adapter:
        raise UsageError(
            f"unknown adapter {card.adapter!r}",
            where=card.name,
            hint=did_you_mean(card.adapter, known),
        )
    if card.adapter in ADAPTER_SOURCES:
        for part in ("network", "recipe"):
            if getattr(card, part) is None:
                raise UsageError(
                    f"the card has no {part!r}, which the adapter {card.adapter!r} needs",
                    where=card.name,
                )
    if card.adapter == "huggingface" and card.checkpoint is None:
        raise UsageError(
            "the card has no 'checkpoint', which the adapter 'huggingface' needs", where=card.name
        )
    if card.checkpoint is not None and card.checkpoint.new is not None and card.recipe is None:
        raise UsageError(
            "the card has a new checkpoint and no 'recipe' to train it by", where=card.name
        )
    if card.adapter in (*ADAPTER_SOURCES, "byte-ngram") and not {"train"} & {
        *suite.texts,
        *suite.missing,
    }:
        raise UsageError(
            "this model learns from a training text, and the suite has none",
            where=card.name,
            hint="add a text `train` to the suite",
        )


def _as_shipped(card: Card) -> bool:
    """Whether adapter and arguments are a shipped card's, or change nothing but values of arguments
    that it has.
    """
    if card.adapter == "huggingface":
        return True
    for name in registry.names("baselines"):
        base = registry.resolve(name)
        if base.adapter == card.adapter and base.arguments == card.arguments:
            if card.network is None or base.network is None:
                return card.network is base.network
            if (
                base.network.cls == card.network.cls
                and card.network.arguments.keys() <= base.network.arguments.keys()
            ):
                return True
    return False


def _check_code(cards: Sequence[Card]) -> None:
    """Import their code in a short child process, so that what is wrong with it is said before
    anything runs and the parent stays light.
    """
    if not cards:
        return
    job = json.dumps({"cards": [card.model_dump(mode="json", by_alias=True) for card in cards]})
    command = [sys.executable, "-P", "-m", "llmbench.runner.worker", "--check"]
    try:
        done = subprocess.run(
            command,
            input=job + "\n",
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"importing the model files took longer than {CHECK_TIMEOUT:g} s",
            where=", ".join(card.name for card in cards),
        ) from None
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    if findings:
        raise UsageError(findings[0]["what"], where=findings[0]["where"], hint=findings[0]["hint"])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(
            f"importing the model files ended the process (exit code {done.returncode}): {last}",
            where=cards[0].name,
        )
