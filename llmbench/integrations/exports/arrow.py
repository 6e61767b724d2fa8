"""All scores and all samples as Arrow IPC files, which are read without a copy."""

from __future__ import annotations

import pyarrow

from llmbench.integrations.exports.parquet import make_tables
from llmbench.integrations.exports.target import Export, Source


def make(source: Source) -> Export:
    """Return scores.arrow and samples.arrow, which `pyarrow.feather` and `datasets` read, too."""
    return make_tables(source, "arrow", pyarrow.ipc.new_file)
