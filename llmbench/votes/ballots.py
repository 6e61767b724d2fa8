"""What people said about answers: `votes.jsonl` in a run's folder, one JSON object a line.

The file only grows. A line is on the disk before anybody is told that it counts; a line that was
cut off by a crash was never counted, and makes room for the next one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

from llmbench import storage, system
from llmbench.errors import UsageError
from llmbench.votes.answers import REFERENCE, AnswerSet, read_answers
from llmbench.votes.kinds import Ballot, Rating, Undo, Vote
from llmbench.votes.parsing import check_repeat, locate, parse_line, write_line

FILE = "votes.jsonl"


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
        new: list[Ballot] = []
        for one in ballots:
            before = known.get(one.identity)
            if before is None:
                check_repeat(one, known, lambda key: str(path))
                known[one.identity] = one
                new.append(one)
            elif not is_same(before, one):
                raise UsageError(
                    f"two different ballots have the identity {one.identity!r}", where=str(path)
                )
        raw = "".join(write_line(one) for one in new).encode()
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
    except (ValueError, RecursionError):
        return False


def read_lines(path: Path) -> list[Ballot]:
    """Return all ballots of a file, each identity once; [] if there is no file.

    UsageError, with the line and the column, if one is no ballot, if two of one identity differ, or
    if a hidden repeat has nothing to repeat. A cut-off line at the end is none yet.
    """
    try:
        raw = storage.read_bytes(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"cannot read the votes: {error.strerror}", where=str(path)) from None
    return _parse_file(path, raw[: len(raw) - len(find_cut(raw))])


def find_cut(raw: bytes) -> bytes:
    """Return what is left of a line that was cut off at the end of a file; b"" of a whole file."""
    last = raw[raw.rfind(b"\n") + 1 :]
    return b"" if _is_whole(last) else last


def _parse_file(path: Path, raw: bytes) -> list[Ballot]:
    found: dict[str, Ballot] = {}
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            ballot = _recall_line(line)
        except UsageError:
            ballot = parse_line(line, f"{path}:{number}")  # which says where
        place = partial(locate, f"{path}:{number}", line)
        check_repeat(ballot, found, place)
        before = found.setdefault(ballot.identity, ballot)
        if not is_same(before, ballot):
            raise UsageError(
                f"two different ballots have the identity {ballot.identity!r}",
                where=place("identity"),
            )
    return list(found.values())


@lru_cache(maxsize=1 << 16)
def _recall_line(line: bytes) -> Ballot:
    """The same, for a file that is read again after each vote."""
    return parse_line(line, "")
