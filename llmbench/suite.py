"""YAML -> Suite: which texts, which tasks, which models. Strict; errors say file:line:column."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llmbench import data, registry, strict_yaml
from llmbench.adapter import Window
from llmbench.card import Card, NetworkSpec, Positive, Recipe, Share, VocabularySpec
from llmbench.data import Text
from llmbench.errors import UsageError, did_you_mean
from llmbench.strict_yaml import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Split(Strict):
    """How a text is cut into documents, or which part of it is taken: one of the three."""

    separator: str | None = Field(None, min_length=1)
    regex: str | None = Field(None, min_length=1)
    fraction: tuple[Share, Share] | None = Field(None, strict=False)

    @model_validator(mode="after")
    def _one(self) -> Split:
        given = [value for value in (self.separator, self.regex, self.fraction) if value is not None]
        if len(given) != 1:
            raise ValueError("a split is exactly one of separator, regex, fraction")
        if self.fraction and not self.fraction[0] < self.fraction[1]:
            raise ValueError("the fraction must rise, as in [0.9, 1.0]")
        return self


class TextSpec(Strict):
    """A text: a built-in one, a file (relative to the suite), or one of the suite's sources."""

    source: str
    split: Split | None = None
    select: dict[str, str] = {}


class LikelihoodSpec(Strict):
    """Bits of a text."""

    task: Literal["likelihood"]
    name: Name = "likelihood"
    text: str = "test"
    window: Literal["half", "rolling"] | Positive = "half"


class ContinuationSpec(Strict):
    """What a model says after fixed prompts."""

    task: Literal["continuation"]
    name: Name = "continuation"
    prompts: list[str] = Field(min_length=1)
    max_bytes: Positive = 200
    temperature: float = Field(0.8, ge=0)
    top_k: Positive | None = None
    top_p: float | None = Field(None, gt=0, le=1)


TaskSpec = Annotated[LikelihoodSpec | ContinuationSpec, Field(discriminator="task")]


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


class SuiteFile(Strict):
    """A suite's YAML file."""

    name: Name
    version: Positive
    about: str = ""
    sources: dict[Name, str] = Field({}, description="texts that the user brings with --data NAME=PATH, and what each is")
    texts: dict[Name, TextSpec] = Field(description="by role; `train` and `valid` are what networks learn from")
    tasks: list[TaskSpec] = Field(min_length=1)
    models: list[str | ModelEntry] = []


class Suite:
    """A suite, read and checked: `texts` loaded, `cards` resolved, `tasks` in order."""

    def __init__(self, path: Path, file: SuiteFile, places: strict_yaml.Places):
        self.path, self.file, self._places = path, file, places
        self.name, self.version, self.tasks = file.name, file.version, list(file.tasks)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.texts: dict[str, Text] = {}

    def where(self, *at: str | int) -> str:
        """file:line:column of a place in the file."""
        return strict_yaml.place(self.path, self._places, at)

    def load_texts(self, given: Mapping[str, str], limit: int | None = None, seed: int = 0) -> None:
        """Read every text; `given` is --data. `limit` samples the documents of texts that tasks ask about."""
        for name in given:
            if name not in self.file.sources and name not in self.file.texts:
                raise UsageError(f"--data {name}: the suite has no such text", hint=did_you_mean(name, [*self.file.sources, *self.file.texts]))
        asked = {task.text for task in self.tasks if isinstance(task, LikelihoodSpec)}
        for role, spec in self.file.texts.items():
            text = self._load(role, spec, given)
            self.texts[role] = text.sample(limit, seed) if role in asked and role not in ("train", "valid") else text

    def _load(self, role: str, spec: TextSpec, given: Mapping[str, str]) -> Text:
        if role in given:
            return data.load(role, given[role])
        split = None if spec.split is None else spec.split.model_dump(exclude_none=True)
        if spec.source in self.file.sources:
            if spec.source not in given:
                raise UsageError(
                    f"the suite needs a text: {self.file.sources[spec.source]}",
                    where=self.where("sources", spec.source),
                    hint=f"give it with --data {spec.source}=PATH",
                )
            return data.load(role, given[spec.source], split, spec.select)
        if spec.source in data.BUILT_IN:
            return data.load(role, spec.source, split, spec.select)
        if spec.source.startswith("hub:"):
            raise UsageError("data sets from the hub cannot be read yet", where=self.where("texts", role, "source"), hint=f"--data {role}=PATH")
        path = self.path.parent / spec.source
        if not path.is_file():
            hint = did_you_mean(spec.source, [*data.BUILT_IN, *self.file.sources])
            raise UsageError(f"there is no text {spec.source!r}", where=self.where("texts", role, "source"), hint=hint)
        return data.load(role, path, split, spec.select)

    def cards(self, more: list[str], only: list[str]) -> list[Card]:
        """The cards of the suite's models and of `more`, reduced to the names in `only`."""
        found = [self._card(entry, i) for i, entry in enumerate(self.file.models)] + [registry.resolve(spec) for spec in more]
        names = [card.name for card in found]
        folded = [name.casefold() for name in names]  # each has a folder, and some file systems do not tell A from a
        for name in names:
            if folded.count(name.casefold()) > 1:
                raise UsageError(f"two models are called {name!r}", hint="give one another `name` in a card or in the suite")
        for name in only:
            if name not in names:
                raise UsageError(f"--only {name}: no such model in this run", hint=did_you_mean(name, names))
        found = [card for card in found if not only or card.name in only]
        if not found:
            raise UsageError("there are no models to run", where=str(self.path), hint="add some with --model")
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
            changes["network"] = NetworkSpec.model_validate({"class": network.cls, "arguments": {**network.arguments, **entry.network.arguments}})
        if entry.vocabulary:
            vocabulary = base.vocabulary or VocabularySpec()
            changes["vocabulary"] = self._merge(VocabularySpec, vocabulary, entry.vocabulary, "models", at, "vocabulary")
        if entry.recipe:
            recipe = base.recipe or self._refuse("recipe", base, at)
            changes["recipe"] = self._merge(Recipe, recipe, entry.recipe, "models", at, "recipe")
        return base.model_copy(update=changes)

    def _refuse(self, what: str, card: Card, at: int) -> Any:
        raise UsageError(f"{card.name} has no {what} to change", where=self.where("models", at, what))

    def _merge(self, kind: type[Any], old: Strict, changes: Mapping[str, Any], *at: str | int) -> Any:
        """The part of a card with changes; a wrong one is reported at its own line."""
        places = {path[len(at) :]: spot for path, spot in self._places.items() if path[: len(at)] == at}
        return strict_yaml.check(kind, {**old.model_dump(), **changes}, places, self.path)


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
    names = [task.name for task in file.tasks]
    for i, task in enumerate(file.tasks):
        if names.count(task.name) > 1:
            raise UsageError(f"two tasks are called {task.name!r}", where=suite.where("tasks", i), hint="give one another `name`")
        if isinstance(task, LikelihoodSpec) and task.text not in file.texts:
            raise UsageError(f"unknown text {task.text!r}", where=suite.where("tasks", i, "text"), hint=did_you_mean(task.text, file.texts))
    return suite


def window_of(task: LikelihoodSpec) -> Window:
    """The window rule of a likelihood task."""
    return Window(task.window)


def schema() -> dict[str, Any]:
    """JSON schema of suite files, for editors."""
    return SuiteFile.model_json_schema()
