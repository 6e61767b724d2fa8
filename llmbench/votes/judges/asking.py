"""Judges at work: by likelihood, and by questions in both orders. They know adapters only by their
interface, so any model can be one.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from llmbench.adapter import Adapter, Chunk, Passage, Request, Window
from llmbench.errors import ModelError, Unsupported, close_early
from llmbench.inference.text.answer import stream_answers, trim_answer
from llmbench.ledger import CODE, LedgerError, count_bytes
from llmbench.votes.judges.judgements import (
    PROTOCOLS,
    SHOWN_CHARACTERS,
    Choice,
    Judgement,
    Kind,
    name_judgement,
)
from llmbench.votes.judges.questions import (
    CUE,
    RUBRIC,
    Question,
    join_choices,
    read_reply,
    write_question,
)

AT_ONCE = 32  # questions, after which judgements are on the disk
EMPTY = "an empty answer has no bits per byte"
TOO_LONG = "the question does not fit into the judge's context"
UNREAD = "a reply was not one of the words asked for"
UNDECIDED = "both answers have infinite bits"
Side = Literal["left", "right", "tie"]


@dataclass
class _Said:
    """What a judge said of two answers, and what it took; see Judgement."""

    verdict: Side | None = None
    why: str = ""
    choices: tuple[Choice | None, ...] = ()
    replies: tuple[str, ...] = ()
    bits: tuple[float | Literal["inf"], ...] = ()
    asked: bool = True
    seconds: float = 0.0
    read_bytes: int = 0
    read_tokens: int | None = None
    written_tokens: int = 0


@dataclass(frozen=True)
class Judge:
    """A model and how it judges.

    chat: the system message, if it is asked in its chat template; None without one. rubric,
    max_bytes (of a reply): of a pairwise judge. prices: of a million tokens read, and written.
    """

    name: str
    adapter: Adapter
    kind: Kind
    chat: str | None = None
    rubric: str = RUBRIC
    max_bytes: int = 40
    prices: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, name: str, adapter: Adapter, kind: Kind, rubric: str = RUBRIC, max_bytes: int = 40
    ) -> Judge:
        """Return a judge. Raises Unsupported if the model can't be one of this kind."""
        if kind == "likelihood":
            if not adapter.can_score:
                raise Unsupported(
                    f"{name} does not score text", hint="judge by questions: --kind pairwise"
                )
            return cls(name, adapter, kind)
        if not adapter.can_generate:
            raise Unsupported(
                f"{name} does not generate text", hint="judge by likelihood: --kind likelihood"
            )
        try:
            adapter.sign_prompts("")
        except Unsupported:
            return cls(name, adapter, kind, None, rubric, max_bytes)
        return cls(name, adapter, kind, "", rubric, max_bytes)

    @property
    def mark(self) -> str:
        """A digest of all that a judgement depends on besides the answers."""
        facts: list[object] = [PROTOCOLS[self.kind], self.adapter.info.fingerprint]
        if self.kind == "pairwise":
            facts += [self.rubric, self.max_bytes, self.adapter.sign_prompts(self.chat)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def judge(self, questions: Sequence[Question]) -> Iterator[list[Judgement]]:
        """Yield the judgements of the questions, some at a time, in order."""
        mark = self.mark
        judge = self._weigh if self.kind == "likelihood" else self._ask
        for first in range(0, len(questions), AT_ONCE):
            some = questions[first : first + AT_ONCE]
            open_ones = [one for one in some if not one.is_identical]
            began = time.perf_counter()
            said = judge(open_ones) if open_ones else []
            each = (time.perf_counter() - began) / max(1, len(open_ones))
            found = {id(one): facts for one, facts in zip(open_ones, said, strict=True)}
            for facts in found.values():
                facts.seconds = round(each, 6)
            same = _Said("tie", asked=False)
            yield [self._note(mark, one, found.get(id(one), same)) for one in some]

    def _note(self, mark: str, one: Question, said: _Said) -> Judgement:
        identity = name_judgement(mark, one.task, one.prompt, one.left, one.right, one.digest)
        price = None
        if said.asked and self.prices is not None and said.read_tokens is not None:
            read, written = self.prices
            price = (read * said.read_tokens + written * said.written_tokens) / 1e6
        return Judgement(
            identity=identity,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            judge=self.name,
            mark=mark,
            kind=self.kind,
            task=one.task,
            prompt=one.prompt,
            left=one.left,
            right=one.right,
            digest=one.digest,
            longer=one.longer,
            price=price,
            **vars(said),
        )

    # By likelihood
    # ------------------------------------------------------------------------------------------

    def _weigh(self, questions: Sequence[Question]) -> list[_Said]:
        """Which answer is likelier per byte after the prompt: each answer is scored once."""
        wanted = {(one.text, answer): None for one in questions for answer in one.answers if answer}
        passages = [Passage(answer, text, id=str(n)) for n, (text, answer) in enumerate(wanted)]
        bits = dict(zip(wanted, self._score(passages), strict=True))
        found = []
        for one in questions:
            if not all(one.answers):
                found.append(_Said(why=EMPTY))
                continue
            said = _Said(read_bytes=sum(count_bytes(one.text + answer) for answer in one.answers))
            left, right = (bits[one.text, answer] for answer in one.answers)
            said.bits = tuple("inf" if math.isinf(value) else value for value in (left, right))
            if math.isinf(left) and math.isinf(right):
                said.why = UNDECIDED
            else:
                said.verdict = "tie" if left == right else "left" if left < right else "right"
            found.append(said)
        return found

    def _score(self, passages: Sequence[Passage]) -> list[float]:
        """Bits per byte of each passage; ModelError if a ledger breaks a rule."""
        found = []
        with close_early(iter(self.adapter.score(passages, Window()))) as ledgers:
            for passage, ledger in zip(passages, ledgers, strict=False):
                try:
                    ledger.check()
                except LedgerError as error:
                    raise ModelError(f"a ledger breaks a rule: {error}", where=self.name) from None
                if CODE in ledger.kind:
                    raise Unsupported("a compressor charges no text by itself", where=self.name)
                if ledger.bytes != count_bytes(passage.text):
                    raise ModelError("a ledger is of another text", where=self.name)
                found.append(ledger.total() / ledger.bytes)
        if len(found) != len(passages):
            raise ModelError(
                f"score gave {len(found)} ledgers for {len(passages)} passages", where=self.name
            )
        return found

    # By questions
    # ------------------------------------------------------------------------------------------

    def _ask(self, questions: Sequence[Question]) -> list[_Said]:
        """Which answer it chooses when it is asked in both orders."""
        requests: list[Request] = []
        places: dict[int, int] = {}  # of the question -> of its first request
        found: list[_Said] = []
        for number, one in enumerate(questions):
            asked = [self._request(one, is_swapped) for is_swapped in (False, True)]
            read = [self.adapter.measure_prompt(request.prompt) for request in asked]
            tokens = [count for _, count in read]
            known = None if None in tokens else sum(filter(None, tokens))
            found.append(
                _Said(why=TOO_LONG, read_bytes=sum(size for size, _ in read), read_tokens=known)
            )
            if all(
                size >= count_bytes(request.prompt)
                for (size, _), request in zip(read, asked, strict=True)
            ):
                places[number] = len(requests)
                requests += asked
        replies = self._generate(requests) if requests else []
        for number, at in places.items():
            said, pair = found[number], replies[at : at + 2]
            said.choices = tuple(read_reply(reply.text) for reply in pair)
            said.verdict = join_choices(*said.choices)
            said.why = UNREAD if said.verdict is None else ""
            said.replies = tuple(reply.text[:SHOWN_CHARACTERS] for reply in pair)
            said.written_tokens = sum(reply.tokens for reply in pair)
            counts = [reply.prompt_tokens for reply in pair]
            if said.read_tokens is None and None not in counts:
                said.read_tokens = sum(filter(None, counts))
        return found

    def _request(self, question: Question, is_swapped: bool) -> Request:
        prompt = write_question(question, self.rubric, is_swapped)
        if self.chat is not None:
            return Request(prompt, max_bytes=self.max_bytes, chat=self.chat)
        return Request(prompt + CUE, max_bytes=self.max_bytes, stop=("\n",))

    def _generate(self, requests: Sequence[Request]) -> list[Chunk]:
        """The whole reply to each request, in one piece."""
        said = [Chunk(row, "", 0) for row in range(len(requests))]
        for chunk in stream_answers(self.adapter, requests):
            said[chunk.row] = replace(chunk, text=said[chunk.row].text + chunk.text)
        return [
            replace(one, text=trim_answer(one.text, request))
            for one, request in zip(said, requests, strict=True)
        ]
