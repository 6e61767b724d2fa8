"""YAML read safely and strictly: no tags, no duplicate keys, and every complaint names
file:line:column.

`read` gives plain data with the place of every node; `check` validates it against a pydantic model
and turns the first finding into one line with "did you mean".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmbench import limits
from llmbench.errors import UsageError, check_utf8, did_you_mean
from llmbench.storage import open_regular

Path_ = tuple[str | int, ...]
Places = dict[Path_, tuple[int, int]]
SCALARS = ("str", "int", "float", "bool", "null", "timestamp", "merge")
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A mapping in one of our YAML files: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def read(path: Path) -> tuple[Any, Places]:
    """(data, places): plain dicts, lists and scalars, and the 1-based (line, column) of each path
    into them.
    """
    try:
        with open_regular(path) as file:
            raw = file.read(limits.YAML_BYTES + 1)
        if len(raw) > limits.YAML_BYTES:
            raise UsageError(f"longer than {limits.YAML_BYTES >> 20} MiB", where=str(path))
        text = raw.decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"not UTF-8 at byte {error.start}", where=str(path)) from None
    places: Places = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = None if node is None else _plain(node, (), places, str(path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise UsageError(f"not YAML: {error.problem or error.context}", where=where) from None
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {error}", where=str(path)) from None
    except RecursionError:
        raise UsageError("not YAML that can be read: nested too deeply", where=str(path)) from None
    return data, places


def _plain(node: yaml.Node, at: Path_, places: Places, path: str) -> Any:
    mark = node.start_mark
    places[at] = (mark.line + 1, mark.column + 1)
    where = f"{path}:{mark.line + 1}:{mark.column + 1}"
    if len(places) > limits.YAML_NODES:
        raise UsageError("too much in one file", where=where)
    if isinstance(node, yaml.MappingNode):
        data: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            spot = f"{path}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
            key = _plain(key_node, (*at, "?"), places, path)
            if not isinstance(key, str):
                raise UsageError(f"a key must be a string, not {key!r}", where=spot)
            if key in data:
                raise UsageError(
                    f"the key {key!r} stands here a second time",
                    where=spot,
                    hint="keep one of them",
                )
            data[key] = _plain(value_node, (*at, key), places, path)
            places[(*at, key, "?")] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        return data
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, i), places, path) for i, item in enumerate(node.value)]
    if node.tag.removeprefix("tag:yaml.org,2002:") not in SCALARS:
        raise UsageError(f"the tag {node.tag!r} is not allowed", where=where)
    try:
        loader = yaml.SafeLoader("")
        value = loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"not a value: {error}", where=where) from None
    check_utf8(str(node.value), "a value", where)
    return value if isinstance(value, str | int | float | bool | type(None)) else str(node.value)


def place(path: Path, places: Places, at: Sequence[str | int]) -> str:
    """file:line:column of a path into the data, or of its nearest enclosing node."""
    steps = tuple(at)
    while steps not in places and steps:
        steps = steps[:-1]
    line, column = places.get(steps, (1, 1))
    return f"{path}:{line}:{column}"


def check(model: type[Model], data: Any, places: Places, path: Path) -> Model:
    """The validated model; UsageError with the first finding otherwise."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        finding = _choose(data, error.errors(include_url=False))
        at = _path_of(data, finding)
        what, hint = _say(model, finding, at)
        key = (*at, "?") if finding["type"] == "extra_forbidden" or _is_key(finding) else tuple(at)
        raise UsageError(what, where=place(path, places, key), hint=hint) from None


def _choose(data: Any, findings: Sequence[Any]) -> Any:
    """The finding that is told: an unknown key before all others; of several about one value and
    what is in it, as the members of a union have, one that is not about its type, the innermost.
    """
    first = min(findings, key=lambda finding: finding["type"] != "extra_forbidden")
    at = _path_of(data, first)
    same = [finding for finding in findings if _path_of(data, finding)[: len(at)] == at]
    is_word = isinstance(first.get("input"), str)
    return min(
        same,
        key=lambda f: (
            f["type"] in TYPES,
            f["type"] == "literal_error" and not is_word,
            -len(_path_of(data, f)),
        ),
    )


