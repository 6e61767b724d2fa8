"""YAML -> Suite: which texts, which tasks, which models. Strict; errors say file:line:column."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from llmbench.adapter import Adapter
from llmbench.config import strict_yaml
from llmbench.config.model_card import Card, NetworkSpec, Positive, Recipe, Share, VocabularySpec
from llmbench.config.strict_yaml import Strict
from llmbench.data import hub, loading
from llmbench.data.fields import PARTS, Fields, Part
from llmbench.data.text import Text
from llmbench.errors import Unavailable, UsageError, did_you_mean
from llmbench.metrics import registry as metrics_registry
from llmbench.metrics.facts import FACTS
from llmbench.metrics.hf_evaluate import PREFIX
from llmbench.plan import registry
from llmbench.results import tolerance
from llmbench.tasks.config import (
    ConditionalSpec,
    ContinuationSpec,
    MultipleChoiceSpec,
    Name,
    TaskSpec,
    Written,
    asked_about,
)

LEARNT = (
    "train",
    "valid",
    "domain",
    "domain_valid",
)  # the roles that models learn from, named like their fields in BuildContext


class Split(Strict):
    """How a text is cut into documents, or which part of it is taken: one of the three."""

    separator: str | None = Field(None, min_length=1)
    regex: str | None = Field(None, min_length=1)
    fraction: tuple[Share, Share] | None = Field(None, strict=False)

    @model_validator(mode="after")
    def _one(self) -> Split:
        given = [
            value for value in (self.separator, self.regex, self.fraction) if value is not None
        ]
        if len(given) != 1:
            raise ValueError("a split is exactly one of separator, regex, fraction")
        if self.fraction and not self.fraction[0] < self.fraction[1]:
            raise ValueError("the fraction must rise, as in [0.9, 1.0]")
        return self


class HubSpec(Strict):
    """Which strings of a data set make the text: a field, one document a row."""

    config: str | None = None
    split: str = "test"
    field: str = "text"
    join: Literal["lines"] | None = Field(
        default=None,
        description="lines: the rows are one document's lines, joined with nothing between",
    )


class Origin(Strict):
    """Where a text comes from: `fables`, `storyworld`, a file, or hub:ID, a data set on the hub (or
    its folder; paths are relative to the suite).
    """

    source: str | None = None
    hub: HubSpec | None = None

    @model_validator(mode="after")
    def _of_the_hub(self) -> Origin:
        if self.hub is not None and not (self.source or "").startswith("hub:"):
            raise ValueError("`hub` needs a source of the form hub:ID")
        return self


class SourceSpec(Origin):
    """What --data NAME=PATH gives, and where it comes from if the user need not bring it."""

    about: str


class TextSpec(Origin):
    """A text: an origin, or the name of one of the suite's sources; and how it is cut."""

    source: str
    split: Split | None = None
    select: dict[str, str] = {}
    fields: dict[Part, Annotated[str | list[str], Field(min_length=1)]] = Field(
        {},
        description=(
            "what these are called in a file or a data set; a.b is a field in a field; of several"
            " names the first that is there counts"
        ),
    )


class NetworkChange(Strict):
    """Arguments of the network to set differently."""

    arguments: dict[str, int | float | bool | str] = {}


class ModelEntry(Strict):
    """A model, with parts of its card changed for this suite."""

    model: str
    name: Name | None = None
    network: NetworkChange | None = None
    vocabulary: dict[str, int | str] = {}
    recipe: dict[str, int | float] = {}


def _described(value: Any) -> Any:
    return {"about": value} if isinstance(value, str) else value


class SuiteFile(Strict):
    """A suite's YAML file."""

    name: Name
    version: Positive
    about: str = ""
    sources: dict[
        Name,
        Annotated[SourceSpec, BeforeValidator(_described, json_schema_input_type=str | SourceSpec)],
    ] = Field(
        {},
        description=(
            "texts that --data NAME=PATH gives: what each is, and where it comes from otherwise"
        ),
    )
    texts: dict[Name, TextSpec] = Field(
        description="by role; `train` and `valid` are what networks learn from"
    )
    tasks: list[TaskSpec] = Field(min_length=1)
    models: list[str | ModelEntry] = []
    gate: dict[str, float | str] = Field(
        {},
        description=(
            "metric -> the loss that `llmbench gate` allows, as in 0.01, or in 10% of what it was"
        ),
    )


