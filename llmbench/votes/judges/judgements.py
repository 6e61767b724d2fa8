"""What judges said of answers: `judgements.jsonl` in a run's folder, one JSON object a line, beside
the votes of people and never among them.

A line is on the disk before the next question is asked, so that a judge that was stopped goes on
where it was. A judgement is of the answers that it was made on, and of no others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmbench import storage, system
from llmbench.errors import UsageError
from llmbench.votes.answers import AnswerSet
from llmbench.votes.kinds import Vote

FILE = "judgements.jsonl"
Kind = Literal["likelihood", "pairwise"]
Choice = Literal["first", "second", "tie"]
PROTOCOLS: dict[Kind, str] = {"likelihood": "judge-likelihood/1", "pairwise": "judge-pairwise/1"}
SHOWN_CHARACTERS = 200  # of a reply: enough to see why it could not be read


class Judgement(BaseModel):
    """A judge's verdict on two answers.

    judge: its name. mark: a digest of the judge and of how it was asked. left, right: contestants,
    in the order of their names. verdict: None if the judge gave no usable one; `why` says the
    reason. digest: as a vote's. choices, replies: of a pairwise judge, what it chose with the left
    answer first, then with the right one first. bits: of a likelihood judge, the bits per byte of
    the left answer and of the right one. longer: which of the two answers has more bytes. asked:
    whether there was a question, as there is none about identical answers. seconds, read_bytes,
    read_tokens (None if unknown), written_tokens, price (None if none is stated): what it took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    identity: str = Field(max_length=64)
    time: str
    judge: str
    mark: str
    kind: Kind
    task: str
    prompt: str
    left: str
    right: str
    digest: str
    verdict: Literal["left", "right", "tie"] | None
    why: str = ""
    choices: tuple[Choice | None, ...] = ()
    replies: tuple[str, ...] = ()
    bits: tuple[float | Literal["inf"], ...] = ()
    longer: Literal["left", "right"] | None = None
    asked: bool = True
    seconds: float = Field(0.0, ge=0)
    read_bytes: int = Field(0, ge=0)
    read_tokens: int | None = None
    written_tokens: int = Field(0, ge=0)
    price: float | None = Field(None, ge=0)

    def to_vote(self) -> Vote | None:
        """Return it as the vote of a rater; None without a verdict."""
        if self.verdict is None:
            return None
        return Vote(
            identity=self.identity,
            time=self.time,
            rater=self.judge,
            task=self.task,
            prompt=self.prompt,
            left=self.left,
            right=self.right,
            verdict=self.verdict,
            digest=self.digest,
            shown=self.asked,
        )


def name_judgement(mark: str, *facts: str) -> str:
    """Return the identity of a judgement of these facts: task, prompt, contestants and digest."""
    whole = json.dumps([mark, *facts], ensure_ascii=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def read_judgements(folder: Path) -> list[Judgement]:
    """Return all judgements of a run's folder, each identity once; [] if there is no file.

    A line that was cut off at the end is none. UsageError, with the line, if another one is wrong.
    """
    path = folder / FILE
    try:
        raw = storage.read_bytes(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"cannot read the judgements: {error.strerror}", where=str(path)) from None
    found: dict[str, Judgement] = {}
    whole = raw[: raw.rfind(b"\n") + 1]
    for number, line in enumerate(whole.split(b"\n"), 1):
        if line.strip():
            one = _parse_line(line, f"{path}:{number}")
            found.setdefault(one.identity, one)
    return list(found.values())


def _parse_line(line: bytes, where: str) -> Judgement:
    try:
        return Judgement.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        spot = ".".join(str(step) for step in first["loc"]) or "the line"
        raise UsageError(f"no judgement: {spot}: {first['msg']}", where=where) from None


def append_judgements(folder: Path, judgements: Sequence[Judgement]) -> None:
    """Write judgements to the end of a run's file, and to the disk, before this returns. What is
    left of a line that was cut off makes room. OSError if the disk is full.
    """
    lines = "".join(storage.as_line(one.model_dump(exclude_defaults=True)) for one in judgements)
    raw = lines.encode("utf-8", "backslashreplace")
    handle = os.open(folder / FILE, system.ADDING, 0o644)
    try:
        system.lock(handle, wait=True)
        with os.fdopen(os.dup(handle), "rb") as file:
            before = file.read()
        os.ftruncate(handle, before.rfind(b"\n") + 1)
        while raw:
            raw = raw[os.write(handle, raw) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def keep_fresh(judgements: Sequence[Judgement], sets: Mapping[str, AnswerSet]) -> list[Judgement]:
    """Return the judgements of answers that are still the same, by the prompts of their task."""
    return [
        one
        for one in judgements
        if one.prompt in sets
        and {one.left, one.right} <= sets[one.prompt].answers.keys()
        and sets[one.prompt].digest(one.left, one.right) == one.digest
    ]
