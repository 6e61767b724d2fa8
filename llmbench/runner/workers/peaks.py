"""The process that measures what a machine can do at most."""

from __future__ import annotations

from pathlib import Path

import torch

from llmbench.hardware import peaks
from llmbench.hardware.peaks_benchmark import measure
from llmbench.runner.engine import connection
from llmbench.runner.messages import PeaksJob


def main() -> None:
    """Entry point of a child process: measure, keep, and say so."""
    job: PeaksJob
    job, emit, _ = connection.connect()
    torch.set_num_threads(job["threads"])
    peaks.keep(Path(job["path"]), measure(job["device"], job["threads"], connection.progress(emit)))
    emit({"event": "end"})
    connection.leave()


if __name__ == "__main__":
    main()
