"""All scores and all samples of a run as two tables, for pandas, polars, DuckDB or the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow
import pyarrow.parquet

from llmbench.integrations.exports.entries import list_keys
from llmbench.integrations.exports.target import Export, File, Source
from llmbench.results.record import Record
from llmbench.results.samples import samples
from llmbench.results.tables.items import SAID

ROWS = 4096  # of a batch of samples
TEXT, REAL = pyarrow.string(), pyarrow.float64()
SCORES = pyarrow.schema(
    [
        *((name, TEXT) for name in ("suite", "model", "task", "metric", "unit", "better")),
        *((name, REAL) for name in ("value", "low", "high")),
        *((name, pyarrow.int64()) for name in ("n", "rank_best", "rank_worst")),
        ("signature", TEXT),
    ]
)
SAMPLES = pyarrow.schema(
    [
        *((name, TEXT) for name in ("suite", "model", "task", "id")),
        ("bytes", pyarrow.int64()),
        ("session", TEXT),
        *((name, TEXT) for name in SAID),
        ("statistics", pyarrow.map_(TEXT, pyarrow.list_(REAL))),
    ]
)
Writer = Callable[[Any, pyarrow.Schema], Any]


def make(source: Source) -> Export:
    """Return scores.parquet and samples.parquet."""
    return make_tables(source, "parquet", pyarrow.parquet.ParquetWriter)


def make_tables(source: Source, ending: str, open_writer: Writer) -> Export:
    """Return the two files, written batch by batch. Samples of a reviewed record are not kept."""
    record = source.opened.record
    tables = {
        "scores": (SCORES, iter([list(_list_scores(record))])),
        "samples": (SAMPLES, _batch_samples(source)),
    }
    files, notes = [], []
    for name, (schema, batches) in tables.items():
        # what says where the numbers are from travels with them
        about = {"llmbench": record.llmbench, "suite_sha256": record.suite.sha256}
        told = schema.with_metadata(about)
        sink, count = pyarrow.BufferOutputStream(), 0
        with open_writer(sink, told) as writer:
            for batch in batches:
                count += len(batch)
                writer.write_table(pyarrow.Table.from_pylist(batch, told))
        files.append(File(f"{name}.{ending}", sink.getvalue().to_pybytes()))
        if not count:
            notes.append(f"{name}.{ending} is empty: the run has no {name} here")
    return Export(files, notes=notes)


def _list_scores(record: Record) -> Iterator[dict[str, object]]:
    for score, key in zip(record.scores, list_keys(record.scores), strict=True):
        facts = score.model_dump(include=set(SCORES.names))
        best, worst = score.rank or (None, None)
        yield {
            **{name: _clean(value) for name, value in facts.items()},
            "suite": _clean(record.suite.name),
            "metric": _clean(key),
            "rank_best": best,
            "rank_worst": worst,
        }


def _batch_samples(source: Source) -> Iterator[list[dict[str, object]]]:
    record, batch = source.opened.record, list[dict[str, object]]()
    if record.items is not None:
        return
    for model, task, rows in samples(record, source.opened.folder):
        place = {"suite": record.suite.name, "model": model.name, "task": task}
        for row in rows:
            batch.append({**{k: _clean(v) for k, v in place.items()}, **_read_row(row)})
            if len(batch) == ROWS:
                yield batch
                batch = []
    if batch:
        yield batch


def _read_row(row: Mapping[str, Any]) -> dict[str, object]:
    texts = {name: row[name] for name in ("session", *SAID) if isinstance(row.get(name), str)}
    return {
        "id": _clean(str(row["id"])),
        "bytes": row.get("bytes"),
        **{name: _clean(text) for name, text in texts.items()},
        "statistics": [
            (_clean(name), [float(value) for value in values])
            for name, values in row["statistics"].items()
        ],
    }


def _clean(value: object) -> object:
    """Return a text that is UTF-8 (a model may say half a pair), anything else as it is."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "backslashreplace").decode()
