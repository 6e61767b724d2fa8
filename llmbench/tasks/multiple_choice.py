"""Questions with candidates: the one that a model needs the fewest bits for is its choice, by all
its bits and by bits per byte, or by other measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise, takewhile
from typing import Literal, Self

from pydantic import Field, model_validator

from llmbench.adapter import Adapter, Passage, Progress, Window
from llmbench.data.templates import to_letter
from llmbench.data.text import Document, Text, check_documents
from llmbench.ledger import Ledger
from llmbench.metrics.metric import ScoreRow
from llmbench.metrics.registry import create_metric
from llmbench.results.outcome import Outcome, SampleRow
from llmbench.results.signature import Signature
from llmbench.tasks.answers.centring import BASELINE, CENTRED, add_centred, score_centred
from llmbench.tasks.answers.choosing import (
    NORMS,
    Norm,
    count_near,
    make_sample,
    measure_own_tokens,
    name_norm,
)
from llmbench.tasks.answers.groups import (
    add_groups,
    add_macro,
    name_groups,
    score_groups,
    score_macro,
)
from llmbench.tasks.answers.majority import compare_majority, find_common_candidate
from llmbench.tasks.lossy import DocumentTask, count_parts
from llmbench.tasks.passages import charge
from llmbench.tasks.prompts import (
    BOS_HELP,
    Asking,
    Bos,
    PromptSettings,
    check_chat,
    check_field,
    count_cut,
    count_misread,
    gives_bos,
    mark_misread,
    move_space,
    read_chat,
)

Cost = Literal["bits", "own-tokens"]
LETTERS = 26  # of candidates


def check_candidates(text: Text) -> None:
    """Raise UsageError if a document of `text` has fewer than two different candidates."""
    hint = "questions stand in a .jsonl file, in the fields `given`, `choices` and `gold`"
    check_documents(text, lambda one: len(one.choices) > 1, lambda one: ("has no candidates", hint))
    check_documents(
        text,
        lambda one: len(set(one.choices)) > 1,
        lambda one: ("has the same candidate several times, and no other", "leave it out"),
    )


def check_asked(text: Text, settings: MultipleChoice.Settings) -> None:
    """Raise UsageError if the documents of `text` cannot be asked as the settings say."""
    if settings.group:
        check_field(settings.group, text, "which `group` names")
    if settings.candidates == "letters" or "pmi" in settings.norms:
        what = "has contexts as candidates, and what follows them is the same"
        hint = "leave out `candidates: letters` and the norm `pmi`"
        check_documents(text, lambda one: not one.contexts, lambda one: (what, hint))
    if settings.candidates == "letters":
        check_documents(
            text,
            lambda one: len(one.choices) <= LETTERS,
            lambda one: (f"has more than {LETTERS} candidates", "use `candidates: texts`"),
        )


class MultipleChoice(DocumentTask):
    """Each candidate is charged after the prompt, which is free, with the space that parts them. Of
    equal ones the first is the choice, and they are counted. If each candidate is a context, what
    follows it is charged.
    """

    class Settings(PromptSettings, DocumentTask.Settings):
        """Questions with candidates: accuracy of the one that needs the fewest bits."""

        join: str = " "
        bos: Bos = Field("auto", description=BOS_HELP)
        norms: list[Norm] = Field(
            list(NORMS),
            min_length=1,
            description=(
                "what candidates are compared by: their bits (none), bits a byte, a character, a"
                " token, or bits less those without the prompt (pmi)"
            ),
        )
        candidates: Literal["texts", "letters"] = Field(
            "texts", description="what is scored of each candidate: its text, or its letter"
        )
        cost: Cost = Field(
            "bits",
            description=(
                "what a candidate costs: its bits, by which `norms` compare; or, without norms, the"
                " mean bits of the tokens by which candidates differ, as nanochat and DCLM's CORE"
            ),
        )
        baseline: float | None = BASELINE
        group: str = Field(
            "",
            description="a field, as `subject`: the groups' accuracies are told, and their mean",
        )

        @model_validator(mode="after")
        def _can_leave_out(self) -> Self:
            check_chat(self.chat, self.lossy)
            if len(set(self.norms)) < len(self.norms) or "none" not in self.norms:
                raise ValueError("`norms` must name `none`, and each once")
            if self.cost == "own-tokens" and self.norms not in (list(NORMS), ["none"]):
                raise ValueError("`norms` cannot be combined with `cost: own-tokens`")
            if self.chat is not False and "pmi" in self.norms:
                raise ValueError("`chat` cannot be combined with the norm `pmi`")
            if self.group and self.lossy == "leave-out":
                raise ValueError("`group` cannot be combined with `lossy: leave-out`")
            return self

        def field_names(self) -> Sequence[str]:
            return list(dict.fromkeys([*super().field_names(), *[self.group] * bool(self.group)]))

        def list_averaged(self) -> Sequence[str]:
            return ["accuracy", *[CENTRED.name] * (self.baseline is not None)]

        def check(self, text: Text) -> None:
            check_candidates(text)
            super().check(text)
            check_asked(text, self)

        def check_texts(self, texts: Mapping[str, Text]) -> None:
            if self.shots and self.candidates == "letters":
                check_candidates(texts[self.shots_from])
            super().check_texts(texts)

    protocol = "multiple-choice/3"

    def __init__(
        self,
        text: Text,
        asking: Asking,
        bos: Bos = "auto",
        chat: str | None = None,
        norms: Sequence[Norm] = NORMS,
        group: str = "",
        cost: Cost = "bits",
        *,
        baseline: float | None = None,
    ):
        self.chat, self.how = chat, dict[str, str]()
        self.norms: tuple[Norm, ...] = tuple(norms) if cost == "bits" else ("none",)
        self.group, self.cost, self.baseline = group, cost, baseline
        self.text, self.asking, self.bos = text, asking, bos
        check_candidates(text)

    @classmethod
    def from_settings(cls, settings: Settings, texts: Mapping[str, Text], seed: int) -> Self:
        asking = Asking.from_settings(settings, texts, seed)
        asking = replace(asking, letters=settings.candidates == "letters")
        return cls(
            texts[settings.text],
            asking,
            settings.bos,
            read_chat(settings.chat),
            settings.norms,
            settings.group,
            settings.cost,
            baseline=settings.baseline,
        )

    @property
    def signature(self) -> Signature:
        asked = Signature.of(text=self.text.sha256[:16], protocol=self.protocol, bos=self.bos)
        if self.cost != "bits":
            asked = asked.extend(cost=self.cost)
        return (asked + self.asking.sign(self.text)).extend(limit=self.text.sampled)

    def _charge(
        self, adapter: Adapter, progress: Progress
    ) -> tuple[list[list[Passage]], list[Ledger]]:
        """What is scored of each document, and what all of it costs."""
        asked = [self.list_passages(document, adapter) for document in self.text.documents]
        passages = [passage for some in asked for passage in some]
        return asked, charge(adapter, passages, Window("half"), progress)

    def ask(self, adapter: Adapter, progress: Progress) -> None:
        self._charge(adapter, progress)

    def run(self, adapter: Adapter, progress: Progress) -> Outcome:
        if self.chat is not None:
            self.how = adapter.sign_prompts(self.chat)
        documents = self.text.documents
        asked, ledgers = self._charge(adapter, progress)
        edges = [0, *accumulate(map(len, asked))]
        samples = [
            make_sample(
                document,
                self._name_prompt(document, some),
                ledgers[a:b],
                self._list_answers(document),
                self.norms,
                self._measure(document, some, ledgers[a:b]),
            )
            for document, some, (a, b) in zip(documents, asked, pairwise(edges), strict=True)
        ]
        if self.baseline is not None:
            add_centred(samples, self.baseline)
        if self.group:
            add_macro(samples, documents, self.group)
            if groups := name_groups(documents, self.group):
                add_groups(samples, groups, self.norms)
        if self.keeps_parts:
            for sample, (a, b) in zip(samples, pairwise(edges), strict=True):
                sample["parts"] = count_parts(ledgers[a:b], 0)
        mark_misread(adapter, [some[0].context for some in asked], samples)
        straddled = 0 if self.cost != "bits" else sum(one.context_bytes > 0 for one in ledgers)
        scores = self._score(samples, straddled)
        if cut := count_cut(adapter, asked):
            scores = [{**row, "cut": cut} for row in scores]
        return Outcome(scores, samples)

    def _measure(
        self, document: Document, passages: Sequence[Passage], ledgers: Sequence[Ledger]
    ) -> list[float] | None:
        """Return what is compared instead of bits, if the settings say so."""
        if self.cost == "bits":
            return None
        texts = [passage.text for passage in passages]
        return measure_own_tokens(ledgers, texts, at_end=bool(document.contexts))

    def summarise(self, samples: Sequence[SampleRow]) -> list[ScoreRow]:
        return self._score(samples, sum(row["parts"]["straddled"] for row in samples))

    def _score(self, samples: Sequence[SampleRow], straddled: int) -> list[ScoreRow]:
        documents = self.text.documents
        # of a right candidate that stands twice, either place is right
        shares = [d.choices.count(d.text) / len(d.choices) for d in documents]
        chance = sum(shares) / len(documents)
        repeated = sum(len(set(d.choices)) < len(d.choices) for d in documents)
        accuracy, scores = create_metric("accuracy"), list[ScoreRow]()
        answer, hits = find_common_candidate(documents)
        for norm in self.norms:
            statistics = [sample["statistics"][name_norm(norm, "accuracy")] for sample in samples]
            found = accuracy.value(statistics)
            assert found is not None
            row = accuracy.metric.row(
                found.value,
                found.n,
                str(self.signature.extend(norm=norm, **self.how)),
                found.low,
                found.high,
            )
            tied = sum(bool(sample.get(name_norm(norm, "tied"))) for sample in samples)
            row |= {"norm": norm, "tied": tied, "chance": chance, "straddled": straddled}
            row = {**row, **count_misread(samples)}
            if near := [sample["id"] for sample in samples if norm in sample.get("near", ())]:
                row["near"] = count_near(near)
            if repeated:
                row["repeated"] = repeated
            if majority := compare_majority(answer, hits, [hit == 1.0 for hit, _ in statistics]):
                row["majority"] = majority
            scores.append(row)
        if self.baseline is not None:
            scores.append(score_centred(scores[0], self.baseline))
        if self.group:
            signature = self.signature.extend(norm="none", group=self.group, **self.how)
            scores.append({**score_macro(samples, str(signature)), **count_misread(samples)})
            if groups := name_groups(documents, self.group):
                own = self.signature.extend(group=self.group, **self.how)
                scores += score_groups(samples, groups, shares, self.norms, own)
        return scores

    def list_passages(self, document: Document, adapter: Adapter) -> list[Passage]:
        """Return each candidate after its prompt, with the space before it; for the norm `pmi` then
        each without a prompt.
        """
        bos, found = gives_bos(self.bos, adapter), list[Passage]()
        is_apart = adapter.reads_source or self.chat is not None
        if self.cost == "own-tokens" and document.contexts and not is_apart:
            return self._list_ends(document, bos)
        prompt = "" if document.contexts else self.asking.prompt(document)
        for number, choice in enumerate(self._list_answers(document)):
            before = self.asking.prompt(document, number) if document.contexts else prompt
            context, text = (
                (before, choice)  # a target of its own, which nothing stands before
                if is_apart
                else move_space(before, self.asking.join + choice)
            )
            id = f"{document.id} {number}"
            found.append(Passage(text, context, id, add_bos=bos, chat=self.chat))
        if "pmi" in self.norms:
            join = "" if is_apart else self.asking.join
            for number, choice in enumerate(self._list_answers(document)):
                found.append(Passage(join + choice, "", f"{document.id} {number} alone"))
        return found

    def _list_ends(self, document: Document, bos: bool) -> list[Passage]:
        """Return what is the same at the end of all contexts with their continuation, each after
        the rest of its own: tokens may be shared before the continuation begins.
        """
        wholes = [
            f"{self.asking.prompt(document, number)}{self.asking.join}{document.continuation}"
            for number in range(len(document.contexts))
        ]
        ends = zip(*(whole[::-1] for whole in wholes), strict=False)
        size = sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, ends))
        return [
            Passage(whole[-size:], whole[:-size], f"{document.id} {number}", add_bos=bos)
            for number, whole in enumerate(wholes)
        ]

    def _name_prompt(self, document: Document, passages: Sequence[Passage]) -> str:
        """The prompt of a sample; of candidates that are contexts all, one below another."""
        if not document.contexts:
            return passages[0].context
        end = f"{self.asking.join}{document.continuation}" if self.cost == "own-tokens" else ""
        shown = [(p.context + p.text).removesuffix(end) if end else p.context for p in passages]
        return "\n\n".join(shown)

    def _list_answers(self, document: Document) -> list[str]:
        """What is scored for each candidate, without the space before it."""
        if document.contexts:
            return [document.continuation] * len(document.contexts)
        if self.asking.letters:
            return [to_letter(at) for at in range(len(document.choices))]
        return list(document.choices)
