"""The task `lm-eval`: a task or a group of EleutherAI's lm-evaluation-harness, by its definitions:
prompts, targets, filters and metrics are lm-eval's, the model and all else is as in any task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from llmbench import limits
from llmbench.adapter import Adapter, Progress
from llmbench.data.text import Text
from llmbench.errors import ModelError, Unavailable, UsageError
from llmbench.metrics.metric import ScoreRow
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.choosing import count_near
from llmbench.tasks.lm_eval.asking import LONGEST, Answers, answer
from llmbench.tasks.lm_eval.catalog import match_names, read_catalog
from llmbench.tasks.lm_eval.chat import Manner, render_questions
from llmbench.tasks.lm_eval.generating import find_disobeyed
from llmbench.tasks.lm_eval.harness import (
    Loaded,
    Wanted,
    check_files,
    find_beneath,
    list_members,
    load,
    work_in_silence,
)
from llmbench.tasks.lm_eval.questions import Question, find_docs, make_text
from llmbench.tasks.lm_eval.scores import (
    NEAR,
    Measured,
    evaluate,
    find_near,
    join_group,
    measure,
)
from llmbench.tasks.prompts import mark_misread
from llmbench.tasks.reference_based import WRITING
from llmbench.tasks.task import Task

ROLE = "lm-eval:"  # before a task's name, the name of its questions among the texts of a suite


class LmEval(Task):
    """A task of lm-eval, or a group with an average, whose members stand beneath it."""

    class Settings(Task.Settings):
        """Tasks of EleutherAI's lm-evaluation-harness, by its own definitions."""

        path_keys: ClassVar[tuple[str, ...]] = ("include_path",)
        brings_text: ClassVar[bool] = True
        imported_ahead: ClassVar[tuple[str, ...]] = ("datasets", "lm_eval.tasks._factory")

        text: str | None = Field(None, description="not used: a task of lm-eval has its own data")
        tasks: list[str] = Field(
            min_length=1, description="names of lm-eval's tasks, groups and tags, and patterns"
        )
        num_fewshot: int | None = Field(
            None,
            ge=0,
            le=limits.SHOTS,
            description="examples before a question; without it as each task says",
        )
        fewshot_seed: int = Field(1234, description="by which examples are drawn, as lm-eval does")
        include_path: str | None = Field(
            None, description="a folder with task files of one's own, beside lm-eval's"
        )
        trust_code: bool = Field(
            False, description="whether task files in `include_path` may run code"
        )

        apply_chat_template: bool = Field(
            False, description="whether prompts are messages in each model's chat template"
        )
        fewshot_as_multiturn: bool = Field(
            True, description="whether examples are turns of the chat; one message if not"
        )
        system_instruction: str | None = Field(
            None, description="a text before all prompts; of a chat the system's message"
        )
        gen_kwargs: dict[str, object] = Field(
            default_factory=dict,
            description="how answers are generated, in place of what tasks say: until,"
            " max_gen_toks, do_sample, temperature, top_k, top_p",
        )

        @model_validator(mode="after")
        def _can_obey(self) -> Self:
            if not self.fewshot_as_multiturn and not self.apply_chat_template:
                raise ValueError("`fewshot_as_multiturn` is of chats (`apply_chat_template: true`)")
            if why := find_disobeyed(self.gen_kwargs):
                raise ValueError(f"`gen_kwargs` has {why}")
            return self

        @model_validator(mode="before")
        @classmethod
        def _default_tasks(cls, data: Any) -> Any:
            """One task may be named without a list."""
            if isinstance(data, dict) and isinstance(data.get("tasks"), str):
                return {**data, "tasks": [data["tasks"]]}
            return data

        def list_averaged(self) -> Sequence[str]:
            return ["accuracy"]  # most have it, which only their files know

        def expand(self) -> list[Task.Settings]:
            """Return an entry for each task, and for each group with an average.

            What stands beneath such a group is not asked twice, unless it is named itself.
            """
            catalog = read_catalog(self.include_path)
            waiting = [entry.name for entry in match_names(self.tasks, catalog)]
            names = dict[str, None]()
            while waiting:
                name = waiting.pop(0)
                if name not in catalog:
                    raise UsageError(f"lm-eval has no task {name!r}, which a group names")
                check_files(name, catalog, self.trust_code)
                members = list_members(name, catalog)
                if members is None:
                    names.setdefault(name)
                else:
                    waiting = [*members, *waiting]
            twice = {one for name in names for one in find_beneath(name, catalog)}
            kept = [name for name in names if name not in twice or name in self.tasks]
            return [self._settle(name, len(kept)) for name in kept]

        def _settle(self, name: str, count: int) -> Task.Settings:
            """This entry for one of lm-eval's names."""
            plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
            own = self.name if count == 1 and self.name != self.task else plain
            found = {"tasks": [name], "name": own, "text": f"{ROLE}{own}"}
            return self.model_copy(update=found)

        def load_text(self, limit: int | None, seed: int, fetch: bool) -> Text:
            """Return the questions that are asked. Raises Unavailable if they are not here."""
            assert self.text is not None
            loaded, manner = load(self._find(not fetch)), self.manner
            for name, task in loaded.members.items():
                manner.check_task(name, task)
            return make_text(self.text, loaded, limit, seed, manner.arguments)

        @property
        def manner(self) -> Manner:
            """How prompts are made."""
            return Manner(
                self.apply_chat_template, self.fewshot_as_multiturn, self.system_instruction
            )

        def _find(self, offline: bool) -> Wanted:
            """What lm-eval is asked for."""
            return Wanted(
                self.tasks[0],
                self.include_path,
                self.trust_code,
                self.num_fewshot,
                self.fewshot_seed,
                offline,
                self.gen_kwargs,
            )

        def load_tasks(self) -> Loaded:
            """Return lm-eval's own objects, with the data that are on this machine."""
            return load(self._find(offline=True))

    protocol = "lm-eval/1"
    settings: Settings
    _loaded: Loaded | None = None

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        assert settings.text is not None
        return cls(texts[settings.text], settings, seed)

    @property
    def signature(self) -> Signature:
        """The task, its version and the harness's, and a digest of all that is asked."""
        settings, of = self.settings, _sum_up(self.text)
        return Signature.of(
            text=self.text.sha256[:16],
            protocol=self.protocol,
            task=settings.tasks[0],
            **of,
            **settings.manner.facts,
            limit=self.text.sampled,
        )

    def size_items(self, adapter: Adapter) -> Sequence[int]:
        return [_size(Question.of(document)) for document in self.text.documents]

    def take(self, first: int, last: int) -> Self:
        self._load()
        part = copy(self)
        part.text = self.text.take(first, last)
        return part

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        self._answer(adapter, progress)

    def _answer(
        self, adapter: Adapter, progress: Progress
    ) -> tuple[list[Question], Loaded, Answers]:
        """The questions, lm-eval's own objects, and the answers."""
        questions = [Question.of(document) for document in self.text.documents]
        if self.settings.apply_chat_template:
            questions = render_questions(questions, adapter)
        progress("loading lm-eval's task", 0.0, self.settings.tasks[0])
        loaded = self._load()
        greedy = {name: _needs_greedy(task) for name, task in loaded.members.items()}
        return questions, loaded, answer(adapter, questions, greedy, self.seed, progress)

    def _load(self) -> Loaded:
        """lm-eval's own objects, made once for the task and its parts."""
        if self._loaded is None:
            self._loaded = self.settings.load_tasks()
        return self._loaded

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        questions, loaded, found = self._answer(adapter, progress)
        places: dict[str, list[int]] = {}
        for number, question in enumerate(questions):
            places.setdefault(question.member, []).append(number)
        progress("judging answers", 0.0, f"{len(questions)} questions")
        members: dict[str, list[Measured]] = {}
        samples: dict[int, SampleRow] = {}
        with work_in_silence(loaded.is_trusted):
            for name, numbers in places.items():
                task, own = loaded.members[name], [questions[number] for number in numbers]
                docs, replies = find_docs(task, own), [found.replies[number] for number in numbers]
                members[name] = _judge(task, name, own, docs, replies)
                for number, question, doc in zip(numbers, own, docs, strict=True):
                    samples[number] = _sample(task, question, doc, found, number)
        measured = (
            next(iter(members.values()))
            if loaded.group is None
            else join_group(loaded.group, members, places)
        )
        measured = _choose_headline(measured)
        rows = [samples[number] for number in range(len(questions))]
        for one in measured:
            for number, statistics in one.statistics.items():
                rows[number]["statistics"][one.name] = statistics
        prompts = [question.asks[0].context for question in questions]
        mark_misread(adapter, prompts, rows)
        return Outcome(self._score(measured, rows, questions, found, adapter), rows)

    def _score(
        self,
        measured: Sequence[Measured],
        rows: Sequence[SampleRow],
        questions: Sequence[Question],
        found: Answers,
        adapter: Adapter,
    ) -> list[ScoreRow]:
        """The score rows, with what went wrong with prompts and answers."""
        is_chat, given = self.settings.apply_chat_template, self.settings.gen_kwargs
        signature = self.signature.extend(**adapter.sign_prompts("" if is_chat else None))
        if given and any(ask.kind == "generate_until" for ask in questions[0].asks):
            signature = signature.extend(gen_kwargs=json.dumps(given, sort_keys=True))
        facts: dict[str, int] = {
            "prompts": len(questions),
            "cut": len(found.cut),
            "misread": sum("lost" in row for row in rows),
            "straddled": found.straddled,
        }
        if any(ask.kind == "generate_until" for ask in questions[0].asks):
            outputs = [row["output"] or "" for row in rows]
            facts["empty"] = sum(not output.strip() for output in outputs)
            facts["broken"] = sum("\N{REPLACEMENT CHARACTER}" in output for output in outputs)
        chances = [row["bits"] for row in rows if "bits" in row]
        scores: list[ScoreRow] = []
        for one in measured:
            row: Any = {**one.row(signature), **facts}
            norm = "" if one.member else NEAR.get(one.key[0], "")
            if near := [sample["id"] for sample in rows if norm in sample.get("near", ())]:
                row["near"] = count_near(near)
            if one.metric.name == "accuracy" and len(chances) == len(rows):
                own = [1 / len(chances[number]) for number in one.statistics]
                row["chance"] = sum(own) / len(own)
            scores.append(row)
        return scores


