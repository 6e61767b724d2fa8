"""Texts: built in, and from files. A text is its bytes; nothing is normalised, re-encoded or
stripped.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from llmbench.data.splitting import cut_fraction
from llmbench.errors import UsageError

PARTED = 1 << 63  # before the parts of a pair or a question; no text is so long


@dataclass(frozen=True)
class Document:
    """One text with its own context, after `given` where it is a pair. `id` is unique within its
    Text. `choices`: of a question with candidates all of them, the right one, which is the text,
    included. `truth`: the bits that the source itself needs for the text, where they are known.
    `others`: of a pair with several right answers those besides the text. `fields`: the other
    strings of its row, by name, for templates.
    """

    id: str
    text: str
    context: str = ""
    choices: tuple[str, ...] = ()
    truth: float | None = None
    others: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict, compare=False)

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
        parts = (self.context, *(self.choices or (self.text,)))
        return sum(len(part.encode()) for part in parts)

    @property
    def is_plain(self) -> bool:
        """Whether it is neither a pair nor a question."""
        return not self.context and not self.choices


@dataclass(frozen=True)
class Text:
    """Documents under a name, identified by the sha256 of their bytes (of the file's bytes where
    the file is one document), each after its length; of pairs and questions each after the number
    of their parts, too.
    """

    name: str
    documents: tuple[Document, ...]
    sampled: str = "none"  # N@seed where only a sample is left

    def __repr__(self) -> str:
        return f"<Text {self.name}: {len(self.documents)} documents, {self.bytes:,} bytes>"

    @cached_property
    def sha256(self) -> str:
        if len(self.documents) == 1 and self.documents[0].is_plain:
            return hashlib.sha256(self.documents[0].text.encode()).hexdigest()
        digest = hashlib.sha256()
        for document in self.documents:
            parts = (
                [document.text]
                if document.is_plain
                else [document.text, document.context, *document.choices, *document.others]
            )
            if not document.is_plain:
                digest.update((PARTED + len(parts)).to_bytes(8, "big"))
            for data in (part.encode() for part in parts):
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    @cached_property
    def bytes(self) -> int:
        return sum(len(document.text.encode()) for document in self.documents)

    def leave_out(self, ids: Collection[str]) -> Text:
        """The documents with other ids than these."""
        kept = tuple(document for document in self.documents if document.id not in ids)
        return Text(self.name, kept, self.sampled)

    def sample(self, limit: int | None, seed: int) -> Text:
        """A seeded sample of `limit` documents in their old order; the whole text where it has no
        more than that.
        """
        if limit is None or limit >= len(self.documents):
            return self
        chosen = sorted(random.Random(seed).sample(range(len(self.documents)), limit))
        return Text(self.name, tuple(self.documents[i] for i in chosen), f"{limit}@{seed}")

    def hold_out(self, share: float) -> tuple[Text, Text]:
        """(the rest, the tail): the last documents making up `share` of the bytes, or the tail of a
        single document.

        Raises UsageError where the single document is a pair or a question, which has no tail.
        """
        if len(self.documents) == 1:
            only = self.documents[0]
            if not only.is_plain:
                hint = "add more of them, or a validation text"
                raise UsageError(
                    "nothing can be held out of a single pair or question",
                    where=f"the text {self.name!r}",
                    hint=hint,
                )
            head, tail = (
                cut_fraction(only.text, a, b) for a, b in ((0.0, 1 - share), (1 - share, 1.0))
            )
            return Text(self.name, (Document(only.id, head),)), Text(
                self.name, (Document(only.id, tail),)
            )
        wanted, size, first = share * self.bytes, 0, len(self.documents)
        while first > 1 and size < wanted:
            first -= 1
            size += len(self.documents[first].text.encode())
        return Text(self.name, self.documents[:first]), Text(self.name, self.documents[first:])


def passage(text: Text, seed: int | None, *sizes: int) -> tuple[str, ...]:
    """Pieces of so many bytes that follow one another in a text, from the beginning of a document
    that the seed draws (of the first, without a seed); after the last document comes the first.
    Borders move to those of characters. A text that is too short gives shorter pieces, the last
    ones empty.
    """
    first = 0 if seed is None else random.Random(seed).randrange(len(text.documents))
    documents = [document.text for document in (*text.documents[first:], *text.documents[:first])]
    raw, found, at = "\n\n".join(documents).encode(), [], 0
    for size in sizes:
        piece = raw[at : at + size].decode(errors="ignore")
        found.append(piece)
        at += len(piece.encode())
    return tuple(found)
