"""Ballots as lines of JSON, written and read strictly."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from typing import Literal, get_args, get_type_hints

from llmbench import limits, storage
from llmbench.errors import UsageError, check_utf8
from llmbench.votes.kinds import KINDS, STARS, Ballot, Rating, Vote

Place = Callable[[str], str]  # where the value of a key stands, of whatever is wrong with it

HINTS = {name: get_type_hints(kind) for name, kind in KINDS.items()}
LEAST_CHANCE = 1e-6  # of a pair: polls of a thousand models are not far below
_NAMES = {kind: name for name, kind in KINDS.items()}


def write_line(ballot: Ballot) -> str:
    """Return a ballot as a line of the file; what is as usual is left out."""
    defaults = {one.name: one.default for one in fields(ballot) if one.default is not MISSING}
    said = {
        name: value
        for name, value in vars(ballot).items()
        if name not in defaults or value != defaults[name]
    }
    return storage.as_line({"kind": _NAMES[type(ballot)], **said})


def parse_line(line: bytes, where: str) -> Ballot:
    """Return the ballot of a line. UsageError, with `where` and the column, if it is none."""
    if len(line) > limits.BALLOT_BYTES:
        raise UsageError(f"longer than {limits.BALLOT_BYTES} bytes: no vote", where=where)
    try:
        text = line.decode()
        data = json.loads(text, object_pairs_hook=_refuse_doubles)
    except UnicodeDecodeError as error:
        raise UsageError("not UTF-8", where=f"{where}:{error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"not JSON: {error.msg}", where=f"{where}:{error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}", where=f"{where}:1") from None
    if not isinstance(data, dict):
        raise UsageError("expected a JSON object", where=f"{where}:1")
    return _parse(data, lambda key: locate(where, line, key))


def locate(where: str, line: bytes, key: str) -> str:
    """Return the place of a key in a line of JSON, with its column; of the beginning of the line if
    it lacks the key.
    """
    return f"{where}:{1 + max(0, line.decode().find(json.dumps(key, ensure_ascii=False)))}"


def _refuse_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; ValueError if it says one thing twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _parse(data: Mapping[str, object], place: Place) -> Ballot:
    said = dict(data)
    name = said.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(name, str):
        raise UsageError(f'"kind" must be one of {", ".join(KINDS)}', where=place("kind"))
    hints = HINTS[name]
    for key in said:
        if key not in hints:
            raise UsageError(f"unknown key {key!r} in a {name}", where=place(key))
    for one in fields(kind):
        if one.name in said:
            _check_value(one.name, said[one.name], hints[one.name], place(one.name))
        elif one.default is MISSING:
            raise UsageError(f"a {name} needs {one.name!r}", where=place(one.name))
    ballot = kind(**said)  # type: ignore[arg-type]  # checked above
    check(ballot, place)
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


def check(ballot: Ballot, place: Place) -> None:
    """Raise UsageError, with the place of the key, for what types do not say."""
    for name, value in vars(ballot).items():
        if isinstance(value, str):
            check_utf8(value, name, place(name))
            if len(value) > limits.ID_CHARACTERS:
                raise UsageError(
                    f"{name!r} is longer than {limits.ID_CHARACTERS} characters", where=place(name)
                )
    if not ballot.identity:
        raise UsageError("'identity' is empty", where=place("identity"))
    try:
        is_zoned = datetime.fromisoformat(ballot.time).tzinfo is not None
    except ValueError:
        is_zoned = False
    if not is_zoned:
        raise UsageError(
            "'time' must be an ISO time with its zone: 2026-01-31T12:00:00Z", where=place("time")
        )
    if isinstance(ballot, Vote):
        _check_vote(ballot, place)
    if isinstance(ballot, Rating) and not STARS[0] <= ballot.value <= STARS[1]:
        raise UsageError(f"'value' must be from {STARS[0]} to {STARS[1]}", where=place("value"))


def _check_vote(vote: Vote, place: Place) -> None:
    if vote.left == vote.right:
        raise UsageError("both sides are the same contestant", where=place("right"))
    if not LEAST_CHANCE <= vote.chance <= 1:
        raise UsageError(f"'chance' must be from {LEAST_CHANCE} to 1", where=place("chance"))
    if vote.seconds is not None and not 0 <= vote.seconds < math.inf:
        raise UsageError("'seconds' must be 0 or more", where=place("seconds"))


def check_repeat(ballot: Ballot, before: Mapping[str, Ballot], place: Place) -> None:
    """Raise UsageError, with the place of the key, if a hidden repeat does not repeat a vote of
    its rater on its pair. before: the ballots that stand before it, by their identities.
    """
    if not isinstance(ballot, Vote) or ballot.repeat_of is None:
        return
    first = before.get(ballot.repeat_of)
    if not isinstance(first, Vote):
        what = f"'repeat_of' names no vote that stands before it: {ballot.repeat_of!r}"
    elif first.repeat_of is not None:
        what = f"'repeat_of' names a vote that is a repeat itself: {ballot.repeat_of!r}"
    elif _name_question(first) != _name_question(ballot):
        what = f"'repeat_of' names a vote of another rater, or on another pair: {first.identity!r}"
    else:
        return
    raise UsageError(what, where=place("repeat_of"))


def _name_question(vote: Vote) -> tuple[object, ...]:
    return vote.rater, vote.task, vote.prompt, frozenset((vote.left, vote.right))
