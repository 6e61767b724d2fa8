"""Load texts: built in, generated, and from files."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from llmbench import limits
from llmbench.data import fields as data_fields
from llmbench.data import formats, rows, splitting
from llmbench.data.documents import Documents
from llmbench.data.preparation import Shaping, prepare_row
from llmbench.data.storyworld import stories
from llmbench.data.text import Document, Text
from llmbench.errors import UsageError, did_you_mean

BUILT_IN = {
    "fables": ("fables.jsonl", "a0cf577a3c01626724432bfdf5f2a0fedaa64d268c7f31b8bfd7200ee0433657")
}


STORYWORLD = "storyworld"  # generated: see storyworld/


IDS_AT_ONCE = 1 << 14  # that are held as they stand
PLAIN_KEYS = frozenset(("id", "text"))


STORIES = {"train": 800, "valid": 60, "test": 120}  # stories of each split


SOURCES = (*BUILT_IN, STORYWORLD)


def load(
    name: str,
    source: str | Path,
    split: Mapping[str, Any] | None = None,
    select: Mapping[str, str] | None = None,
    join: bool = False,
    fields: data_fields.Fields | None = None,
    shaping: Shaping = Shaping(),
) -> Text:
    """The text `name` from a built-in source or a file, cut by `split`, reduced to the rows whose
    fields match `select`. A file of rows (data/rows.py) has a document in each; any other file is
    one document.

    `fields`: what the fields of a pair or a question are called in the file: see data/fields.py.
    `shaping`: what is made of each row of a file before: see data/preparation.py.
    `join`: the documents are the pieces of a single one, with nothing between them; they are joined
    before the text is cut. Raises UsageError with file:line:column where the bytes are not UTF-8, a
    row is wrong, or nothing is left; and where pairs or questions are to be cut or
    joined.
    """
    found: Iterable[Document]
    if str(source) == STORYWORLD:
        where, found = STORYWORLD, _stories(**(select or {}))
    elif str(source) in BUILT_IN:
        where, raw = str(source), _built_in(str(source))
        found = _documents(rows.read_rows(raw, where, "json lines"), where, select)
    else:
        path = Path(source)
        where, form = str(path), formats.format_of(path)
        if form != "text":
            found = _documents(rows.read_file(path, form), where, select, fields, shaping)
        elif select or fields or shaping != Shaping():
            key = "select" if select else "fields" if fields else "prepare"
            raise UsageError(
                f"`{key}` needs a file of rows: {', '.join(formats.FORMATS)}",
                where=where,
            )
        else:
            text = rows.decode(rows.read_bytes(path), where).removeprefix(rows.MARK)
            formats.check_prose(text, path)
            found = [Document(name, text)]
    if join or split:
        found = list(found)
        _check_plain(found, "joined" if join else "cut", where)
        if join:
            found = [Document(name, "".join(document.text for document in found))]
        if split:
            found = splitting.cut(found, split, where)
    # of a pair an empty answer is an answer
    documents = Documents(document for document in found if document.text or document.context)
    if not documents:
        raise UsageError("the text is empty", where=where, hint=f"it was to be the text {name!r}")
    return Text(name, documents)


def _stories(part: str = "stories", split: str = "test", **more: str) -> list[Document]:
    """The stories of a split, questions about them, or their translations as pairs. No story of one
    split stands in another.
    """
    if more or part not in ("stories", "questions", "pairs") or split not in STORIES:
        asked = ", ".join(
            f"{key}={value}" for key, value in {"part": part, "split": split, **more}.items()
        )
        raise UsageError(
            f"there is no {asked}",
            where=STORYWORLD,
            hint=f"part: stories, questions or pairs; split: {', '.join(STORIES)}",
        )
    told: list[stories.Story] = []
    for number, (name, count) in enumerate(STORIES.items()):
        new = stories.make(count, number, frozenset(story.text for story in told))
        if name == split:
            break
        told += new
    if part == "stories":
        return [
            Document(f"{split}-{i:04d}", story.text, truth=story.bits)
            for i, story in enumerate(new)
        ]
    rows = (stories.question_rows if part == "questions" else stories.pair_rows)(new)
    return [Document(f"{split}-{row['id']}", row["text"], row["given"]) for row in rows]


def _built_in(name: str) -> bytes:
    file, sha256 = BUILT_IN[name]
    raw = resources.files("llmbench.data").joinpath("texts", file).read_bytes()
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise UsageError(
            "the built-in text does not have its checksum",
            where=file,
            hint="install llmbench again",
        )
    return raw


def _documents(
    found: Iterable[rows.Row],
    name: str,
    select: Mapping[str, str] | None,
    fields: data_fields.Fields | None = None,
    shaping: Shaping = Shaping(),
) -> Iterator[Document]:
    """The document of each row that matches `select`. `name`: of the file."""
    seen, is_plain = _Ids(), not (select or fields or shaping != Shaping())
    passed: dict[str, set[str]] = {key: set() for key in select or {}}
    try:
        for row in found:
            document, value = _plain_document(row) if is_plain else None, row.value
            if document is None:
                if shaping.prepare:
                    value = prepare_row(value, shaping.prepare, row.where)
                if isinstance(value, dict) and not _is_chosen(value, row.where, select):
                    for key, values in passed.items():
                        if len(values) < limits.ENTRIES:  # enough to suggest one
                            values.add(str(value[key]))
                    continue
                document = _document(value, row.where, row.number, fields, shaping.candidates)
            seen.add(document.id, row)
            yield document
    finally:  # an id that stands twice is told before what is wrong further on
        seen.check()
    if not seen.count and select:
        key = next((k for k, values in passed.items() if select[k] not in values), "")
        what = f"no row has {key}: {select[key]}" if key else "no row has all that `select` names"
        raise UsageError(
            what, where=name, hint=did_you_mean(select.get(key, ""), passed.get(key, ()))
        )


def _plain_document(row: rows.Row) -> Document | None:
    """The document of a row with a text, perhaps an id, and nothing else, which most rows are; None
    of others.
    """
    value = row.value
    if not isinstance(value, dict) or not value.keys() <= PLAIN_KEYS:
        return None
    text, id = value.get("text"), value.get("id", "")
    if not isinstance(text, str) or not isinstance(id, str) or len(id) > limits.ID_CHARACTERS:
        return None
    if not (text.isascii() and id.isascii()):
        try:
            text.encode()
            id.encode()
        except UnicodeEncodeError:
            return None
    if "id" not in value:
        return Document.of_text(f"line-{row.number}", text, {})
    return Document.of_text(id, text, {"id": id})


def _is_chosen(row: Mapping[str, object], where: str, select: Mapping[str, str] | None) -> bool:
    """Whether a row has the values that `select` names. UsageError if it lacks a field."""
    for key in select or {}:
        if key not in row:
            raise UsageError(f"no field {key!r}", where=where, hint=did_you_mean(key, row))
    return all(str(row[key]) == value for key, value in (select or {}).items())


def _document(
    row: object,
    where: str,
    number: int,
    fields: data_fields.Fields | None,
    candidates: Sequence[str],
) -> Document:
    """The document of a row. `candidates`: templates of its candidates, if no field has them."""
    if not isinstance(row, dict):
        raise UsageError(
            f"a row must be an object, got {json.dumps(row)[:40]}",
            where=where,
            hint='{"text": "..."} is one',
        )
    asked = data_fields.fields_of(row, fields or {})
    if candidates and asked["choices"][1] is None:
        asked["choices"] = ("candidates", data_fields.fill_all(candidates, row, where))
    choices = data_fields.choices(asked, where)
    contexts = data_fields.contexts(asked, len(choices) - 1, where) if choices else ()
    (text_field, text), (given_field, given) = asked["text"], asked["given"]
    data_fields.check_named(row, fields or {}, where)
    is_pair, follows = given is not None, text if contexts else ""
    text, given = choices[0] if choices else text, "" if given is None else given
    right = data_fields.answers(text) if given and not choices else ()
    text = right[0] if right else text
    for field, value in (
        (text_field, text),
        (text_field, follows),
        (given_field, given),
        *((asked["choices"][0], choice) for choice in choices[1:]),
        *((asked["contexts"][0], context) for context in contexts),
        *((text_field, answer) for answer in right[1:]),
    ):
        if not isinstance(value, str):
            raise UsageError(
                f"a row must be an object with a string in the field `{field}`",
                where=where,
                hint=data_fields.suggest(row, asked, field),
            )
        _check_utf8(value, f"the field `{field}`", where)
    _check_filled(asked, (is_pair, text, given), contexts, where)
    identity = _read_id(row, number, where)
    shown = data_fields.template_fields(row, asked)
    return Document(
        identity,
        text,
        given,
        choices[1:],
        others=right[1:],
        fields=shown,
        contexts=contexts,
        continuation=follows,
    )


def _check_filled(
    asked: data_fields.Found, pair: tuple[bool, str, str], contexts: Sequence[str], where: str
) -> None:
    """UsageError if nothing is left of a pair (whether it is one, its text, its context), or if
    nothing follows contexts.
    """
    (text_field, follows), (given_field, _) = asked["text"], asked["given"]
    is_pair, text, given = pair
    if is_pair and not text and not given:
        raise UsageError(
            f"the fields `{given_field}` and `{text_field}` are both empty",
            where=where,
            hint="leave the row out; of a pair, the answer alone may be empty",
        )
    if contexts and not follows:
        raise UsageError(
            f"the field `{text_field}` is empty, and it should follow each context", where=where
        )


def _read_id(row: Mapping[str, object], number: int, where: str) -> str:
    """The id of a row, by default its number, also of an id that is null. UsageError if it cannot
    be stored or shown.
    """
    own = row.get("id")
    if isinstance(own, bool | list | dict):
        raise UsageError(
            f"the id must be a string or a number, got {json.dumps(own)[:40]}", where=where
        )
    identity = f"line-{number}" if own is None else str(own)
    _check_utf8(identity, "the id", where)
    if len(identity) > limits.ID_CHARACTERS:
        raise UsageError(
            f"the id has {len(identity)} characters, and may have {limits.ID_CHARACTERS}",
            where=where,
        )
    return identity


class _Ids:
    """The ids of a text, of which none may stand twice: 8 bytes each, a hash of 64 bits. A false
    alarm is a matter of 1e-7 for a million, and gone when the file is read again.
    """

    def __init__(self) -> None:
        self._known = np.empty(0, dtype=np.int64)  # in order
        self._ids: list[str] = []  # the last ones, and where they stand
        self._files: list[str] = []
        self._places = array("q")  # line and column; rows would keep the garbage collector busy
        self.count = 0

    def add(self, id: str, row: rows.Row) -> None:
        """Take in an id. Raises UsageError if it is there already, now or at the next `check`."""
        self._ids.append(id)
        self._files.append(row.file)
        self._places.extend((row.line, row.column))
        self.count += 1
        if len(self._ids) >= IDS_AT_ONCE:
            self.check()

    def check(self) -> None:
        """Raise UsageError if one of the last ids stands here a second time."""
        ids, self._ids = self._ids, []
        new = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
        order = np.argsort(new, kind="stable")
        again = order[1:][new[order[1:]] == new[order[:-1]]].tolist()
        if len(self._known):
            at = np.minimum(np.searchsorted(self._known, new), len(self._known) - 1)
            again += np.flatnonzero(self._known[at] == new).tolist()
        if again:
            first = min(again)
            line, column = self._places[2 * first : 2 * first + 2]
            raise UsageError(
                f"the id {ids[first]!r} stands here a second time",
                where=f"{self._files[first]}:{line}:{column}",
            )
        self._known = np.sort(np.concatenate([self._known, new]), kind="stable")
        self._files, self._places = [], array("q")


def _check_utf8(value: str, what: str, where: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{what} holds half a surrogate pair, which no UTF-8 text has", where=where
        ) from None


def _check_plain(documents: Sequence[Document], done: str, where: str) -> None:
    """UsageError where what is to be cut or joined is a pair or a question, which would lose its
    source and its candidates.
    """
    for document in documents:
        if not document.is_plain:
            hint = "leave out `split` and `join`; `select` chooses among them"
            raise UsageError(
                f"{document.id!r} is a pair or a question, which cannot be {done}",
                where=where,
                hint=hint,
            )
