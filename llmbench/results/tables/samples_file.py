"""What boards and tests need of samples, as Parquet beside their JSON lines: id, session, where the
line ends, whether it holds texts, and for each metric a list of its statistics.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench import storage
from llmbench.results.tables.arrow import UNREADABLE, numbers, strings
from llmbench.results.tables.items import SAID, Column, ItemTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 1 << 15  # of a row group
METRIC = "statistics "  # before a metric's name


def columns_file(lines: Path) -> Path:
    """Where the columns of a file of JSON lines are."""
    return lines.with_suffix(".parquet")


def write_samples(lines: Path, samples: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write the samples as JSON lines, and their columns beside them; return the files. There are
    no columns if a sample holds other things than a task's should.
    """
    names = _find_metrics(samples)
    if names is None:
        storage.write_lines(lines, samples)
        columns_file(lines).unlink(missing_ok=True)
        return [lines]
    columns = _Writer(names, _find_repeats(samples))

    def write() -> Iterator[bytes]:
        for row in samples:
            line = storage.as_line(row).encode("utf-8", "backslashreplace")
            columns.add(row, len(line))
            yield line

    storage.write_stream(lines, write())
    storage.write_bytes(columns_file(lines), columns.finish())
    return [lines, columns_file(lines)]


def _find_metrics(samples: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The metrics of which there are statistics; None if some are no lists of numbers."""
    names: dict[str, None] = {}
    try:
        for row in samples:
            for name, values in row["statistics"].items():
                names.setdefault(str(name))
                for value in values:
                    float(value)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None
    return list(names)


def _find_repeats(samples: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Hashes of the ids that stand several times, or only seem to, each with 0."""
    import numpy as np

    hashes = np.fromiter((hash(str(row["id"])) for row in samples), np.int64, len(samples))
    known, counts = np.unique(hashes, return_counts=True)
    return dict.fromkeys(known[counts > 1].tolist(), 0)


class _Writer:
    """Columns that grow by a row group at a time."""

    def __init__(self, metrics: Sequence[str], repeats: Mapping[int, int]):
        self._sink = io.BytesIO()
        self._metrics, self._repeats = metrics, repeats
        self._seen: dict[str, int] = {}  # id of those that may stand several times -> how often
        self._end = 0
        self._writer: Any = None
        self._clear()

    def _clear(self) -> None:
        self._ids: list[str] = []
        self._sessions: list[str] = []
        self._ends, self._said = array("q"), array("b")
        self._columns = {name: Column() for name in self._metrics}

    def add(self, row: Mapping[str, Any], length: int) -> None:
        """Take in a sample whose line has so many bytes."""
        at = len(self._ids)
        self._ids.append(self._name(str(row["id"])))
        self._sessions.append(str(row.get("session", "")))
        self._end += length
        self._ends.append(self._end)
        self._said.append(any(isinstance(row.get(name), str) for name in SAID))
        for name, values in row["statistics"].items():
            self._columns[str(name)].add(at, map(float, values))
        if at + 1 == ROWS:
            self._flush()

    def _name(self, id: str) -> str:
        """The id; one that comes again with a number."""
        if not self._repeats or hash(id) not in self._repeats:
            return id
        self._seen[id] = self._seen.get(id, 0) + 1
        return id if self._seen[id] == 1 else f"{id} ({self._seen[id]})"

    def _flush(self) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            "id": strings(self._ids),
            "session": strings(self._sessions),
            "end": numbers(np.asarray(self._ends)),
            "said": numbers(np.asarray(self._said)),
        }
        for name, column in self._columns.items():
            column.fill(len(self._ids))
            ends = np.concatenate([[0], np.asarray(column.ends)]).astype(np.int32)
            values = numbers(np.asarray(column.values))
            columns[METRIC + name] = pa.ListArray.from_arrays(numbers(ends), values)
        table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._sink, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._clear()

    def finish(self) -> bytes:
        """The whole file."""
        if self._ids or self._writer is None:
            self._flush()
        self._writer.close()
        return self._sink.getvalue()


def read_columns(lines: Path, metrics: Sequence[str] | None = None) -> ItemTable | None:
    """The items of samples, with these metrics, by default all; None if there is no file of columns
    of these very lines.
    """
    table, end = ItemTable(lines), 0
    try:
        for group in _read_groups(lines):
            end = _take_group(table, group, metrics, end)
    except UNREADABLE:
        return None
    return table


def find_said(lines: Path) -> list[int] | None:
    """Where the lines begin that hold texts; None if there is no file of columns of these very
    lines.
    """
    import numpy as np

    found: list[int] = []
    end = 0
    try:
        for group in _read_groups(lines, ["end", "said"]):
            ends = _values(group.column("end"))
            begins = np.concatenate([[end], ends[:-1]])
            found += begins[np.flatnonzero(_values(group.column("said")))].tolist()
            end = int(ends[-1])
    except UNREADABLE:
        return None
    return found


def _read_groups(lines: Path, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The row groups of a file of columns. Raises ValueError at their end if the lines are others,
    which an earlier llmbench may have written.
    """
    import pyarrow.parquet as pq

    end = 0
    with pq.ParquetFile(columns_file(lines)) as file:
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns=columns, use_threads=False)
            if len(group):
                end = int(_values(group.column("end"))[-1])
                yield group
    if end != lines.stat().st_size:
        raise ValueError(f"{columns_file(lines)} is of other lines")


def _take_group(table: ItemTable, group: Any, metrics: Sequence[str] | None, end: int) -> int:
    """Add the items of a row group, whose lines begin at byte `end`; return where they end."""
    first = len(table)
    for strings_, name in ((table.keys, "id"), (table.sessions, "session")):
        strings_.extend(group.column(name).to_pylist())
    ends = _values(group.column("end"))
    table.places.append(end)
    table.places.frombytes(ends[:-1].tobytes())
    for name in group.column_names:
        metric = name.removeprefix(METRIC)
        if name == metric or (metrics is not None and metric not in metrics):
            continue
        column = table.columns.setdefault(metric, Column())
        column.fill(first)
        for chunk in group.column(name).chunks:
            at = _values(chunk.offsets).astype("q")
            column.ends.frombytes((at[1:] - at[0] + len(column.values)).tobytes())
            column.values.frombytes(_values(chunk.values)[at[0] : at[-1]].tobytes())
    return int(ends[-1])


def _values(column: Any) -> NDArray[Any]:
    """The numbers of an Arrow array or column, in its own memory."""
    import numpy as np
    import pyarrow as pa

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype=chunk.type.to_pandas_dtype())[
            chunk.offset : chunk.offset + len(chunk)
        ]
        for chunk in chunks
        if len(chunk)
    ]
    if not parts:
        return np.empty(0, dtype=chunks[0].type.to_pandas_dtype())
    return np.concatenate(parts) if len(parts) != 1 else parts[0]
