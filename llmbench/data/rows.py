"""Read rows from a file: JSON Lines, a JSON array, comma- or tab-separated values, gzipped or not.

formats.py tells which of these a file is.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from llmbench import limits
from llmbench.data.formats import Format, explain_bytes, format_of
from llmbench.errors import UsageError

MARK = "\ufeff"  # some programs write it before UTF-8


class Row(NamedTuple):
    """A row of a file, and where it stands. `number`: its line; of a JSON array its position, from
    1.
    """

    value: object
    number: int
    file: str
    line: int
    column: int = 1

    @property
    def where(self) -> str:
        """file:line:column."""
        return f"{self.file}:{self.line}:{self.column}"


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, of a .gz file unpacked. Raises UsageError if it cannot be read."""
    with _open(path) as file:
        raw = file.read() if path.suffix.lower() != ".gz" else file.read(limits.UNPACKED_BYTES + 1)
        _check_unpacked(path, len(raw))
        return raw


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, as `read_bytes` has them, each with its end; one is held at a time."""
    with _open(path) as file:
        if path.suffix.lower() != ".gz":
            yield from file
            return
        size = 0
        for line in file:
            size += len(line)
            _check_unpacked(path, size)
            yield line


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """A file to read, of a .gz file what it unpacks to. Raises UsageError if it cannot be read."""
    try:
        if not path.is_file() and path.exists():
            raise UsageError("cannot read the text: not a regular file", where=str(path))
        if path.suffix.lower() != ".gz":
            with path.open("rb") as file:
                yield file
        else:
            with gzip.open(path) as unpacked:
                yield cast(BinaryIO, unpacked)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"not a whole gzip file: {error}", where=str(path)) from None
    except OSError as error:
        raise UsageError(f"cannot read the text: {error.strerror}", where=str(path)) from None


def _check_unpacked(path: Path, size: int) -> None:
    if path.suffix.lower() == ".gz" and size > limits.UNPACKED_BYTES:
        raise UsageError(
            f"it unpacks to more than {limits.UNPACKED_BYTES >> 30} GiB",
            where=str(path),
            hint="unpack it first",
        )


def decode(raw: bytes, where: str, line: int = 1) -> str:
    """The text of UTF-8 bytes, which begin in this line of a file. Raises UsageError with
    file:line:column if there is none.
    """
    if not raw:
        raise UsageError("the text is empty", where=f"{where}:1:1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        hint = explain_bytes(raw if line == 1 else b"")
        line += raw.count(b"\n", 0, error.start)
        raise UsageError(
            f"not UTF-8: byte 0x{raw[error.start]:02x}",
            where=f"{where}:{line}:{column}",
            hint=hint,
        ) from None


def read_file(path: Path, format: Format) -> Iterator[Row]:
    """The rows of a file; see `read_rows`. Of JSON lines one is held at a time."""
    if format != "json lines":
        yield from read_rows(read_bytes(path), str(path), format)
        return
    empty = True
    for row in _json_lines(read_lines(path), str(path)):
        yield row
        empty = False
    if empty and not read_bytes(path):
        decode(b"", str(path))


def read_rows(raw: bytes, where: str, format: Format) -> Iterator[Row]:
    """The rows of a file with its bytes. `where`: its name.

    A byte order mark before the first row is none of the text. Raises UsageError with
    file:line:column at the first wrong row.
    """
    if format == "json lines":
        if not raw:
            decode(raw, where)
        yield from _json_lines(io.BytesIO(raw), where)
        return
    text = decode(raw, where).removeprefix(MARK)
    if format == "json":
        yield from _json_array(text, where)
    else:
        yield from _read_separated(text, where, "," if format == "csv" else "\t")


def find_place(path: Path, id: str, text: str = "", select: Mapping[str, str] | None = None) -> str:
    """Return file:line:column of the document with this id in a file that was read before; the
    file's name if it is not found.

    Args:
        text: what the document holds, to find one that was cut from a file that is one text.
        select: what rows must have in these fields.
    """
    form = format_of(path)
    if form == "text":
        whole = decode(read_bytes(path), str(path))
        at = whole.find(text) if text else -1
        return _Cursor(whole, str(path)).place(at) if at >= 0 else str(path)
    for row in read_file(path, form):
        value = row.value if isinstance(row.value, dict) else {}
        own = value.get("id")
        if (f"line-{row.number}" if own is None else str(own)) == id and all(
            str(value.get(key)) == chosen for key, chosen in (select or {}).items()
        ):
            return row.where
    return str(path)


def _json_lines(lines: Iterable[bytes], where: str) -> Iterator[Row]:
    """Lines end at \\n alone."""
    decoder = json.JSONDecoder(object_pairs_hook=_read_object)
    for number, raw in enumerate(lines, 1):
        try:
            line = raw.decode().rstrip("\n")
        except UnicodeDecodeError:
            line = decode(raw, where, number)
        if number == 1:
            line = line.removeprefix(MARK)
        try:
            value, end = decoder.raw_decode(line)
        except (ValueError, RecursionError):
            end = -1
        if end != len(line) and (end < 0 or line[end:].strip(" \t\r")):
            if not line.strip():
                continue
            value = _load_line(line, where, number)
        yield Row(value, number, where, number)


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose keys must differ: JSON itself would keep the last of two."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return found


def _load_line(line: str, where: str, number: int) -> object:
    try:
        return json.loads(line, object_pairs_hook=_read_object)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"not JSON: {error.msg}", where=f"{where}:{number}:{error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"not JSON that can be read: {error}", where=f"{where}:{number}:1"
        ) from None


class _Cursor:
    """A position in a text that only moves on, and says its line and column."""

    def __init__(self, text: str, where: str):
        self.text, self.where = text, where
        self.at, self._line, self._counted = 0, 1, 0

    def skip_blanks(self) -> str:
        """Move to the next character that is no white space, and return it; "" at the end."""
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1
        return self.text[self.at : self.at + 1]

    def find_place(self, at: int | None = None) -> tuple[int, int]:
        """Line and column."""
        at = self.at if at is None else at
        self._line += self.text.count("\n", self._counted, at)
        self._counted = at
        return self._line, at - self.text.rfind("\n", 0, at)

    def place(self, at: int | None = None) -> str:
        line, column = self.find_place(at)
        return f"{self.where}:{line}:{column}"


def _json_array(text: str, where: str) -> Iterator[Row]:
    """The elements of an array, each with its line and column."""
    cursor = _Cursor(text, where)
    decoder = json.JSONDecoder(object_pairs_hook=_read_object)
    if cursor.skip_blanks() != "[":
        raise UsageError(
            "a .json file must be an array of objects: [{...}, {...}]",
            where=cursor.place(),
            hint="name a file with one object on each line .jsonl",
        )
    cursor.at += 1
    number, after = 0, cursor.skip_blanks()
    while after != "]":
        spot, number = cursor.find_place(), number + 1
        try:
            value, cursor.at = decoder.raw_decode(text, cursor.at)
        except json.JSONDecodeError as error:
            raise UsageError(f"not JSON: {error.msg}", where=cursor.place(error.pos)) from None
        except (ValueError, RecursionError) as error:
            place = f"{where}:{spot[0]}:{spot[1]}"
            raise UsageError(f"not JSON that can be read: {error}", where=place) from None
        yield Row(value, number, where, *spot)
        after = cursor.skip_blanks()
        if after not in (",", "]"):
            raise UsageError("not JSON: expected , or ]", where=cursor.place())
        if after == ",":
            cursor.at += 1
            cursor.skip_blanks()
    cursor.at += 1
    if cursor.skip_blanks():
        raise UsageError("not JSON: something follows the array", where=cursor.place())


def _read_separated(text: str, where: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            place = f"{where}:{line}:1"
            if not cells:
                continue
            if not names:
                names = cells
                _check_separator(names, delimiter, place)
                if len(set(names)) < len(names) or "" in names:
                    raise UsageError("the first line must name each column once", where=place)
                continue
            if len(cells) != len(names):
                raise UsageError(
                    f"{len(cells)} cells in a row of {len(names)} columns",
                    where=place,
                    hint="a cell with a separator or a line break stands in double quotes",
                )
            yield Row(dict(zip(names, cells, strict=True)), line, where, line)
    except csv.Error as error:
        raise UsageError(
            f"not {delimiter!r}-separated values: {error}", where=f"{where}:{before + 1}:1"
        ) from None


def _check_separator(names: list[str], delimiter: str, where: str) -> None:
    """UsageError if the only column's name holds what other programs separate columns by."""
    other = next((mark for mark in ";\t,|" if mark in names[0] and mark != delimiter), "")
    if len(names) == 1 and other:
        kinds = {",": "a .csv file separates its columns by commas"}
        shown = {"\t": "a tab"}.get(other, repr(other))
        hint = {"\t": "name it .tsv", ",": "name it .csv"}
        raise UsageError(
            f"the columns seem to be separated by {shown}, and"
            f" {kinds.get(delimiter, 'a .tsv file separates them by tabs')}",
            where=where,
            hint=hint.get(other, "convert it to commas, or to .jsonl"),
        )