def _sum_up(text: Text) -> dict[str, str]:
    """What the questions say of their tasks; of several tasks a digest of their configurations."""
    found: dict[str, dict[str, None]] = {}
    for document in text.documents:
        for key, value in json.loads(document.text)["of"].items():
            found.setdefault(key, {}).setdefault(str(value))
    joined = {key: ",".join(sorted(values)) for key, values in found.items()}
    if len(found["config"]) > 1:
        import hashlib

        joined["config"] = hashlib.sha256(joined["config"].encode()).hexdigest()[:16]
    return joined


def _size(question: Question) -> int:
    """About as many bytes as a question costs: what it asks, and what is written."""
    written = (
        sum(ask.kind == "generate_until" for ask in question.asks) * LONGEST * question.repeats
    )
    read = sum(len(ask.context) + len(str(ask.more)) for ask in question.asks)
    return read + WRITING * written


def _needs_greedy(task: Any) -> bool:
    """Whether a task's metrics look at what a greedy model says; choices by likelihood do not."""
    config = task.config
    if task.OUTPUT_TYPE != "multiple_choice" or callable(config.process_results):
        return True
    return any(entry.get("metric") == "exact_match" for entry in config.metric_list or ())


def _judge(
    task: Any, name: str, questions: Sequence[Question], docs: Sequence[Any], replies: Sequence[Any]
) -> list[Measured]:
    """The metrics of a task; ModelError says what lm-eval's code raised, and Unavailable what it
    could not fetch, such as a metric of `evaluate`.
    """
    try:
        return measure(task, evaluate(task, questions, docs, replies))
    except OSError as error:
        line = " ".join(str(error).split())[:300]
        raise Unavailable(
            f"the metrics of {name} need what is not on this machine: {line}",
            hint=f"run `lm_eval --tasks {name} --limit 1` once with a connection, or leave it out",
        ) from error
    except Exception as error:  # lm-eval's own code, or that of a task
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(f"lm-eval cannot judge the answers of {name}: {line}") from error


