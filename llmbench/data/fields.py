"""Where a row of a file keeps the parts of a pair or a question: what its fields are called, and
which candidate is the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from llmbench.errors import UsageError

Part = Literal["text", "given", "choices", "gold", "labels"]
Fields = Mapping[
    Any, str | list[str]
]  # Part -> the name of its field; of several the first that a line has
PARTS: tuple[Part, ...] = ("text", "given", "choices", "gold", "labels")


def fields_of(row: Any, names: Fields) -> dict[Part, tuple[str, Any]]:
    """For each part the name of its field and what it holds; None where the line has no such field.
    `a.b` is the field b of the object a.
    """
    return {part: _first(row, names.get(part, part)) for part in PARTS}


def _first(row: Any, names: str | list[str]) -> tuple[str, Any]:
    several = [names] if isinstance(names, str) else names
    return next(
        ((name, value) for name in several if (value := _at(row, name)) is not None),
        (several[0], None),
    )


def _at(row: Any, path: str) -> Any:
    if isinstance(row, dict) and path in row:
        return row[path]
    for name in path.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row


def answers(found: Any) -> tuple[str, ...]:
    """The right answers of a row: a string, or a list of them; () if it is neither.

    An empty list is that of a question without an answer, as in SQuAD 2: the right one is "".
    """
    if isinstance(found, str):
        return (found,)
    if isinstance(found, list) and all(isinstance(answer, str) for answer in found):
        return tuple(dict.fromkeys(found)) or ("",)
    return ()


def template_fields(row: object, parts: Mapping[Part, tuple[str, Any]]) -> dict[str, str]:
    """The strings of a row that a template may show: all but those that hold the answer."""
    hidden = {parts[part][0] for part in ("text", "choices", "gold", "labels")}
    return {name: value for name, value in _strings(row) if name not in hidden}


def suggest(row: object) -> str:
    """A hint on how to name the field of a row that holds its text."""
    found = dict(_strings(row))
    longest = max(found, key=lambda name: len(found[name]), default="")
    return (
        f"it has {', '.join([*found][:8])}; name the one with the text: `fields: {{text:"
        f" {longest}}}` in a suite, --field text={longest} on the command line"
        if found
        else ""
    )


def _strings(row: object, before: str = "") -> Iterator[tuple[str, str]]:
    """The paths of a row's strings, an object's in another joined by a dot, and what they hold."""
    for name, value in row.items() if isinstance(row, dict) else ():
        if isinstance(value, str):
            yield f"{before}{name}", value
        elif isinstance(value, dict) and before.count(".") < 4:
            yield from _strings(value, f"{before}{name}.")


def choices(parts: Mapping[Part, tuple[str, Any]], where: str) -> tuple[str, ...]:
    """The right candidate, and then all of them in their order; () where the line has none. The
    right one is told by its number, from 0, or, where the candidates have labels, by its label.
    Raises UsageError where they are no candidates, or none is the right one.
    """
    (field, found), (gold_field, gold), (labels_field, labels) = (
        parts["choices"],
        parts["gold"],
        parts["labels"],
    )
    if found is None:
        return ()
    if (
        not isinstance(found, list)
        or len(found) < 2
        or not all(isinstance(choice, str) and choice for choice in found)
    ):
        raise UsageError(f"the field `{field}` must be a list of two or more strings", where=where)
    if labels is None:
        if type(gold) is not int or not 0 <= gold < len(found):
            raise UsageError(
                f"the field `{gold_field}` must be the number of the right one, 0 to"
                f" {len(found) - 1}",
                where=where,
            )
        return (found[gold], *found)
    if not isinstance(labels, list) or len(labels) != len(found) or labels.count(gold) != 1:
        raise UsageError(
            f"the field `{gold_field}` must be one of the labels in `{labels_field}`, one for each"
            " candidate",
            where=where,
        )
    return (found[labels.index(gold)], *found)