def _path_of(data: Any, finding: Any) -> list[str | int]:
    return [step for step in finding["loc"] if _exists(data, step, finding["loc"])]


def _is_key(finding: Any) -> bool:
    """Whether a key is wrong, and not the value under it."""
    return bool(finding["loc"]) and finding["loc"][-1] == "[key]"


def _exists(data: Any, step: str | int, loc: tuple[str | int, ...]) -> bool:
    """Whether a step of pydantic's location is one of the file's (union members and validators add
    steps of their own).
    """
    here: Any = data
    for piece in loc:
        inside = (
            piece in here
            if isinstance(here, dict)
            else isinstance(here, list) and isinstance(piece, int) and piece < len(here)
        )
        if inside:
            if piece == step:
                return True
            here = here[piece]
    return False


def _say(model: type[BaseModel], finding: Any, at: Sequence[str | int]) -> tuple[str, str]:
    steps = finding["loc"] if finding["type"] in ("extra_forbidden", "missing") else at
    names = [step for step in steps if isinstance(step, str)]
    name = names[-1] if names else ""
    if finding["type"] == "extra_forbidden":
        return f"unknown key {name!r}", did_you_mean(name, _fields(model, finding["loc"][:-1]))
    if finding["type"] == "missing":
        return f"the key {name!r} is missing", ""
    if finding["type"] == "model_type":
        return "expected a mapping of keys to values", ""
    got, facts = finding.get("input"), finding.get("ctx", {})
    if finding["type"] == "literal_error":
        known = re.findall("'([^']*)'", str(facts["expected"]))
        kind = "key" if _is_key(finding) else "value"
        value = f"unknown {kind} {_shorten(got)}"
        return value if _is_key(finding) else f"{name}: {value}", did_you_mean(str(got), known)
    message = finding["msg"].removeprefix("Value error, ")
    told = WORDS.get(finding["type"])
    words = told.format_map(facts) if told else f"{message[0].lower()}{message[1:]}"
    is_said = isinstance(got, dict | list) or (isinstance(got, str) and _shorten(got) in words)
    shown = "" if is_said else f", not {_shorten(got)}"
    subject = "a key: " if _is_key(finding) else f"{name}: " if name else ""
    return f"{subject}{words}{shown}", ""


def _shorten(value: object) -> str:
    """A value as YAML or JSON would write it, about; cut if it is long."""
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """The keys allowed where `loc` leads, as far as annotations tell."""
    current: list[type[BaseModel]] = [model]
    for step in loc:
        if isinstance(step, int):
            continue
        found = [
            inner
            for cls in current
            if step in cls.model_fields
            for inner in _models(cls.model_fields[step].annotation)
        ]
        named = [cls for cls in current if cls.__name__ == step or step in _tags(cls)]
        current = found or named or current
    return sorted({name for cls in current for name in cls.model_fields})


def _tags(cls: type[BaseModel]) -> set[str]:
    """Values by which a union tells this member from the others."""
    return {
        value
        for f in cls.model_fields.values()
        for value in get_args(f.annotation)
        if isinstance(value, str)
    }


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for part in get_args(annotation) for inner in _models(part)]


SHOWN = 80  # characters of a wrong value in an error
TYPES = {  # of pydantic's findings: those about a value's type
    "string_type": "expected a string",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a mapping of keys to values",
    "tuple_type": "expected a list",
}
WORDS: Mapping[str, str] = {
    **TYPES,
    "string_pattern_mismatch": "expected a name of letters, digits and . _ -, beginning with a"
    " letter or a digit",
    "string_too_long": "longer than {max_length} characters",
    "string_too_short": "must not be empty",
    "too_short": "too few entries: it needs {min_length}",
    "too_long": "too many entries: at most {max_length}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "finite_number": "must be a finite number",
}
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of suites, tasks and texts: files are called after them
Name = Annotated[str, Field(pattern=NAME, max_length=limits.NAME_CHARACTERS)]
