"""What people said about answers: `votes.jsonl` in a run's folder, one JSON object a line.

The file only grows. A line is on the disk before anybody is told that it counts; a line that was
cut off by a crash was never counted, and makes room for the next one.
"""

from __future__ import annotations

import json
import math
import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args, get_type_hints

from llmbench import limits, storage, system
from llmbench.errors import UsageError, check_utf8
from llmbench.votes.answers import REFERENCE, AnswerSet, read_answers

FILE = "votes.jsonl"
Verdict = Literal["left", "right", "good", "bad", "tie"]
Criterion = Literal["fluency", "sense", "follows"]
TIES = ("good", "bad", "tie")  # both good, both bad, no difference: all are ties for the ranking
LEAST_CHANCE = 1e-6  # of a pair: polls of a thousand models are not far below
STARS = (1, 5)  # the worst and the best rating


@dataclass(frozen=True)
class Vote:
    """Which of two answers a rater found better.

    `prompt`: the item's id in samples/<model>/<task>.jsonl. `left`, `right`: contestants, a model's
    name or "reference", the human text. `digest`: of the prompt and the two answers in the order
    shown (`answers.digest_texts`). `repeat_of`: the vote of which this is the hidden repeat, whose
    sides may be swapped. `chance`: with which these two contestants were drawn, whatever the
    prompt. `seconds`: how long the rater took. `shown`: False where the answers are identical,
    which is a tie that nobody was asked about: it says nothing of agreement or of sides.
    """

    identity: str
    time: str
    rater: str
    task: str
    prompt: str
    left: str
    right: str
    verdict: Verdict
    digest: str
    repeat_of: str | None = None
    chance: float = 1.0
    seconds: float | None = None
    shown: bool = True


@dataclass(frozen=True)
class Rating:
    """How good a rater found one answer by one criterion, from 1 to 5. `digest`: of the prompt and
    the answer.
    """

    identity: str
    time: str
    rater: str
    task: str
    prompt: str
    model: str
    criterion: Criterion
    value: int
    digest: str


@dataclass(frozen=True)
class Undo:
    """A vote or rating taken back by its rater. `of`: its identity."""

    identity: str
    time: str
    rater: str
    of: str


Ballot = Vote | Rating | Undo
KINDS: dict[str, type[Ballot]] = {"vote": Vote, "rating": Rating, "undo": Undo}
HINTS = {name: get_type_hints(kind) for name, kind in KINDS.items()}
_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class Ballots:
    """What counts in a run's folder: each ballot once, without those that were taken back.

    `stale`: ballots on answers that are no longer those that were shown; `doubled`: votes of raters
    who had voted on that pair before. Neither count.
    """

    votes: list[Vote] = field(default_factory=list)
    ratings: list[Rating] = field(default_factory=list)
    stale: int = 0
    doubled: int = 0


def read_votes(folder: Path) -> list[Vote]:
    """Return the votes that count. UsageError as for `read_ballots`."""
    return read_ballots(folder).votes


def read_ratings(folder: Path) -> list[Rating]:
    """Return the ratings that count. UsageError as for `read_ballots`."""
    return read_ballots(folder).ratings


def read_ballots(folder: Path) -> Ballots:
    """Return what counts in a run's folder. UsageError, with the line, if the file is wrong."""
    standing = merge(read_lines(folder / FILE))
    check = Check(folder, standing)
    kept = [one for one in standing if check.is_fresh(one)]
    sent = [one for one in kept if isinstance(one, Vote)]
    votes = drop_doubles(sent)
    ratings = [one for one in kept if isinstance(one, Rating)]
    return Ballots(votes, ratings, len(standing) - len(kept), len(sent) - len(votes))


def merge(lines: Sequence[Ballot]) -> list[Vote | Rating]:
    """Return the votes and ratings that their raters have not taken back."""
    undone = {(one.of, one.rater) for one in lines if isinstance(one, Undo)}
    return [
        one
        for one in lines
        if not isinstance(one, Undo) and (one.identity, one.rater) not in undone
    ]


