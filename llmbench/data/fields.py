"""Where a row of a file keeps the parts of a pair or a question: what its fields are called, and
which candidate is the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from llmbench.data.templates import fill, refuse_field
from llmbench.errors import UsageError

Part = Literal["text", "given", "choices", "gold", "labels", "contexts"]
Fields = Mapping[
    Any, str | list[str]
]  # Part -> the name of its field; of several the first that a line has
Found = Mapping[Part, tuple[str, Any]]  # the name of its field, and what it holds
PARTS: tuple[Part, ...] = ("text", "given", "choices", "gold", "labels", "contexts")


def fields_of(row: Any, names: Fields) -> dict[Part, tuple[str, Any]]:
    """For each part the name of its field and what it holds; None where the line has no such field.
    `a.b` is the field b of the object a, or of a list of objects the list of their fields b.
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
        if isinstance(row, list) and all(isinstance(item, dict) and name in item for item in row):
            row = [item[name] for item in row]
        else:
            row = row.get(name) if isinstance(row, dict) else None
    return row


def check_named(row: object, names: Fields, where: str) -> None:
    """Raise UsageError if a row has none of the fields that are named for its question or its
    candidates: it would pass for a text without them.
    """
    for part in ("given", "choices"):
        asked = names.get(part, [])
        several = [asked] if isinstance(asked, str) else asked
        if several and not any(_holds(row, name) for name in several):
            shown = " or ".join(f"`{name}`" for name in several)
            known = list(row) if isinstance(row, dict) else []
            raise UsageError(
                f"the row has no field {shown}, which `fields` names as `{part}`",
                where=where,
                hint=f"it has {', '.join(map(str, known[:8]))}",
            )


def _holds(row: object, path: str) -> bool:
    """Whether a row has this field, be it null."""
    before, _, last = path.rpartition(".")
    inside = _at(row, before) if before else row
    return _at(row, path) is not None or (isinstance(inside, dict) and last in inside)


def answers(found: Any) -> tuple[str, ...]:
    """The right answers of a row: a string, or a list of them; () if it is neither.

    An empty list is that of a question without an answer, as in SQuAD 2: the right one is "".
    """
    if isinstance(found, str):
        return (found,)
    if isinstance(found, list) and all(isinstance(answer, str) for answer in found):
        return tuple(dict.fromkeys(found)) or ("",)
    return ()


def contexts(parts: Mapping[Part, tuple[str, Any]], count: int, where: str) -> tuple[str, ...]:
    """The context of each of `count` candidates; () if the row has none. UsageError if they are no
    list of so many strings.
    """
    field, found = parts["contexts"]
    if found is None:
        return ()
    if (
        not isinstance(found, list)
        or len(found) != count
        or not all(isinstance(context, str) and context for context in found)
    ):
        raise UsageError(
            f"the field `{field}` must be a list of strings, one for each candidate", where=where
        )
    return tuple(found)


def fill_all(templates: Sequence[str], row: object, where: str) -> list[str]:
    """Templates with a row's strings in their places. UsageError for a field that it lacks."""
    shown = dict(_strings(row))
    try:
        return [fill(template, shown) for template in templates]
    except KeyError as error:
        what = "the row has no such field with a string, which a candidate shows"
        raise refuse_field(str(error.args[0]), [*shown][:8], what, where) from None


def template_fields(row: object, parts: Mapping[Part, tuple[str, Any]]) -> dict[str, str]:
    """The strings of a row that a template may show: all but those that hold the answer."""
    hidden = {parts[part][0] for part in ("text", "choices", "gold", "labels", "contexts")}
    return {name: value for name, value in _strings(row) if name not in hidden}


