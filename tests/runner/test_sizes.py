"""Memory grows slowly with texts: measured as the difference between a small and a larger one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.peaks import measure, run_arguments, write_documents, write_line, write_suite

BYTES_A_BYTE = 12
BYTES_A_DOCUMENT = 500

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]


@pytest.mark.parametrize("model", ["uniform-bytes", "byte-ngram"])
def test_a_long_line_takes_few_bytes_a_byte(tmp_path, model):
    sizes = (4_000_000, 24_000_000)
    small, large = (
        measure(
            *run_arguments(
                write_suite(write_line(tmp_path / f"{size}.txt", size)), model, tmp_path / str(size)
            )
        )
        for size in sizes
    )
    grown = sizes[1] - sizes[0]
    assert large.worker - small.worker < BYTES_A_BYTE * grown
    assert large.parent - small.parent < BYTES_A_BYTE * grown


def test_many_documents_take_few_bytes_each(tmp_path):
    """In the run, in its worker, in a run with nothing to do, and in `report`."""
    counts, found = (20_000, 120_000), []
    for count in counts:
        text = write_documents(tmp_path / f"{count}.jsonl", count)
        suite, out = write_suite(text), tmp_path / str(count)
        commands = [
            run_arguments(suite, "uniform-bytes", out),
            run_arguments(suite, "uniform-bytes", out),
            ("report", str(out)),
        ]
        found.append([measure(*command) for command in commands])
    most = BYTES_A_DOCUMENT * (counts[1] - counts[0])
    for small, large in zip(*found, strict=True):
        assert large.parent - small.parent < most
        assert large.worker - small.worker < most
