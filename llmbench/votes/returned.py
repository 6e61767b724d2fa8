"""Files of votes that came back: from a page that was shared, or from another copy of the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmbench import storage
from llmbench.errors import UsageError, check_utf8
from llmbench.results.samples import Opened, open_results
from llmbench.votes import ballots, parsing
from llmbench.votes.kinds import Ballot, Undo
from llmbench.votes.opening import find_sets, list_models, list_tasks, make_key
from llmbench.votes.poll import Changed, Poll, Reply

FORMAT = "votes/1"
MOST_BYTES = 64 << 20  # 500 votes have 200 KB
Name = Annotated[str, Field(min_length=1, max_length=100)]


class Returned(BaseModel):
    """The file that a shared page gives."""

    model_config = ConfigDict(extra="forbid", strict=True)

    llmbench: Literal["votes/1"]
    poll: str
    task: str
    rater: Name
    replies: list[Reply]


@dataclass(frozen=True)
class Imported:
    """What became of a file: new ballots, those that were there, and those that were refused
    because their answers have changed. is_cut: whether its last line was cut off, and left out.
    """

    new: int
    known: int
    changed: int
    is_cut: bool = False


def import_file(run: Path, file: Path) -> Imported:
    """Add the votes of a file to a run's. UsageError, and nothing is added, if one is wrong."""
    opened = open_results(run)
    if opened.record.items is not None:
        raise UsageError("a reviewed record has no answers to vote on", where=str(run))
    found, changed, is_cut = _read_file(opened, file)
    _check_known(opened.folder, found, file)
    new = ballots.append(opened.folder, found)
    return Imported(new, len(found) - new, changed, is_cut)


def _check_known(folder: Path, found: Sequence[Ballot], file: Path) -> None:
    """Raise UsageError, which names the file, if it says of a vote something else than the run."""
    known = {one.identity: one for one in ballots.read_lines(folder / ballots.FILE)}
    for one in found:
        before = known.setdefault(one.identity, one)
        if not ballots.is_same(before, one):
            raise UsageError(
                f"the ballot {one.identity!r} is there already, and says something else",
                where=str(file),
                hint="a file of votes is added as it came, and never edited",
            )


def _read_file(opened: Opened, file: Path) -> tuple[list[Ballot], int, bool]:
    """The ballots, how many are on other answers than the run's, and whether a line is cut off."""
    try:
        raw = storage.read_bytes(file)
    except OSError as error:
        raise UsageError(f"cannot read the votes: {error.strerror}", where=str(file)) from None
    if len(raw) > MOST_BYTES:
        raise UsageError("too long for a file of votes", where=str(file))
    first = raw.lstrip().partition(b"\n")[0]
    if b'"kind"' in first:
        return *_read_lines(opened, file), bool(ballots.find_cut(raw))
    try:
        data = json.loads(raw.decode())
    except json.JSONDecodeError as error:
        place = f"{file}:{error.lineno}:{error.colno}"
        raise UsageError(f"not a file of votes: {error.msg}", where=place) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not a file of votes: {error}", where=str(file)) from None
    return *_read_returned(opened, file, data), False


def _read_lines(opened: Opened, file: Path) -> tuple[list[Ballot], int]:
    """The lines of another votes.jsonl, without those on other answers than the run's."""
    lines = ballots.read_lines(file)
    check = ballots.Check(opened.folder, lines)
    fresh = [one for one in lines if isinstance(one, Undo) or check.is_fresh(one)]
    return fresh, len(lines) - len(fresh)


def _read_returned(opened: Opened, file: Path, data: object) -> tuple[list[Ballot], int]:
    try:
        returned = Returned.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        spot = ".".join(str(step) for step in first["loc"])
        raise UsageError(f"not a file of votes: {spot}: {first['msg']}", where=str(file)) from None
    check_utf8(returned.rater, "the rater's name", str(file))
    poll = _open_poll(opened, returned, file)
    known = {one.identity: one for one in ballots.read_lines(opened.folder / ballots.FILE)}
    found: list[Ballot] = []
    changed = 0
    for number, reply in enumerate(returned.replies):
        where = f"{file}: replies.{number}"
        if reply.time is None:
            raise UsageError("a reply needs 'time'", where=where)
        try:
            resolved = poll.resolve(reply, returned.rater, reply.time)
        except Changed:
            changed += 1
            continue
        except UsageError as error:
            raise UsageError(error.what, where=where) from None
        for one in resolved:
            parsing.check(one, _make_place(where))
            parsing.check_repeat(one, known, _make_place(where, "ticket"))
            known.setdefault(one.identity, one)
        found += resolved
    return found, changed


def _make_place(where: str, part: str = "") -> parsing.Place:
    return lambda key: f"{where}.{part}.{key}" if part else where


def _open_poll(opened: Opened, returned: Returned, file: Path) -> Poll:
    """The poll of which a file came back. UsageError if it is of another run."""
    record, task = opened.record, returned.task
    key = make_key(record)
    models = list_models(record, task)
    sets = find_sets(opened, task, models, human=True) if task in list_tasks(record) else {}
    poll = Poll(opened.folder, task, sets, key=key)
    if not models or poll.poll_id != returned.poll:
        raise UsageError(
            "these votes are on another run, or on another task",
            where=str(file),
            hint="import them into the run whose page was shared",
        )
    return poll
