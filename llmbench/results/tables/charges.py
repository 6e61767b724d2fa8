"""The bit ledger as Parquet: document, start, end, bits, kind; one row a charge, in the order of
the documents and of their texts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench import storage
from llmbench.results.tables.arrow import UNREADABLE, numbers, strings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llmbench.ledger import Charges, Ledger


COLUMNS = ("start", "end", "bits", "kind")


class ChargesFile:
    """A file without a name, in `folder` or where temporary files are, that takes the charges of
    documents as they come: about PIECE of them are in memory. It is gone when it is closed, or when
    the process ends, and copied to its place by `copy_to`.
    """

    def __init__(self, folder: Path | None = None):
        self._file = tempfile.TemporaryFile(dir=folder)  # as long as this object
        self._writer: Any = None
        self._waiting: list[tuple[str, Charges]] = []
        self._size = 0

    def add(self, document: str, charges: Charges) -> None:
        """Write the next charges of a document, or keep them for a while."""
        from llmbench.ledger import PIECE

        self._waiting.append((document, charges))
        self._size += len(charges.start)
        if self._size >= PIECE:
            self._flush()

    def copy_to(self, path: Path) -> None:
        """Finish the file, write it to `path` like `storage.write_bytes`, and close it."""
        self._flush()
        self._writer.close()
        self._file.seek(0)
        storage.write_stream(path, iter(lambda: self._file.read(1 << 20), b""))
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _flush(self) -> None:
        """Write what waits as a row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is not None and not self._waiting:
            return
        table = _as_table(self._waiting)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                pa.PythonFile(self._file, mode="w"),
                table.schema,
                compression="zstd",
                use_dictionary=["document", "bits", "kind"],
                column_encoding={"start": "DELTA_BINARY_PACKED", "end": "DELTA_BINARY_PACKED"},
            )
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._size = [], 0


def _as_table(parts: Sequence[tuple[str, Charges]]) -> Any:
    import numpy as np
    import pyarrow as pa

    from llmbench.ledger import KINDS

    sizes = [len(charges.start) for _, charges in parts]
    owners = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)

    def join(values: list[NDArray[Any]], kind: type) -> NDArray[Any]:
        return np.concatenate([np.empty(0, dtype=kind), *values], dtype=kind)

    columns = {
        "document": pa.DictionaryArray.from_arrays(
            numbers(owners), strings([document for document, _ in parts])
        ),
        "start": numbers(join([charges.start for _, charges in parts], np.int64)),
        "end": numbers(join([charges.end for _, charges in parts], np.int64)),
        "bits": numbers(join([charges.bits for _, charges in parts], np.float64)),
        "kind": pa.DictionaryArray.from_arrays(
            numbers(join([charges.kind for _, charges in parts], np.int8)), strings(KINDS)
        ),
    }
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def write_charges(path: Path, ledgers: Sequence[Ledger]) -> None:
    """A file of the charges of these ledgers."""
    file = ChargesFile()
    try:
        for ledger in ledgers:
            for piece in ledger.check_pieces():
                file.add(ledger.id, piece)
        file.copy_to(path)
    finally:
        file.close()


def read_charges(
    file: Path, document: str, begin: int, end: int
) -> list[tuple[int, int, float, str]]:
    """The charges (start, end, bits, kind) of a document that touch [begin, end); of the row groups
    that cannot hold one nothing is read. [] if the file is torn, or not one of charges.
    """
    import pyarrow.parquet as pq

    found: list[tuple[int, int, float, str]] = []
    try:
        with pq.ParquetFile(file, read_dictionary=["document"]) as table:
            for number in range(table.num_row_groups):
                if _lies_outside(table.metadata.row_group(number), document, begin, end):
                    continue
                group = table.read_row_group(number, use_threads=False)
                found += _find_charges(group, document, begin, end)
    except UNREADABLE:
        return []
    return found


def _lies_outside(group: Any, document: str, begin: int, end: int) -> bool:
    """Whether the statistics of a row group say that it has none of the charges."""
    limits = {}
    for number in range(group.num_columns):
        column = group.column(number)
        if column.statistics is not None and column.statistics.has_min_max:
            limits[column.path_in_schema] = column.statistics.min, column.statistics.max
    names, starts, ends = (limits.get(name) for name in ("document", "start", "end"))
    asked = document.encode("utf-8", "backslashreplace")
    return (
        (names is not None and not names[0].encode() <= asked <= names[1].encode())
        or (starts is not None and starts[0] >= end)
        or (ends is not None and ends[1] < begin)
    )


def _find_charges(
    group: Any, document: str, begin: int, end: int
) -> list[tuple[int, int, float, str]]:
    here = _rows_of(group.column("document"), document)
    if not len(here):
        return []
    part = group.slice(int(here[0]), int(here[-1]) + 1 - int(here[0]))
    columns = [part.column(name).to_pylist() for name in ("document", *COLUMNS)]
    return [
        (int(a), int(b), float(bits), str(kind))
        for name, a, b, bits, kind in zip(*columns, strict=True)
        if name == document and a < end and b >= begin
    ]


def _rows_of(column: Any, document: str) -> NDArray[Any]:
    """The numbers of the rows in which a column of names has this one."""
    import numpy as np
    import pyarrow as pa

    found, first = [np.empty(0, dtype=np.int64)], 0
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray) and not chunk.null_count:
            names = [i for i, name in enumerate(chunk.dictionary.to_pylist()) if name == document]
            places = chunk.indices
            held = np.frombuffer(places.buffers()[1], dtype=places.type.to_pandas_dtype())
            rows = np.isin(held[places.offset : places.offset + len(places)], names)
        else:
            rows = np.asarray([name == document for name in chunk.to_pylist()], dtype=bool)
        found.append(np.flatnonzero(rows) + first)
        first += len(chunk)
    return np.concatenate(found)