class Suite:
    """A suite, read and checked: `texts` loaded, `cards` resolved, `tasks` in order. `missing`:
    roles whose texts cannot be had here, and why.
    """

    def __init__(self, path: Path, file: SuiteFile, places: strict_yaml.Places):
        self.path, self.file, self._places = path, file, places
        self.name, self.version, self.tasks = file.name, file.version, list(file.tasks)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.texts: dict[str, Text] = {}
        self.missing: dict[str, Unavailable] = {}

    def where(self, *at: str | int) -> str:
        """file:line:column of a place in the file."""
        return strict_yaml.place(self.path, self._places, at)

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
        for name, value in given.items():
            if value.startswith("hub:"):
                raise UsageError(
                    f"--data {name}: expected a local file, got a Hub dataset",
                    hint="name it in a suite instead: source: hub:ID",
                )
            if name not in self.file.sources and name not in self.file.texts:
                raise UsageError(
                    f"--data {name}: the suite has no such text",
                    hint=did_you_mean(name, [*self.file.sources, *self.file.texts]),
                )
        rows = partial(hub.text_file, cache=cache, fetch=fetch)
        self.texts, self.missing = {}, {}
        asked = {asked_about(task) for task in self.tasks}
        for role, spec in self.file.texts.items():
            try:
                text = self._load(role, spec, given, rows)
            except Unavailable as error:
                self.missing[role] = error
                continue
            self.texts[role] = (
                text.sample(limit, seed) if role in asked and role not in LEARNT else text
            )
        for i, task in enumerate(self.tasks):
            self._check_documents(task, self.where("tasks", i))

    def _check_documents(self, task: TaskSpec, where: str) -> None:
        """UsageError where a task asks for what a document of its text does not have."""
        text = self.texts.get(asked_about(task) or "")
        if text is None:
            return
        if isinstance(task, ContinuationSpec):
            size = task.prompt_bytes + task.max_bytes
            if not any(len(document.text.encode()) >= size + 2 for document in text.documents):
                raise UsageError(
                    f"no document of the text {text.name!r} has {size:,} bytes",
                    where=where,
                    hint="smaller `prompt_bytes` and `max_bytes`",
                )
        for document in text.documents:
            if isinstance(task, ConditionalSpec | Written) and not document.context:
                hint = "pairs stand in a .jsonl file, in the fields `given` and `text`"
                raise UsageError(
                    f"{document.id!r} of the text {text.name!r} has no source",
                    where=where,
                    hint=hint,
                )
            if isinstance(task, MultipleChoiceSpec) and not document.choices:
                hint = (
                    "questions stand in a .jsonl file, in the fields `given`, `choices` and `gold`"
                )
                raise UsageError(
                    f"{document.id!r} of the text {text.name!r} has no candidates",
                    where=where,
                    hint=hint,
                )

    def _load(
        self, role: str, spec: TextSpec, given: Mapping[str, str], rows: Callable[[hub.Rows], Path]
    ) -> Text:
        if role in given:
            return loading.load(role, given[role], fields=spec.fields)
        split = None if spec.split is None else spec.split.model_dump(exclude_none=True)
        at, source, chosen = ("texts", role), spec.source, spec.hub
        if source in self.file.sources:
            at, origin = ("sources", source), self.file.sources[source]
            if source in given:
                return loading.load(role, given[source], split, spec.select, fields=spec.fields)
            if origin.source is None:
                raise UsageError(
                    f"the suite needs a text: {origin.about}",
                    where=self.where(*at),
                    hint=f"give it with --data {source}=PATH",
                )
            source, chosen = origin.source, origin.hub
        if source in loading.SOURCES:
            return loading.load(role, source, split, spec.select)
        if source.startswith("hub:"):
            chosen = chosen or HubSpec()
            fields: Fields = (
                spec.fields if "choices" in spec.fields else {"text": chosen.field, **spec.fields}
            )
            columns = _columns(fields, spec.select) if spec.fields or spec.select else ()
            file = self._fetched(source, chosen, at, rows, columns)
            return loading.load(
                role,
                file,
                split,
                spec.select,
                join=chosen.join == "lines",
                fields=fields if columns else None,
            )
        path = self.path.parent / source
        if not path.is_file():
            hint = did_you_mean(source, [*loading.SOURCES, *self.file.sources])
            raise UsageError(
                f"there is no text {source!r}", where=self.where(*at, "source"), hint=hint
            )
        return loading.load(role, path, split, spec.select, fields=spec.fields)

    def _fetched(
        self,
        source: str,
        chosen: HubSpec,
        at: tuple[str, str],
        rows: Callable[[hub.Rows], Path],
        columns: tuple[str, ...],
    ) -> Path:
        """The file with the rows of a data set on the hub, or of a folder beside the suite."""
        id = source.removeprefix("hub:")
        folder = self.path.parent / id
        try:
            place = str(folder.resolve()) if id and folder.is_dir() else id
            return rows(hub.Rows(place, chosen.config, chosen.split, chosen.field, columns))
        except UsageError as error:
            raise UsageError(
                f"{source}: {error.what}", where=self.where(*at, "hub"), hint=error.hint
            ) from None
        except Unavailable as error:
            raise Unavailable(
                error.what, hint=f"{error.hint}; or give a file with --data {at[1]}=PATH"
            ) from None

    def cards(
        self, more: list[str], only: list[str], named: Mapping[str, str | Adapter] | None = None
    ) -> list[Card]:
        """The cards of the suite's models, of `more` and of `named`, reduced to those in `only`."""
        found = [self._card(entry, i) for i, entry in enumerate(self.file.models)]
        found += [registry.resolve(spec) for spec in more]
        found += [registry.name_card(name, model) for name, model in (named or {}).items()]
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
        found = [card for card in found if not only or card.name in only]
        if not found:
            raise UsageError(
                "there are no models to run", where=str(self.path), hint="add some with --model"
            )
        return found

    def _card(self, entry: str | ModelEntry, at: int) -> Card:
        spec = entry if isinstance(entry, str) else entry.model
        try:
            base = registry.resolve(_beside(spec, self.path.parent))
        except UsageError as error:
            if error.where:
                raise
            raise UsageError(error.what, where=self.where("models", at), hint=error.hint) from None
        if isinstance(entry, str):
            return base
        changes: dict[str, Any] = {"name": entry.name or base.name}
        if entry.network:
            network = base.network or self._refuse("network", base, at)
            changes["network"] = NetworkSpec.model_validate(
                {
                    "class": network.cls,
                    "arguments": {**network.arguments, **entry.network.arguments},
                }
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

    def _refuse(self, what: str, card: Card, at: int) -> Any:
        raise UsageError(
            f"{card.name} has no {what} to change", where=self.where("models", at, what)
        )

    def _merge(
        self, kind: type[Any], old: Strict, changes: Mapping[str, Any], *at: str | int
    ) -> Any:
        """The part of a card with changes; a wrong one is reported at its own line."""
        places = {
            path[len(at) :]: spot for path, spot in self._places.items() if path[: len(at)] == at
        }
        return strict_yaml.check(kind, {**old.model_dump(), **changes}, places, self.path)


def _columns(fields: Fields, select: Mapping[str, str]) -> tuple[str, ...]:
    """The fields of a data set that may hold the parts of a pair or a question, renamed or not, and
    those that choose its rows.
    """
    named = [fields.get(part, part) for part in PARTS]
    names = [name for found in named for name in ([found] if isinstance(found, str) else found)]
    return tuple(sorted({name.partition(".")[0] for name in names} | set(select)))


def _beside(spec: str, folder: Path) -> str:
    """Paths in a suite are relative to the suite."""
    file = re.match(r"(.+\.(?:py|ya?ml))(:.*)?$", spec)
    return str((folder / file[1]).resolve()) + (file[2] or "") if file else spec


def read(spec: str) -> Suite:
    """The suite at a path or of a shipped name."""
    path = registry.suite_path(spec)
    raw, places = strict_yaml.read(path)
    if raw is None:
        raise UsageError("the file is empty", where=str(path))
    file = strict_yaml.check(SuiteFile, raw, places, path)
    suite = Suite(path, file, places)
    for name, loss in file.gate.items():
        _check_gate(name, loss, suite.where("gate", name))
    names = [task.name for task in file.tasks]
    for i, task in enumerate(file.tasks):
        if names.count(task.name) > 1:
            raise UsageError(
                f"two tasks are called {task.name!r}",
                where=suite.where("tasks", i),
                hint="give one another `name`",
            )
        for name in getattr(task, "metrics", None) or ():
            try:
                metrics_registry.check(name, "train" in file.texts)
            except UsageError as error:
                raise UsageError(
                    error.what, where=suite.where("tasks", i, "metrics"), hint=error.hint
                ) from None
        for key in ("text", "shots_from" if getattr(task, "shots", 0) else ""):
            text = getattr(task, key, None) if key else None
            if text is not None and text not in file.texts:
                raise UsageError(
                    f"unknown text {text!r}",
                    where=suite.where("tasks", i, key),
                    hint=did_you_mean(text, file.texts),
                )
    return suite


def _check_gate(name: str, loss: float | str, where: str) -> None:
    """UsageError where a gate names no metric, or no loss."""
    tolerance.parse(loss, where)
    known = list(FACTS)
    if name.partition(":")[0].partition("@")[0] not in (*known, PREFIX.rstrip(":")):
        raise UsageError(
            f"no metric is called {name!r}", where=where, hint=did_you_mean(name, known)
        )


def schema() -> dict[str, Any]:
    """JSON schema of suite files, for editors."""
    return SuiteFile.model_json_schema()
