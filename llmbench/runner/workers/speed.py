"""A worker that waits for its turn: it loads its model, warms up, and runs a block whenever it is
told to; in between it sleeps on a pipe.

`python -m llmbench.runner.workers.speed`. After the job it reads lines: {"do": "prepare"}, {"do":
"block"}, ... and {"do": "finish"}. Before and after each block a sentinel, a fixed piece of work of
some milliseconds, tells whether the machine was as it was before; where it was not, the block is
run again, and where that does not help either, it is marked.
"""

from __future__ import annotations

import gc
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmbench.adapter import Adapter
from llmbench.hardware import machine, peaks
from llmbench.hardware.device import is_cuda
from llmbench.results import cell as results_cell
from llmbench.runner import messages, worker
from llmbench.runner.engine import connection
from llmbench.runner.messages import BlockEvent, Command, Emit, SpeedJob
from llmbench.tasks.performance.speed import Speed
from llmbench.tasks.performance.speed_blocks import Facts

DRIFT = 0.10  # of the sentinel, against its own median, where the machine is quiet
# of the sentinel's own spread so far, where it is not: what is usual here is in the intervals, and
# what is not is measured again
SIGMAS = 3.0
TRIES = 3  # of one block
SENTINEL_RUNS = 3  # the fastest of these counts
FIRST_SENTINELS = 5


def main() -> None:
    """Entry point of the child process."""
    job, emit, lines = connection.connect()
    serve(job, emit, lines)
    emit({"event": "end"})
    connection.leave()


def serve(job: SpeedJob, emit: Emit, lines: Iterator[Command]) -> None:
    """One model and one task, until it is told to finish. A failure is an event, and the end."""
    started = time.perf_counter()
    machine.keep_freed_memory()
    (name,) = job["keys"]
    try:
        found = worker.load_only_task(job, emit)
        if found is None:
            return
        adapter, info, row, task = found
        assert isinstance(task, Speed)
        known = peaks.read(Path(job["ceilings"]))
        task.ceilings = (
            known if known is not None and info.device.startswith(known.device) else None
        )
        emit({"event": "loaded", "held": read_held_memory(info.device)})
        next(
            lines
        )  # others may be loading: nothing is timed before the parent says that they are not
        facts = task.prepare(adapter, connection.progress(emit), job["facts"])
        sentinel = Sentinel(info.device, facts.get("sentinel", ()))
        facts["sentinel"] = sentinel.usual
        gc.collect()
        # so that a collection before a block looks at what blocks left, and not at the libraries
        gc.freeze()
        emit(
            {"event": "ready", "facts": facts, "held": read_held_memory(info.device)}
        )  # warm, it may hold more
        sentinel.slept = time.process_time()
        for line in lines:
            if line["do"] == "finish":
                outcome = task.finish(adapter, facts, line["blocks"])
                head, seconds = messages.head_of(job, name, row), time.perf_counter() - started
                digest = results_cell.write_cell(Path(job["out"]), head, outcome, seconds)
                emit({"event": "cell", "task": name, "outcome": "done", "digest": digest})
                break
            emit(measure_block(adapter, task, facts, sentinel))
            sentinel.slept = time.process_time()
    except BaseException as error:
        emit(worker.failure(name, error))


def measure_block(adapter: Adapter, task: Speed, facts: Facts, sentinel: Sentinel) -> BlockEvent:
    """A block between two sentinels, again where one of them drifted; what it took and what that
    cost.
    """
    begun, cpu = time.perf_counter(), time.process_time()
    idle = cpu - sentinel.slept
    gc.collect()
    before = sentinel.look()
    tries, drifted = 0, True
    while drifted and tries < TRIES:
        tries += 1
        at = time.perf_counter()
        found = task.block(adapter, facts)
        timed, after = time.perf_counter() - at, sentinel.look()
        seen, before = [before, after], after
        drifted = any(sentinel.is_unusual(value) for value in seen)
    return {
        "event": "block",
        "values": found["values"],
        "events": found["events"],
        "sentinel": seen,
        "drifted": drifted,
        "tries": tries,
        "timed_seconds": timed,
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "parked_cpu_seconds": idle,
    }


class Sentinel:
    """A fixed piece of work. A worker that is loaded anew is told how long it took in the one
    before (`usual`).
    """

    def __init__(self, device: str, usual: Sequence[float] = ()):
        self.device = device
        self._work = self._products if "torch" in sys.modules else self._hash
        self._work()
        self._seen = list(usual)
        while len(self._seen) < FIRST_SENTINELS:
            self.look()
        self.slept = time.process_time()  # of this process when it last went to sleep

    def look(self) -> float:
        """Seconds that it takes now."""
        self._seen.append(min(self._once() for _ in range(SENTINEL_RUNS)))
        return self._seen[-1]

    @property
    def usual(self) -> list[float]:
        """The first looks, for the next worker of the same model."""
        return self._seen[:FIRST_SENTINELS]

    def is_unusual(self, seconds: float) -> bool:
        """Whether that is unusual: off the median by more than DRIFT, and by more than SIGMAS of
        the spread (1.4826 x the median deviation).
        """
        middle = statistics.median(self._seen)
        spread = 1.4826 * statistics.median(abs(value - middle) for value in self._seen)
        return abs(seconds - middle) > max(DRIFT * middle, SIGMAS * spread)

    def _once(self) -> float:
        begun = time.perf_counter()
        self._work()
        return time.perf_counter() - begun

    def _products(self) -> None:
        import torch

        side = 1024 if is_cuda(self.device) else 256
        with torch.inference_mode():
            matrix = torch.ones(side, side, device=self.device)
            for _ in range(8):
                matrix = matrix @ matrix / side
            matrix[0, 0].item()

    @staticmethod
    def _hash() -> None:
        hashlib.sha256(bytes(1 << 20)).digest()


def read_held_memory(device: str) -> dict[str, int]:
    """What this process holds: bytes of memory, and of the GPU where it uses one."""
    import psutil

    found = {"resident": int(psutil.Process(os.getpid()).memory_info().rss)}
    if is_cuda(device):
        import torch

        found["gpu"] = int(torch.cuda.memory_reserved(device))
    return found


if __name__ == "__main__":
    main()
