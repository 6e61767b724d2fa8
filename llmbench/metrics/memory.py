"""Memory: peaks of a process, in bytes."""

from __future__ import annotations

from llmbench.metrics.metric import Metric

METRICS = (
    Metric(
        "peak_ram", "bytes", "lower", "most memory that the process held, from loading the model on"
    ),
    Metric("peak_ram_over_idle", "bytes", "lower", "the same, less what it held after its imports"),
    Metric("peak_gpu_allocated", "bytes", "lower", "most memory of the GPU that tensors took"),
    Metric(
        "peak_gpu_reserved", "bytes", "lower", "most memory of the GPU that torch's allocator held"
    ),
    Metric(
        "peak_gpu_process",
        "bytes",
        "lower",
        "memory of the GPU that the driver says the process held",
    ),
    Metric(
        "max_batch",
        "answers",
        "higher",
        "most answers side by side that stay within the budget of memory",
    ),
    Metric("gpu_idle", "bytes", None, "memory of the GPU that was in use before"),
)
