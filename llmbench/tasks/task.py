"""What a task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from llmbench.adapter import Adapter, Progress
from llmbench.config.strict_yaml import Name, Strict
from llmbench.data.text import Text
from llmbench.errors import ModelError, UsageError
from llmbench.results.outcome import Outcome
from llmbench.results.record import Score
from llmbench.results.signature import Signature

if TYPE_CHECKING:
    from llmbench.hardware.memory import Meter

# shared: the worker that runs the model's other tasks. own: a process that does nothing else.
# interleaved: a process that waits for its turn among all models. attempts: one for each attempt.
Process = Literal["shared", "own", "interleaved", "attempts"]


class Task(ABC):
    """A question that is asked of every model: bits of a text, answers, a time.

    A subclass defines `protocol` and `run`, and declares its keys in a suite as a nested class:

        class Settings(Task.Settings):
            length: int = 10

    `text`: the text it asks about. `settings`: its entry in the suite. `seed`: the run's seed.
    Modules of tasks are imported by the light parent process too: import torch inside functions.
    """

    class Settings(Strict):
        """The keys of a task's entry in a suite; unknown keys are errors."""

        process: ClassVar[Process] = "shared"
        model_keys: ClassVar[tuple[str, ...]] = ()  # keys that hold the SPEC of another model
        path_keys: ClassVar[tuple[str, ...]] = ()  # keys that hold a path relative to the suite
        brings_text: ClassVar[bool] = False  # whether `load_text` gives the text it asks about
        # of a task with `process = "own"`: that it times nothing, so that other processes may start
        # meanwhile, and leaves its process fit for the tasks that share one
        is_untimed: ClassVar[bool] = False
        # modules that a worker imports while it waits for its job
        imported_ahead: ClassVar[tuple[str, ...]] = ()

        task: str = Field(description="a task's name, file.py:Class or module:Class")
        name: Name = Field("", description="what results are called; by default like the task")
        text: str | None = Field("test", description="the text of the suite that is asked about")

        @model_validator(mode="before")
        @classmethod
        def _default_name(cls, data: Any) -> Any:
            """Without a name, an entry is called like its task, or its class."""
            if isinstance(data, dict) and "name" not in data and isinstance(data.get("task"), str):
                return {**data, "name": data["task"].rpartition(":")[2]}
            return data

        def text_roles(self) -> dict[str, str]:
            """Key of the entry -> the suite's text that it names, for all texts the task reads."""
            return {} if self.text is None else {"text": self.text}

        def expand(self) -> list[Task.Settings]:
            """Return the entries that this one stands for, each with a name of its own."""
            return [self]

        def load_text(self, limit: int | None, seed: int, fetch: bool) -> Text:
            """Return the text that the entry asks about, if it brings its own.

            limit: most documents, a sample by the seed. fetch: whether data may be downloaded.
            Raises Unavailable if they are not on this machine.
            """
            raise NotImplementedError

        def list_idle_roles(self) -> list[str]:
            """Return texts of the suite that the entry names and, as it stands, does not read."""
            return []

        def list_models(self) -> list[str]:
            """Return the SPECs of the models that the task loads beside the one that is asked."""
            return [getattr(self, key) for key in self.model_keys]

        def field_names(self) -> Sequence[str]:
            """Other fields of the rows of its texts that the entry shows, besides their parts."""
            return ()

        def metric_names(self) -> Sequence[str]:
            """The text metrics that the entry names."""
            return ()

        def list_averaged(self) -> Sequence[str]:
            """Return metrics of which a suite may take the mean over its tasks."""
            return ()

        def check(self, text: Text) -> None:
            """Raise UsageError if the task cannot ask about `text`; called before anything runs."""

        def check_texts(self, texts: Mapping[str, Text]) -> None:
            """Raise UsageError if the task cannot ask with all its texts, by the suite's names for
            them; called after `check`, if all of them are on this machine.
            """

        def estimate_seconds(self) -> float:
            """Seconds of work that do not depend on the model."""
            return 0.0

    protocol: ClassVar[str]  # name/version, part of every signature: bump it when numbers change
    settings: Settings
    load_model: Callable[[str], Adapter]  # makes a model of `list_models`, set before `run`
    scratch: Path | None = None  # a folder for files without names; None: where temporary files are
    meter: Meter | None = None  # of a task with `process = "own"`: memory since its process began

    def __init__(self, text: Text, settings: Any, seed: int = 0):
        self.text, self.settings, self.seed = text, settings, seed

    @classmethod
    def from_settings(cls, settings: Any, texts: Mapping[str, Text], seed: int) -> Self:
        """The task of a suite's entry. `texts`: the suite's texts by role.

        A task that reads no text, or several, overrides this.
        """
        if settings.text is None:
            raise UsageError(f"{cls.__name__} needs a text", hint="name one with `text`")
        return cls(texts[settings.text], settings, seed)

    @property
    def signature(self) -> Signature:
        """Everything that numbers of this task depend on, besides the model."""
        return Signature.of(
            text=self.text.sha256[:16], protocol=self.protocol, limit=self.text.sampled
        )

    def size_items(self, adapter: Adapter) -> Sequence[int]:
        """Return the bytes of work of each item that can be asked apart from the others.

        [] if the task is not divided, as by default. One that is divided asks by way of
        `llmbench.tasks.shards.recording`, and overrides `take`.
        """
        return []

    def take(self, first: int, last: int) -> Self:
        """Return the same task about the items first .. last-1 of `size_items`."""
        raise NotImplementedError

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        """Ask the model whatever `run` asks, in the same order, and judge nothing."""
        self.run(adapter, progress)

    @abstractmethod
    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        """Ask the model and return its scores and samples.

        `progress(what, share, remark)` is called now and then. Raises CellError if the model cannot
        answer, as Unsupported or ModelError.
        """


def check_outcome(task: Task, outcome: object) -> Outcome:
    """The outcome, if a record can hold it; ModelError says what is wrong with it."""
    name = type(task).__name__
    if not isinstance(outcome, Outcome):
        raise ModelError(f"{name}.run returned a {type(outcome).__name__}, not an Outcome")
    for row in outcome.scores:
        try:
            Score.model_validate({"model": "", "task": "", **row})
        except (ValidationError, TypeError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            what = f"{first['loc'][-1]}: {first['msg']}" if first else str(error)
            raise ModelError(f"{name}.run returned a wrong score: {what}") from None
    for number, sample in enumerate(outcome.samples):
        if not isinstance(sample, Mapping) or not {"id", "statistics"} <= sample.keys():
            raise ModelError(f"{name}.run: sample {number} lacks `id` or `statistics`")
    return outcome
