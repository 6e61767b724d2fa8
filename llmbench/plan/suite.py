"""YAML -> Suite: which texts, which tasks, which models. Strict; errors say file:line:column."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from llmbench.adapter import Adapter
from llmbench.config import strict_yaml
from llmbench.config.model_card import Card, NetworkSpec, Recipe, VocabularySpec, resolve_path
from llmbench.config.strict_yaml import Strict
from llmbench.data import hub
from llmbench.data.text import DocumentError, Text
from llmbench.errors import LlmbenchError, Unavailable, UsageError, did_you_mean
from llmbench.metrics import registry as metrics_registry
from llmbench.metrics.facts import FACTS
from llmbench.metrics.hf_evaluate import PREFIX
from llmbench.models.pretrained import steps
from llmbench.plan import registry, task_registry
from llmbench.plan.suite_file import ModelEntry, SuiteFile
from llmbench.plan.texts import TextLoader
from llmbench.results import gate
from llmbench.tasks.answers.centring import CENTRED
from llmbench.tasks.task import Task

LEARNT = (
    "train",
    "valid",
    "domain",
    "domain_valid",
)  # the roles that models learn from, named like their fields in BuildContext


Part = TypeVar("Part", bound=Strict)


class Suite:
    """A suite, read and checked: `texts` loaded, `cards` resolved, `tasks` in order. `missing`:
    roles whose texts are unavailable, and why. `optional`: names of the cards that are left out if
    their weights are not on this machine; those that `only` names are asked for. `not_asked`: names
    of the others, if there is an `only`.
    """

    def __init__(self, path: Path, file: SuiteFile, places: strict_yaml.Places):
        self.path, self.file, self._places = path, file, places
        self.name, self.version = file.name, file.version
        found = [
            (task, i)
            for i, entry in enumerate(file.tasks)
            for task in self._expand(self._task(entry.model_dump(), i), i)
        ]
        self.tasks = [task for task, _ in found]
        self._entries = [i for _, i in found]  # of each task the number of its entry
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.texts: dict[str, Text] = {}
        self.missing: dict[str, Unavailable] = {}
        self.optional: frozenset[str] = frozenset()
        self.not_asked: list[str] = []

    def _task(self, entry: dict[str, object], at: int) -> Task.Settings:
        """The settings of an entry, checked by the task's own model."""
        folder = self.path.parent
        entry["task"] = place_spec(str(entry["task"]), folder)
        metrics = entry.get("metrics")
        if isinstance(metrics, list):
            anchor = metrics_registry.anchor_metric
            entry["metrics"] = [anchor(m, folder) if isinstance(m, str) else m for m in metrics]
        try:
            kind = task_registry.task_class(str(entry["task"])).Settings
        except UsageError as error:
            where = error.where or self.where("tasks", at, "task")
            raise UsageError(error.what, where=where, hint=error.hint) from None
        for key in kind.path_keys:
            if isinstance(path := entry.get(key), str):
                entry[key] = str(resolve_path(path, folder))
        for key in kind.model_keys:
            if isinstance(spec := entry.get(key), str):
                entry[key] = place_spec(spec, folder)
                self._resolve(str(entry[key]), "tasks", at, key)
        return strict_yaml.check(kind, entry, self._places_under("tasks", at), self.path)

    def _expand(self, task: Task.Settings, at: int) -> list[Task.Settings]:
        """The tasks that an entry stands for."""
        try:
            return task.expand()
        except UsageError as error:
            where = error.where or self.where("tasks", at)
            raise UsageError(error.what, where=where, hint=error.hint) from None

    def _places_under(self, *at: str | int) -> strict_yaml.Places:
        """The places of a part of the file, by paths inside it."""
        return {
            path[len(at) :]: spot for path, spot in self._places.items() if path[: len(at)] == at
        }

    def where(self, *at: str | int) -> str:
        """file:line:column of a place in the file."""
        return strict_yaml.place(self.path, self._places, at)

    def where_task(self, number: int, *at: str | int) -> str:
        """file:line:column of the entry of a task, or of a place in it."""
        return self.where("tasks", self._entries[number], *at)

    def _find_shown_fields(self) -> dict[str, list[str]]:
        """Return role -> the other fields of its rows that templates show."""
        shown: dict[str, list[str]] = {}
        for task in self.tasks:
            for role in task.text_roles().values():
                shown.setdefault(role, []).extend(task.field_names())
        return shown

    def load_texts(
        self,
        given: Mapping[str, str],
        limit: int | None = None,
        seed: int = 0,
        fetch: bool = True,
        cache: Path | None = None,
    ) -> None:
        """Read every text that can be had; `given` is --data. `limit` samples the documents of
        texts that tasks ask about.

        `fetch`: data sets may be asked of the hub, and are kept under `cache`.
        """
        rows = partial(hub.text_file, cache=cache, fetch=fetch)
        loader = TextLoader(
            self.path, self.file, self._places, given, rows, self._find_shown_fields()
        )
        loader.check_given()
        self.texts, self.missing = {}, {}
        asked = {task.text for task in self.tasks}
        used = {role for task in self.tasks for role in task.text_roles().values()}
        idle = {role for task in self.tasks for role in task.list_idle_roles()} - used - {*LEARNT}
        for role, spec in self.file.texts.items():
            if role in idle and loader.is_remote(role, spec):
                continue  # examples of a suite that asks without
            try:
                text = loader.load(role, spec)
            except Unavailable as error:
                self.missing[role] = error
                continue
            sampled = role in asked and role not in LEARNT
            self.texts[role] = text.sample(limit, seed) if sampled else text
        for i, task in enumerate(self.tasks):
            if task.brings_text and task.text is not None:
                try:
                    self.texts[task.text] = task.load_text(limit, seed, fetch)
                except Unavailable as error:
                    self.missing[task.text] = error
                except UsageError as error:
                    where = error.where or self.where_task(i)
                    raise UsageError(error.what, where=where, hint=error.hint) from None
            if task.text in self.texts:
                self._check_texts(task, self.texts[task.text], self.where_task(i), loader)

    def _check_texts(self, task: Task.Settings, text: Text, where: str, loader: TextLoader) -> None:
        """Raise UsageError if a task cannot ask about its text, or with its other texts."""
        try:
            task.check(text)
            if set(task.text_roles().values()) <= self.texts.keys():
                task.check_texts(self.texts)
        except DocumentError as error:
            raise loader.locate(error, where) from None
        except UsageError as error:
            raise UsageError(error.what, where=where, hint=error.hint) from None
        except (LlmbenchError, KeyboardInterrupt):
            raise
        except Exception as error:  # a task from outside
            what = f"{task.task}: `check` raised {type(error).__name__}: {error}"
            raise UsageError(what, where=where) from error

    def cards(
        self, more: list[str], only: list[str], named: Mapping[str, str | Adapter] | None = None
    ) -> list[Card]:
        """The cards of the suite's models, or of those in `only`, and of `more` and `named`."""
        entries = [
            (card, entry)
            for i, entry in enumerate(self.file.models)
            for card in self._list_cards(entry, i)
        ]
        own = [card for card, _ in entries]
        self.optional = frozenset(
            card.name
            for card, entry in entries
            if isinstance(entry, ModelEntry) and entry.optional and card.name not in only
        )
        added = [card for spec in more for card in registry.resolve_all(spec)]
        added += [registry.name_card(name, model) for name, model in (named or {}).items()]
        found = own + added
        names = [card.name for card in found]
        folded = [
            name.casefold() for name in names
        ]  # each has a folder, and some file systems do not tell A from a
        for name in names:
            if folded.count(name.casefold()) > 1:
                raise UsageError(
                    f"two models are called {name!r}",
                    hint="give one another `name` in a card or in the suite",
                )
        for name in only:
            if name not in names:
                raise UsageError(
                    f"--only {name}: no such model in this run", hint=did_you_mean(name, names)
                )
        self.not_asked = [card.name for card in own if only and card.name not in only]
        found = [card for card in own if not only or card.name in only] + added
        if not found:
            raise UsageError(
                "there are no models to run", where=str(self.path), hint="add some with --model"
            )
        return found

    def _list_cards(self, entry: str | ModelEntry, at: int) -> list[Card]:
        """The card of an entry; of a pattern of checkpoints, that of each."""
        if isinstance(entry, str) and steps.is_pattern(entry):
            try:
                return registry.resolve_all(entry)
            except UsageError as error:
                where = self.where("models", at)
                raise UsageError(
                    f"{error.where}: {error.what}", where=where, hint=error.hint
                ) from None
        return [self._card(entry, at)]

    def _card(self, entry: str | ModelEntry, at: int) -> Card:
        spec = entry if isinstance(entry, str) else entry.model
        key = () if isinstance(entry, str) else ("model",)
        base = self._resolve(place_spec(spec, self.path.parent), "models", at, *key)
        if isinstance(entry, str):
            return base
        changes: dict[str, object] = {"name": entry.name or base.name}
        if entry.network:
            network = base.network or self._refuse("network", base, at)
            arguments = {**network.arguments, **entry.network.arguments}
            changes["network"] = self._merge(
                NetworkSpec, network, {"arguments": arguments}, "models", at, "network"
            )
        if entry.vocabulary:
            vocabulary = base.vocabulary or VocabularySpec()
            changes["vocabulary"] = self._merge(
                VocabularySpec, vocabulary, entry.vocabulary, "models", at, "vocabulary"
            )
        if entry.recipe:
            recipe = base.recipe or self._refuse("recipe", base, at)
            changes["recipe"] = self._merge(Recipe, recipe, entry.recipe, "models", at, "recipe")
        return base.model_copy(update=changes)

    def _resolve(self, spec: str, *at: str | int) -> Card:
        """The card of a SPEC that stands in the file."""
        try:
            return registry.resolve(spec)
        except UsageError as error:
            where = error.where or self.where(*at)
            raise UsageError(error.what, where=where, hint=error.hint) from None

    def name_judge(self, at: int) -> str:
        """Return the SPEC of a judge. UsageError, with its place, if it names no model."""
        spec = place_spec(self.file.judges[at].model, self.path.parent)
        self._resolve(spec, "judges", at, "model")
        return spec

    def _refuse(self, what: str, card: Card, at: int) -> NoReturn:
        raise UsageError(
            f"{card.name} has no {what} to change", where=self.where("models", at, what)
        )

    def _merge(
        self, kind: type[Part], old: Strict, changes: Mapping[str, object], *at: str | int
    ) -> Part:
        """The part of a card with changes; a wrong one is reported at its own line."""
        places = self._places_under(*at)
        return strict_yaml.check(
            kind, {**old.model_dump(by_alias=True), **changes}, places, self.path
        )


