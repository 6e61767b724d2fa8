"""Texts: built in, and from files. A text is its bytes; nothing is normalised, re-encoded or
stripped, but a byte order mark, which is none of the text.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice

from llmbench.data.documents import Document as Document
from llmbench.data.documents import Documents
from llmbench.data.splitting import cut_fraction
from llmbench.errors import UsageError

DOCUMENTS_AT_ONCE = 1 << 10  # whose bytes are hashed together
PARTED = 1 << 63  # before the parts of a pair or a question; no text is so long


@dataclass(frozen=True)
class Text:
    """Documents under a name, identified by the sha256 of their bytes (of the file's bytes where
    the file is one document), each after its length; of pairs and questions each after the number
    of their parts, too.
    """

    name: str
    documents: Sequence[Document]
    sampled: str = "none"  # N@seed where only a sample is left

    def __repr__(self) -> str:
        return f"<Text {self.name}: {len(self.documents)} documents, {self.bytes:,} bytes>"

    @cached_property
    def sha256(self) -> str:
        if len(self.documents) == 1 and self.documents[0].is_plain:
            return hashlib.sha256(self.documents[0].text.encode()).hexdigest()
        digest = hashlib.sha256()
        if isinstance(self.documents, Documents) and self.documents.have_only_text:
            raws = self.documents.texts.raws()
            while block := list(islice(raws, DOCUMENTS_AT_ONCE)):
                digest.update(
                    b"".join(part for raw in block for part in (len(raw).to_bytes(8, "big"), raw))
                )
            return digest.hexdigest()
        for document in self.documents:
            parts = (
                [document.text]
                if document.is_plain
                else [document.text, document.context, *document.choices, *document.others]
            )
            if document.contexts:
                parts += [*document.contexts, document.continuation]
            if not document.is_plain:
                digest.update((PARTED + len(parts)).to_bytes(8, "big"))
            for data in (part.encode() for part in parts):
                digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    @property
    def columns(self) -> Documents:
        """The documents as columns."""
        documents = self.documents
        return documents if isinstance(documents, Documents) else Documents(documents)

    @cached_property
    def bytes(self) -> int:
        if isinstance(self.documents, Documents):
            return self.documents.texts.size
        return sum(len(document.text.encode()) for document in self.documents)

    def leave_out(self, ids: Collection[str]) -> Text:
        """The documents with other ids than these."""
        kept = Documents(document for document in self.documents if document.id not in ids)
        return Text(self.name, kept, self.sampled) if ids else self

    def take(self, first: int, last: int) -> Text:
        """The documents first .. last-1."""
        return Text(self.name, self.documents[first:last], self.sampled)

    def sample(self, limit: int | None, seed: int) -> Text:
        """A seeded sample of `limit` documents in their old order; the whole text where it has no
        more than that.
        """
        if limit is None or limit >= len(self.documents):
            return self
        chosen = sorted(random.Random(seed).sample(range(len(self.documents)), limit))
        return Text(self.name, Documents(self.documents[i] for i in chosen), f"{limit}@{seed}")

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


class DocumentError(UsageError):
    """A document that a task cannot ask about. The code that loaded the text adds where it stands.

    document, name: it, and its text's name. is_of_all: whether no document of the text is right,
    so that the text may be right and the question wrong.
    """

    def __init__(self, document: Document, name: str, what: str, hint: str, is_of_all: bool):
        super().__init__(f"{document.id!r} of the text {name!r} {what}", hint=hint)
        self.document, self.name, self.is_of_all = document, name, is_of_all


def check_documents(
    text: Text,
    is_right: Callable[[Document], bool],
    explain: Callable[[Document], tuple[str, str]],
) -> None:
    """Raise DocumentError for the first document that is not right. `explain`: what is wrong with
    it, as a sentence goes on after its name, and a hint.
    """
    wrong = next((document for document in text.documents if not is_right(document)), None)
    if wrong is not None:
        is_of_all = not any(map(is_right, text.documents))
        raise DocumentError(wrong, text.name, *explain(wrong), is_of_all)


def passage(text: Text, seed: int | None, *sizes: int) -> tuple[str, ...]:
    """Pieces of so many bytes that follow one another in a text, from the beginning of a document
    that the seed draws (of the first, without a seed); after the last document comes the first.
    Borders move to those of characters. A text that is too short gives shorter pieces, the last
    ones empty.
    """
    first = 0 if seed is None else random.Random(seed).randrange(len(text.documents))
    raw, found, at = bytearray(), [], 0
    for number in chain(range(first, len(text.documents)), range(first)):
        raw += (b"\n\n" if number != first else b"") + text.documents[number].text.encode()
        if len(raw) >= sum(sizes):
            break
    for size in sizes:
        piece = raw[at : at + size].decode(errors="ignore")
        found.append(piece)
        at += len(piece.encode())
    return tuple(found)