def drop_doubles(votes: Sequence[Vote]) -> list[Vote]:
    """Return the votes without those that a rater sent of a pair again, from another page: the
    first one counts. Hidden repeats stay, which count in no share.
    """
    seen: set[tuple[object, ...]] = set()
    found = []
    for vote in votes:
        sides = frozenset((vote.left, vote.right))
        place = (vote.rater, vote.task, vote.prompt, sides)
        if vote.repeat_of is not None or place not in seen:
            found.append(vote)
        if vote.repeat_of is None:
            seen.add(place)
    return found


class Check:
    """Whether ballots are on the answers that a run's folder holds now."""

    def __init__(self, folder: Path, ballots: Sequence[Ballot]):
        wanted: dict[str, dict[str, None]] = {}
        for one in ballots:
            if not isinstance(one, Undo):
                models = wanted.setdefault(one.task, {})
                models |= dict.fromkeys(name for name in _contestants(one) if name != REFERENCE)
        self._answers: dict[str, dict[str, AnswerSet]] = {
            task: read_answers(folder, task, list(models)) for task, models in wanted.items()
        }

    def is_fresh(self, ballot: Vote | Rating) -> bool:
        """Whether the answers are still those that were shown."""
        found = self._answers[ballot.task].get(ballot.prompt)
        names = _contestants(ballot)
        if found is None or any(name not in found.answers for name in names):
            return False
        return found.digest(*names) == ballot.digest


def _contestants(ballot: Vote | Rating) -> tuple[str, ...]:
    return (ballot.left, ballot.right) if isinstance(ballot, Vote) else (ballot.model,)


def append(folder: Path, ballots: Sequence[Ballot]) -> int:
    """Write ballots to the end of a run's file, and to the disk; return how many are new.

    Several processes may do so at once. A ballot whose identity is there is not written again;
    UsageError, and nothing is written, if it says something else than the one that is there.
    """
    path = folder / FILE
    with _open_locked(path) as handle:
        known = {one.identity: one for one in _parse_file(path, _repair(handle))}
        new: dict[str, Ballot] = {}
        for one in ballots:
            before = known.get(one.identity) or new.get(one.identity)
            if before is None:
                new[one.identity] = one
            elif not is_same(before, one):
                raise UsageError(
                    f"two different ballots have the identity {one.identity!r}", where=str(path)
                )
        raw = "".join(write_line(one) for one in new.values()).encode()
        while raw:
            raw = raw[os.write(handle, raw) :]
        os.fsync(handle)
    return len(new)


def is_same(one: Ballot, other: Ballot) -> bool:
    """Whether two ballots say the same: when, and how long it took, aside."""
    return _drop_times(one) == _drop_times(other)


def _drop_times(ballot: Ballot) -> Ballot:
    return (
        replace(ballot, time="", seconds=None)
        if isinstance(ballot, Vote)
        else replace(ballot, time="")
    )


@contextmanager
def _open_locked(path: Path) -> Iterator[int]:
    """The file, for one process at a time, opened to be read and added to."""
    is_new = not path.exists()
    handle = os.open(path, system.ADDING, 0o644)
    try:
        system.lock(handle, wait=True)
        if is_new:  # so that its name survives a crash, too
            system.flush_folder(path.parent)
        yield handle
    finally:
        os.close(handle)


def _repair(handle: int) -> bytes:
    """What a locked file holds, of whole lines: a cut-off one goes, and one that lacks only its
    line end gets it.
    """
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        raw = file.read()
    last = raw[raw.rfind(b"\n") + 1 :]
    if not last:
        return raw
    if _is_whole(last):
        os.write(handle, b"\n")
        return raw + b"\n"
    os.ftruncate(handle, len(raw) - len(last))
    return raw[: len(raw) - len(last)]


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def read_lines(path: Path) -> list[Ballot]:
    """Return all ballots of a file, each identity once; [] if there is no file.

    UsageError, with the line, if one is no ballot, or two of one identity differ. A cut-off line at
    the end is none yet.
    """
    try:
        raw = storage.read_bytes(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"cannot read the votes: {error.strerror}", where=str(path)) from None
    last = raw[raw.rfind(b"\n") + 1 :]
    return _parse_file(path, raw if not last or _is_whole(last) else raw[: -len(last)])


