"""A document, and many of them in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import overload

from llmbench.data.strings import Frame, Strings

AT_ONCE = 1 << 10  # documents that are held while columns are made of them
ID = "="  # in place of fields that are the id alone


@dataclass(frozen=True)
class Document:
    """One text with its own context, after `given` where it is a pair. `id` is unique within its
    Text. `choices`: of a question with candidates all of them, the right one, which is the text,
    included. `truth`: the bits that the source itself needs for the text, where they are known.
    `others`: of a pair with several right answers those besides the text. `fields`: the other
    strings of its row, by name, for templates. `contexts`: of a question whose candidates are
    contexts, one for each of `choices`, which names them; `continuation`: what follows each.
    """

    id: str
    text: str
    context: str = ""
    choices: tuple[str, ...] = ()
    truth: float | None = None
    others: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict, compare=False)
    contexts: tuple[str, ...] = ()
    continuation: str = ""

    @classmethod
    def of_text(cls, id: str, text: str, fields: Mapping[str, str]) -> Document:
        """A document that is a text and no more, made in a third of the time: the other attributes
        stay those of the class.
        """
        made = cls.__new__(cls)
        vars(made).update(id=id, text=text, fields=fields)
        return made

    @property
    def references(self) -> tuple[str, ...]:
        """All right answers."""
        return (self.text, *self.others)

    @property
    def whole(self) -> str:
        """What a model that goes on with a text reads to learn the text: of a pair the source
        before it, with nothing between them.
        """
        return self.context + self.text

    @property
    def size(self) -> int:
        """Bytes of all that is asked: the text, its context, and the other candidates."""
        if self.contexts:
            parts = (*self.contexts, *[self.continuation] * len(self.contexts))
        else:
            parts = (self.context, *(self.choices or (self.text,)))
        return sum(len(part.encode()) for part in parts)

    @property
    def is_plain(self) -> bool:
        """Whether it is neither a pair nor a question."""
        return not self.context and not self.choices


class Documents(Sequence[Document]):
    """Documents as columns, each made when it is asked for: about 50 bytes more than their text.
    There is a column each for ids, texts, what else a document has, and the other fields of its
    row; the last two are JSON, and empty for a document with nothing of the kind.
    """

    def __init__(self, documents: Iterable[Document] = ()):
        self.ids, self.texts, self.rests, self.fields = (Strings() for _ in range(4))
        waiting = iter(documents)
        while block := list(islice(waiting, AT_ONCE)):
            self.ids.extend([document.id for document in block])
            self.texts.extend([document.text for document in block])
            self.rests.extend(map(_encode_rest, block))
            self.fields.extend(map(_encode_fields, block))

    @property
    def have_only_text(self) -> bool:
        """Whether no document has anything else: no context, no choices, no truth."""
        return not self.rests.size

    def frames(self) -> list[Frame]:
        """All columns as bytes; see `from_frames`."""
        columns = (self.ids, self.texts, self.rests, self.fields)
        return [frame for column in columns for frame in column.frames()]

    @classmethod
    def from_frames(cls, frames: Sequence[Frame]) -> Documents:
        """The documents of `frames`."""
        made = cls()
        made.ids, made.texts, made.rests, made.fields = (
            Strings.from_frames(*frames[i : i + 2]) for i in range(0, len(frames), 2)
        )
        return made

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Document: ...
    @overload
    def __getitem__(self, at: slice) -> Documents: ...
    def __getitem__(self, at: int | slice) -> Document | Documents:
        if isinstance(at, slice):
            made = Documents()
            made.ids, made.texts = self.ids[at], self.texts[at]
            made.rests, made.fields = self.rests[at], self.fields[at]
            return made
        id, text, rest, fields = self.ids[at], self.texts[at], self.rests[at], self.fields[at]
        shown = {"id": id} if fields == ID else json.loads(fields) if fields else {}
        if not rest:
            return Document.of_text(id, text, shown)
        context, choices, truth, others, *apart = json.loads(rest)
        contexts, continuation = apart or ((), "")
        return Document(
            id,
            text,
            context,
            tuple(choices),
            truth,
            tuple(others),
            shown,
            tuple(contexts),
            continuation,
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Documents | tuple)
            and len(self) == len(other)
            and all(one == another for one, another in zip(self, other, strict=True))
        )

    def __hash__(self) -> int:
        return hash(tuple(self))


def _encode_rest(document: Document) -> str:
    if len(vars(document)) == 3:
        return ""
    rest = (document.context, document.choices, document.truth, document.others)
    if document.contexts:
        return _as_json((*rest, document.contexts, document.continuation))
    return "" if rest == ("", (), None, ()) else _as_json(rest)


def _encode_fields(document: Document) -> str:
    if not document.fields:
        return ""
    return ID if document.fields == {"id": document.id} else _as_json(dict(document.fields))


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