def place_spec(spec: str, folder: Path) -> str:
    """Return a SPEC of a suite with its path, which is relative to the suite, from `folder`."""
    file = re.match(r"(.+\.(?:py|ya?ml))([:?].*)?$", spec)
    return f"{resolve_path(file[1], folder)}{file[2] or ''}" if file else spec


def read_file(spec: str) -> tuple[Path, SuiteFile, strict_yaml.Places]:
    """Return the path of a suite, its keys, and their places; tasks are not checked."""
    path = registry.suite_path(spec)
    raw, places = strict_yaml.read(path)
    if raw is None:
        raise UsageError("the file is empty", where=str(path))
    return path, strict_yaml.check(SuiteFile, raw, places, path), places


def read(spec: str) -> Suite:
    """The suite at a path or of a shipped name."""
    path, file, places = read_file(spec)
    suite = Suite(path, file, places)
    custom: list[str] = []
    names = [task.name for task in suite.tasks]
    for i, task in enumerate(suite.tasks):
        if names.count(task.name) > 1:
            raise UsageError(
                f"two tasks are called {task.name!r}",
                where=suite.where_task(i),
                hint="give one another `name`",
            )
        at = partial(suite.where_task, i, "metrics")
        custom += _check_metrics(task.metric_names(), "train" in file.texts, at)
        for key, role in task.text_roles().items():
            if role not in file.texts and not task.brings_text:
                hint = did_you_mean(role, file.texts)
                if key not in task.model_fields_set:
                    hint = "; ".join(filter(None, [f"`{key}` names another one", hint]))
                where = suite.where_task(i, key)
                raise UsageError(f"unknown text {role!r}", where=where, hint=hint)
    for name, metric in file.averages.items():
        _check_average(suite, name, metric)
    for i, judge in enumerate(file.judges):
        suite.name_judge(i)
        if judge.of not in names:
            where, hint = suite.where("judges", i, "of"), did_you_mean(judge.of, names)
            raise UsageError(f"no task is called {judge.of!r}", where=where, hint=hint)
    for name, loss in file.gate.items():
        _check_gate(name, loss, custom, suite.where("gate", name))
    return suite