def suggest(row: object, parts: Mapping[Part, tuple[str, Any]], field: str) -> str:
    """A hint on what to do about a field of a row that holds no string, but should.

    parts: of `fields_of`.
    """
    text, given = parts["text"][0], parts["given"][0]
    held = _at(row, field)
    key = _find_string_key(held)
    if field == text and key:
        return f"it is a list of objects; name their strings: `fields: {{text: {field}.{key}}}`"
    if isinstance(held, dict) and (inside := [name for name, _ in _texts(held)]):
        example = f"`fields: {{{'text' if field == text else 'given'}: {field}.{inside[0]}}}`"
        return f"it is an object with {', '.join(inside[:8])}; name one of them: {example}"
    if held is not None:
        return f"its {type(held).__name__} is {str(held)[:40]}"
    is_pair = parts["given"][1] is not None
    found = {name: value for name, value in _texts(row) if name not in (given, "id")}
    known = ", ".join([*(name for name, _ in _texts(row))][:8])
    if not found:
        what = f"; a pair has its answer in `{text}`, which may be empty" if is_pair else ""
        return f"it has {known}{what}" if known else what[2:]
    longest = max(found, key=lambda name: len(found[name]))
    if is_pair:
        return f"it has {known}; name the one with the answer: `fields: {{text: {longest}}}`"
    return (
        f"it has {known}; name the one with the text: `fields: {{text: {longest}}}` in a suite,"
        f" --field text={longest} on the command line"
    )


def _texts(row: object) -> Iterator[tuple[str, str]]:
    """The paths of a row's strings, and of its lists of strings, or of objects with some."""
    yield from _strings(row)
    for name, value in row.items() if isinstance(row, dict) else ():
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            yield name, value[0]
        elif key := _find_string_key(value):
            yield f"{name}.{key}", value[0][key]


def _find_string_key(value: object) -> str:
    """The first key whose value is a string in each of a list of objects; "" if there is none."""
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        return ""
    return next((key for key in value[0] if all(isinstance(v.get(key), str) for v in value)), "")


def _strings(row: object, before: str = "") -> Iterator[tuple[str, str]]:
    """The paths of a row's strings, an object's in another joined by a dot, and what they hold."""
    for name, value in row.items() if isinstance(row, dict) else ():
        if isinstance(value, str):
            yield f"{before}{name}", value
        elif isinstance(value, dict) and before.count(".") < 4:
            yield from _strings(value, f"{before}{name}.")


def _read_gold(gold: object, count: int) -> int | None:
    """The number of the right one of so many candidates, from its number, its letter, or whether
    it is the second of two; None if it is none of these.
    """
    if isinstance(gold, bool):
        return int(gold) if count == 2 else None
    if isinstance(gold, str) and len(gold) == 1 and gold.isascii() and gold.isupper():
        gold = ord(gold) - ord("A")
    return gold if isinstance(gold, int) and 0 <= gold < count else None


def choices(parts: Mapping[Part, tuple[str, Any]], where: str) -> tuple[str, ...]:
    """The right candidate, and then all of them in their order; () where the line has none. The
    right one is told by its number, from 0, or its letter, or, where the candidates have labels, by
    its label. Raises UsageError where they are no candidates, or none is the right one.
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
        or not all(isinstance(choice, str) for choice in found)
    ):
        raise UsageError(f"the field `{field}` must be a list of two or more strings", where=where)
    if "" in found:
        what = f"candidate {found.index('')} of the field `{field}`, counted from 0, is empty"
        raise UsageError(what, where=where)
    if labels is None:
        at = _read_gold(gold, len(found))
        if at is None:
            raise UsageError(
                f"the field `{gold_field}` must be the number of the right one, 0 to"
                f" {len(found) - 1}",
                where=where,
                hint="or its letter, from A; of two candidates also false or true",
            )
        return (found[at], *found)
    gold = gold.strip() if isinstance(gold, str) and gold not in labels else gold
    if not isinstance(labels, list) or len(labels) != len(found) or labels.count(gold) != 1:
        raise UsageError(
            f"the field `{gold_field}` must be one of the labels in `{labels_field}`, one for each"
            " candidate",
            where=where,
        )
    return (found[labels.index(gold)], *found)
