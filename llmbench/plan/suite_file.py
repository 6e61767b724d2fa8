"""The keys of a suite's YAML file, besides those of its tasks, which each task checks itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from llmbench import limits
from llmbench.config.model_card import Share
from llmbench.config.strict_yaml import Name, Strict
from llmbench.data.fields import Part
from llmbench.data.preparation import PREPARATIONS, Shaping
from llmbench.errors import did_you_mean

SOURCE = "fables, storyworld, a source or another text of this suite, a file, or hub:ID"


class Split(Strict):
    """How a text is cut into documents, or which part of it is taken: one of the three."""

    separator: str | None = Field(
        None, min_length=1, description="cut at this string, which is dropped"
    )
    regex: str | None = Field(
        None, min_length=1, description="a document begins wherever this matches"
    )
    fraction: tuple[Share, Share] | None = Field(
        None, strict=False, description="keep this part of the bytes, as in [0.9, 1.0]"
    )

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

    config: str | None = Field(
        default=None, description="the configuration, where there are several"
    )
    split: str = Field(default="test", description="train, validation, test, ...")
    field: str = Field(default="text", description="the field that holds the text")
    join: Literal["lines"] | None = Field(
        default=None,
        description="lines: the rows are one document's lines, joined with nothing between",
    )


class Origin(Strict):
    """Where a text comes from: `fables`, `storyworld`, a file, or hub:ID, a data set on the hub (or
    its folder; paths are relative to the suite).
    """

    source: str | None = Field(None, description=SOURCE)
    hub: HubSpec | None = Field(None, description="what is taken of a data set, for hub:ID")

    @model_validator(mode="after")
    def _of_the_hub(self) -> Origin:
        if self.hub is not None and not (self.source or "").startswith("hub:"):
            raise ValueError("`hub` needs a source of the form hub:ID")
        return self


class SourceSpec(Origin):
    """What --data NAME=PATH gives, and where it comes from if the user need not bring it."""

    about: str = Field(description="what the user is asked to bring")


class TextSpec(Origin):
    """A text: an origin, or the name of one of the suite's sources or texts; and how it is cut."""

    source: str = Field(description=SOURCE)
    file: str | None = Field(
        None, min_length=1, description="a file in the directory that --data SOURCE=DIR gives"
    )
    split: Split | None = Field(None, description="how it is cut; without it as it is")
    select: dict[str, str] = Field({}, description="keep rows whose fields have these values")
    fields: dict[Part, Annotated[str | list[str], Field(min_length=1)]] = Field(
        {},
        description=(
            "what these are called in a file or a data set; a.b is a field in a field; of several"
            " names the first that is there counts"
        ),
    )
    prepare: str | None = Field(
        None, description=f"what is made of each row first: {', '.join(PREPARATIONS)}"
    )
    candidates: list[Annotated[str, Field(min_length=1)]] = Field(
        [],
        description='of each row that has no field with them, as templates: ["{sol1}", "{sol2}"]',
    )

    @field_validator("prepare")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in PREPARATIONS:
            near = did_you_mean(name, PREPARATIONS) or f"there are {', '.join(PREPARATIONS)}"
            raise ValueError(f"there is no preparation {name!r}; {near}")
        return name

    @property
    def shaping(self) -> Shaping:
        """What is made of a row before its fields are read."""
        return Shaping(self.prepare or "", tuple(self.candidates))


class TaskEntry(BaseModel):
    """An entry of `tasks`: which task, and keys that the task's own settings check."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    task: str = Field(description="a name from `llmbench tasks`, module:Class, or file.py:Class")


class NetworkChange(Strict):
    """Arguments of the network to set differently."""

    arguments: dict[str, int | float | bool | str] = Field(
        {}, description="by name, in place of the card's"
    )


class ModelEntry(Strict):
    """A model, with parts of its card changed for this suite."""

    model: str = Field(description="a baseline, a card, module:Class, file.py:Class, or hf:ID")
    name: Name | None = Field(None, description="on the board, if not the model's own")
    optional: bool = Field(
        False,
        description="leave it out, and say so in one line, if its weights are not on this machine",
    )
    network: NetworkChange | None = Field(None, description="what is different in its network")
    vocabulary: dict[str, int | str] = Field({}, description="keys of its vocabulary to change")
    recipe: dict[str, int | float] = Field({}, description="keys of its recipe to change")


class JudgeEntry(Strict):
    """A model that judges what the suite's models wrote, when all of them are done."""

    model: str = Field(description="a SPEC, as in `models`")
    of: Name = Field("continuation", description="the task whose answers are judged")
    kind: Literal["likelihood", "pairwise"] = Field(
        "likelihood",
        description="by what is likelier after the prompt, or by questions in both orders",
    )
    rubric: str = Field("", max_length=10_000, description="what makes an answer better (pairwise)")
    human: bool = Field(False, description="whether the human text is one of the answers")
    pairs: int = Field(500, ge=1, le=1_000_000, description="of answers, at most")

    @model_validator(mode="after")
    def _reads_its_rubric(self) -> JudgeEntry:
        if self.rubric and self.kind == "likelihood":
            raise ValueError("a likelihood judge reads no rubric; kind: pairwise does")
        return self


def _as_source(value: object) -> object:
    """A source given as a string is its description."""
    return {"about": value} if isinstance(value, str) else value


class SuiteFile(Strict):
    """A suite's YAML file."""

    name: Name = Field(description="what records and the output directory call it")
    version: int = Field(ge=1, le=limits.ARGUMENT, description="raise it when the questions change")
    about: str = Field("", description="one line for `llmbench suites`")
    sources: dict[
        Name,
        Annotated[SourceSpec, BeforeValidator(_as_source, json_schema_input_type=str | SourceSpec)],
    ] = Field(
        {},
        description=(
            "texts that --data NAME=PATH gives: what each is, and where it comes from otherwise"
        ),
    )
    texts: dict[Name, TextSpec] = Field(
        {}, description="by role; `train` and `valid` are what networks learn from"
    )
    tasks: list[TaskEntry] = Field(min_length=1, description="what every model is asked")
    models: list[str | ModelEntry] = Field([], description="who is asked; --model adds others")
    judges: list[JudgeEntry] = Field([], description="who judges what models wrote")
    averages: dict[Name, Literal["accuracy", "centred_accuracy"]] = Field(
        {},
        description="name -> the metric whose mean over all tasks is a score by itself, as CORE",
    )
    gate: dict[str, float | str] = Field(
        {},
        description=(
            "metric -> the loss that `llmbench gate` allows, as in 0.01, or in 10% of what it was"
        ),
    )