def _check_metrics(
    metrics: Sequence[str], has_train: bool, find_place: Callable[[int], str]
) -> list[str]:
    """The names that the metrics of a task have in a record. UsageError, with the place in the
    suite (`find_place` of a metric's number) or in a metric's own file, if one cannot be used, or
    if two have the same name.
    """
    names: list[str] = []
    identities: list[str] = []
    for number, metric in enumerate(metrics):
        where = find_place(number)
        try:
            names.append(metrics_registry.check_metric(metric, has_train))
        except UsageError as error:
            raise UsageError(error.what, where=error.where or where, hint=error.hint) from None
        is_bleu = names[-1] == "bleu"
        identities.append(metrics_registry.identify_metric(metric) if is_bleu else names[-1])
        if identities.count(identities[-1]) > 1:
            raise UsageError(f"two metrics are called {identities[-1]!r}", where=where)
    return names


def _check_average(suite: Suite, name: str, metric: str) -> None:
    """UsageError if a mean over all tasks is called like one of them, or one lacks its metric."""
    where = suite.where("averages", name)
    for task in suite.tasks:
        if task.name == name:
            raise UsageError(f"a task is called {name!r}, too", where=where)
        if metric not in task.list_averaged():
            raise UsageError(
                f"{name} is the mean of {metric}, which the task {task.name!r} does not have",
                where=where,
                hint="give each task a `baseline`" if metric == CENTRED.name else "",
            )


def _check_gate(name: str, loss: float | str, custom: Sequence[str], where: str) -> None:
    """UsageError if a gate names no metric, or no loss. `custom`: metrics of the suite's tasks."""
    gate.parse_allowance(loss, where)
    known = [*FACTS, *custom]
    if name.partition(":")[0].partition("@")[0] not in (*known, PREFIX.rstrip(":")):
        raise UsageError(
            f"no metric is called {name!r}", where=where, hint=did_you_mean(name, known)
        )


def schema() -> dict[str, object]:
    """JSON schema of suite files, for editors."""
    found: dict[str, object] = SuiteFile.model_json_schema()
    entries: list[object] = [
        {"type": "object", "required": ["task"], "properties": {"task": {"pattern": ":"}}}
    ]
    for name in task_registry.tasks():
        entry = task_registry.task_class(name).Settings.model_json_schema()
        entry["properties"]["task"] = {"const": name}
        entries.append({**entry, "title": name})
    properties = found["properties"]
    assert isinstance(properties, dict)
    properties["tasks"] = {**properties["tasks"], "items": {"anyOf": entries}}
    return found