def _sample(task: Any, question: Question, doc: Any, found: Answers, number: int) -> SampleRow:
    """A question's line: the prompt that was really asked, what came, and what is right."""
    replies, asks = found.replies[number], question.asks
    row: SampleRow = {
        "id": question.id,
        "bytes": found.bytes[number],
        "input": asks[0].context,
        "output": None,
        "reference": None,
        "statistics": {},
    }
    try:
        target = task.doc_to_target(doc)
    except Exception:  # a class of its own that has none
        target = None
    kinds = {ask.kind for ask in asks}
    if kinds == {"loglikelihood"} and len(asks) > 1:
        nats = [reply[0][0] for reply in replies]
        bits = [-value / 0.6931471805599453 for value in nats]
        if near := find_near(task, doc, bits):
            row["near"] = near
        count = sum(ask.context != "" for ask in asks) or len(asks)  # behind them: without a prompt
        row["bits"] = bits[:count]
        if bits[count:]:
            row["unconditional"] = bits[count:]
        best = max(range(count), key=nats.__getitem__)
        row["chosen"], row["output"] = best, str(asks[best].more).strip()
        if isinstance(target, int) and 0 <= target < count:
            row["gold"], target = target, str(asks[target].more).strip()
        if len({ask.context for ask in asks}) > 1:
            row["input"] = "\n".join(ask.context for ask in asks)
    elif "generate_until" in kinds:
        at = next(i for i, ask in enumerate(asks) if ask.kind == "generate_until")
        row["output"] = str(replies[at][0])
    if target is not None and "loglikelihood_rolling" not in kinds:
        several = target if isinstance(target, list) else [target]
        row["reference"] = " | ".join(str(one) for one in several)
    return row


def _choose_headline(measured: Sequence[Measured]) -> list[Measured]:
    """The metrics; without one that models are ranked by, they are by the first that can be
    compared.
    """
    found = list(measured)
    if any(one.metric.is_ranked and not one.member for one in found):
        return found
    for number, one in enumerate(found):
        if one.metric.is_custom and one.statistics and not one.variant:
            found[number] = replace(one, metric=replace(one.metric, is_ranked=True))
            break
    return found
