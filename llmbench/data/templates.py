"""Templates: a text with the names of fields in braces, and what stands in their places."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from llmbench.errors import UsageError, did_you_mean

# {{name}} is the characters {name}; whatever else stands between braces in a line names a field
PLACE = re.compile(r"\{\{(?P<literal>[^{}\n]*)\}\}|\{(?P<name>[^{}\n]*)\}")
FILTERS: dict[str, Callable[[str], str]] = {
    "strip": str.strip,
    "words": lambda text: text.replace("_", " "),
}


def find_fields(template: str) -> list[str]:
    """Return the names of the fields that a template shows, in their order, without filters."""
    found = [match["name"] for match in PLACE.finditer(template)]
    return list(dict.fromkeys(split_filter(name)[0] for name in found if name is not None))


def split_filter(name: str) -> tuple[str, str]:
    """Return the field and the filter of a place such as `question|strip`; "" without one.

    What follows the last bar is a part of the name if it is no filter.
    """
    field, bar, last = name.rpartition("|")
    return (field, last) if bar and last in FILTERS else (name, "")


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Return a template with the fields in their places; KeyError if one is missing."""

    def put(match: re.Match[str]) -> str:
        if match["literal"] is not None:
            return f"{{{match['literal']}}}"
        name, filter = split_filter(match["name"])
        return FILTERS[filter](fields[name]) if filter else fields[name]

    return PLACE.sub(put, template)


def number_letters(texts: Sequence[str]) -> str:
    """Return candidates as lines with letters: `A. red`, `B. blue`."""
    return "\n".join(f"{to_letter(at)}. {text}" for at, text in enumerate(texts))


def to_letter(at: int) -> str:
    """Return the letter of candidate number `at`, from 0."""
    return chr(ord("A") + at)


def refuse_field(name: str, known: Sequence[str], what: str, where: str = "") -> UsageError:
    """Return the error of a template that shows a field which `what` does not have."""
    return UsageError(
        f"unknown field {{{name}}} in the template: {what}",
        where=where,
        hint=hint_fields(name, known),
    )


def hint_fields(name: str, known: Sequence[str]) -> str:
    """Return what to do about a template that shows a field that is not among the known ones."""
    near = did_you_mean(name, known) or f"it has {', '.join(known)}"
    return f"double braces are characters; {near}"