def _parse_file(path: Path, raw: bytes) -> list[Ballot]:
    found: dict[str, Ballot] = {}
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            ballot = _recall_line(line)
        except UsageError:
            ballot = parse_line(line, f"{path}:{number}")  # which says where
        before = found.setdefault(ballot.identity, ballot)
        if not is_same(before, ballot):
            raise UsageError(
                f"two different ballots have the identity {ballot.identity!r}",
                where=f"{path}:{number}",
            )
    return list(found.values())


def write_line(ballot: Ballot) -> str:
    """Return a ballot as a line of the file; what is as usual is left out."""
    defaults = {one.name: one.default for one in fields(ballot) if one.default is not MISSING}
    said = {
        name: value
        for name, value in vars(ballot).items()
        if name not in defaults or value != defaults[name]
    }
    return storage.as_line({"kind": _NAMES[type(ballot)], **said})


@lru_cache(maxsize=1 << 16)
def _recall_line(line: bytes) -> Ballot:
    """The same, for a file that is read again after each vote."""
    return parse_line(line, "")


def parse_line(line: bytes, where: str) -> Ballot:
    """Return the ballot of a line. UsageError, with `where`, if it is none."""
    if len(line) > limits.BALLOT_BYTES:
        raise UsageError(f"longer than {limits.BALLOT_BYTES} bytes: no vote", where=where)
    try:
        data = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}", where=where) from None
    if not isinstance(data, dict):
        raise UsageError("expected a JSON object", where=where)
    return parse(data, where)


def parse(data: Mapping[str, object], where: str) -> Ballot:
    """Return the ballot that an object says. UsageError, with `where`, if it is none."""
    said = dict(data)
    name = said.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(name, str):
        raise UsageError(f'"kind" must be one of {", ".join(KINDS)}', where=where)
    hints = HINTS[name]
    for key in said:
        if key not in hints:
            raise UsageError(f"unknown key {key!r} in a {name}", where=where)
    for one in fields(kind):
        if one.name in said:
            _check_value(one.name, said[one.name], hints[one.name], where)
        elif one.default is MISSING:
            raise UsageError(f"a {name} needs {one.name!r}", where=where)
    ballot = kind(**said)  # type: ignore[arg-type]  # checked above
    check(ballot, where)
    return ballot


def _check_value(name: str, value: object, kind: object, where: str) -> None:
    options = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if typing.get_origin(option) is Literal:
            if value in get_args(option) and isinstance(value, str):
                return
        elif option is float:
            if isinstance(value, float | int) and not isinstance(value, bool):
                return
        elif type(value) is option:
            return
    wanted = " or ".join(
        ", ".join(map(str, get_args(option)))
        if typing.get_origin(option) is Literal
        else "null"
        if option is type(None)
        else str(option.__name__)
        for option in options
    )
    raise UsageError(f"{name!r} must be {wanted}", where=where)


def check(ballot: Ballot, where: str) -> None:
    """Raise UsageError, with `where`, for what types do not say."""
    for name, value in vars(ballot).items():
        if isinstance(value, str):
            check_utf8(value, name, where)
            if len(value) > limits.ID_CHARACTERS:
                raise UsageError(
                    f"{name!r} is longer than {limits.ID_CHARACTERS} characters", where=where
                )
    if not ballot.identity:
        raise UsageError("'identity' is empty", where=where)
    try:
        is_zoned = datetime.fromisoformat(ballot.time).tzinfo is not None
    except ValueError:
        is_zoned = False
    if not is_zoned:
        raise UsageError(
            "'time' must be an ISO time with its zone: 2026-01-31T12:00:00Z", where=where
        )
    if isinstance(ballot, Vote):
        if ballot.left == ballot.right:
            raise UsageError("both sides are the same contestant", where=where)
        if not LEAST_CHANCE <= ballot.chance <= 1:
            raise UsageError(f"'chance' must be from {LEAST_CHANCE} to 1", where=where)
        if ballot.seconds is not None and not 0 <= ballot.seconds < math.inf:
            raise UsageError("'seconds' must be 0 or more", where=where)
    if isinstance(ballot, Rating) and not STARS[0] <= ballot.value <= STARS[1]:
        raise UsageError(f"'value' must be from {STARS[0]} to {STARS[1]}", where=where)
