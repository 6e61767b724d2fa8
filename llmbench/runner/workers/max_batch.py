"""One attempt of a batch, in a process of its own: `python -m llmbench.runner.workers.max_batch`.
The job says the batch and the budget in bytes.

On the processor RLIMIT_DATA keeps the process within the budget and a little more, so that an
allocation fails, in words, before the system has to kill anybody; on a GPU the allocator of torch
has such a limit. What counts is the peak that was measured.
"""

from __future__ import annotations

import contextlib
import sys

from llmbench.adapter import ModelInfo
from llmbench.errors import is_out_of_memory
from llmbench.hardware import machine, memory
from llmbench.hardware.device import is_cuda
from llmbench.runner import worker
from llmbench.runner.engine import connection
from llmbench.runner.messages import BatchJob, Emit, ProbeEvent
from llmbench.tasks.performance.max_batch import MaxBatch

SLACK = 256 << 20  # bytes: stacks and arenas of threads are data, and never touched


def main() -> None:
    """Entry point of the child process."""
    job, emit, _ = connection.connect()
    work(job, emit)
    emit({"event": "end"})
    connection.leave()


def _find_gpu(info: ModelInfo) -> memory.Gpu | memory.Gpus | None:
    """What measures the GPU that a model is on, or all that its layers are on."""
    if not is_cuda(info.device):
        return None
    spread = (info.origin or {}).get("devices") or {}
    devices = [name for name in spread if is_cuda(name)]
    return memory.Gpus(devices) if len(devices) > 1 else memory.Gpu(info.device)


def work(job: BatchJob, emit: Emit) -> None:
    """Load, limit, make the answers, report the peak."""
    machine.keep_freed_memory()
    (name,), batch = job["keys"], job["batch"]
    try:
        loaded = worker.load_only_task(job, emit)
        if loaded is None:
            return
        adapter, info, row, task = loaded
        assert isinstance(task, MaxBatch)
        gpu = _find_gpu(info)
        source = memory.source()
        source.begin()
        if gpu is not None:
            gpu.begin()
        limit(info.device, job["budget"])
        found: ProbeEvent = {
            "event": "probe",
            "batch": batch,
            "peak": None,
            "rate": None,
            "refused": "",
            "model": row.model_dump(),
        }
        try:
            found["rate"] = task.attempt(adapter, batch)
            found["peak"] = gpu.read()["reserved"] if gpu is not None else source.read()[0]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            found["refused"] = " ".join(str(error).split())[:300] or type(error).__name__
        emit(found)
    except BaseException as error:
        emit(worker.failure(name, error))


def limit(device: str, budget: int) -> None:
    """Have allocations fail that would go beyond the budget by more than SLACK."""
    if is_cuda(device):
        import torch

        index = torch.device(device).index
        index = torch.cuda.current_device() if index is None else index
        torch.cuda.set_per_process_memory_fraction(
            min(1.0, budget / torch.cuda.get_device_properties(index).total_memory), index
        )
    elif sys.platform == "linux":
        import resource

        if "torch" in sys.modules:
            sys.modules["torch"].ones(
                1 << 20
            ).sum()  # its threads are there before their stacks are counted against the budget
        with contextlib.suppress(OSError, ValueError):
            status = dict(
                line.split(":", 1)
                for line in memory.STATUS.read_text(encoding="ascii").splitlines()
                if ":" in line
            )
            data, resident = (int(status[key].split()[0]) * 1024 for key in ("VmData", "VmRSS"))
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(
                resource.RLIMIT_DATA, (data + max(0, budget - resident) + SLACK, hard)
            )


if __name__ == "__main__":
    main()
