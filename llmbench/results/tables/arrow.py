"""Arrow arrays made and read without pandas, which pyarrow's own ways would import: half a second
and about 50 MB in every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench import storage

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNREADABLE = (  # what reading a file raises that is missing, damaged, or of other columns
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
)


def numbers(values: NDArray[Any]) -> Any:
    """An Arrow array over the memory of these numbers."""
    import numpy as np
    import pyarrow as pa

    kind = pa.from_numpy_dtype(values.dtype)
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def strings(values: Sequence[str]) -> Any:
    """An Arrow array of strings; half a surrogate pair is written as its escape."""
    import numpy as np
    import pyarrow as pa

    raw = [value.encode("utf-8", "backslashreplace") for value in values]
    ends = np.cumsum([0, *map(len, raw)], dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(raw))]
    return pa.Array.from_buffers(pa.large_string(), len(raw), buffers).cast(pa.string())


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """A file with these columns, written like `storage.write_json`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(path, sink.getvalue().to_pybytes())
