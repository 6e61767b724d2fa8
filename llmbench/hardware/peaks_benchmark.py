"""What this machine can do at most: bytes a second over working sets, multiplications a second for
each number format, the cost of one tiny operation, and how far the same work differs from one time
to the next. Some 20 seconds, so ceilings.py keeps it for the machine.

Bandwidth: the largest of copy, triad (McCalpin's STREAM) and matrix times vector at each size.
Rates: products with square matrices, 2 n^2 operations a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import torch
from torch.nn import functional as F

from llmbench.hardware.device import DTYPES, is_cuda, torch_dtype
from llmbench.hardware.peaks import Ceilings
from llmbench.hardware.products import find_onednn

SIZES = tuple((1 << 18) << (2 * i) for i in range(6))  # 256 KiB to 256 MiB
ENOUGH = 0.25  # seconds of one measurement, at least
REPEATS = 12  # of the probe that grades the noise


def measure(
    device: str,
    threads: int,
    progress: Callable[[str, float, str], None] = lambda what, share, remark: None,
) -> Ceilings:
    """Measure on this device, now."""
    skipped: dict[str, str] = {}
    with torch.inference_mode():
        bandwidth = []
        for number, size in enumerate(SIZES):
            progress("bandwidth", number / len(SIZES), f"{size >> 10} KiB")
            bandwidth.append((size, max(_bandwidths(device, size).values())))
        flops = {}
        for number, dtype in enumerate(DTYPES):
            progress("multiplications", number / len(DTYPES), dtype)
            try:
                flops[dtype] = _flops(device, dtype)
            except (
                RuntimeError,
                MemoryError,
            ) as error:  # a format that the device does not multiply
                skipped[dtype] = " ".join(str(error).split())[:200]
        progress("noise", 0.0, "")
        tiny, noise = _tiny(device), _noise(device)
    return Ceilings(
        device,
        threads,
        bandwidth,
        flops,
        tiny,
        noise,
        datetime.now(UTC).isoformat(timespec="seconds"),
        skipped=skipped,
    )


def rate(
    work: Callable[[], object],
    device: str,
    enough: float = ENOUGH,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of one call: the fastest of the rounds that fill `enough` seconds. The question is
    what the machine can do, so the fastest counts.
    """
    work()
    best, begun, calls = float("inf"), clock(), 1
    while True:
        _wait(device)
        at = clock()
        for _ in range(calls):
            work()
        _wait(device)
        took = clock() - at
        best = min(best, took / calls)
        if clock() - begun >= enough:
            return best
        if took < enough / 20:
            calls *= 2


def _wait(device: str) -> None:
    if is_cuda(device):
        torch.cuda.synchronize(device)


def _bandwidths(device: str, size: int) -> dict[str, float]:
    """Bytes a second of copy, triad and matrix times vector, each over a working set of `size`
    bytes in all.
    """
    two, three = size // 8, size // 12
    a, b = torch.ones(two, device=device), torch.ones(two, device=device)
    x, y, z = (torch.ones(three, device=device) for _ in range(3))
    side = int((size / 4) ** 0.5)
    matrix, vector = torch.ones(side, side, device=device), torch.ones(side, device=device)
    works: Mapping[str, tuple[Callable[[], object], float]] = {
        "copy": (lambda: a.copy_(b), 2 * 4 * two),
        "triad": (lambda: torch.add(y, z, alpha=3.0, out=x), 3 * 4 * three),
        "matrix times vector": (lambda: torch.mv(matrix, vector), 4 * side * side),
    }
    return {name: moved / rate(work, device) for name, (work, moved) in works.items()}


def _flops(device: str, dtype: str) -> float:
    """Operations a second of the fastest product: of a few sizes, and of the ways that models are
    computed by. A layer's matrix is the transposed one, for which torch has kernels of its own that
    are ten times faster in an emulated format; on AMD's processors MKL is slower than oneDNN.
    """
    kind, best = torch_dtype(dtype), 0.0
    slow = set[str]()
    for n in (256, 512, 1024) if device == "cpu" else (1024, 4096, 8192):
        ways = list_products(torch.ones(n, n, dtype=kind, device=device))
        tried = {
            name: 2.0 * rows * n * n / min(_once(multiply, device), _once(multiply, device))
            for name, (rows, multiply) in ways.items()
            if name not in slow
        }
        fastest = max(tried, key=lambda name: tried[name])
        rows, multiply = ways[fastest]
        best = max(best, tried[fastest], 2.0 * rows * n * n / rate(multiply, device))
        slow |= {name for name, found in tried.items() if 4 * found < tried[fastest]}
    return best


def list_products(ones: torch.Tensor) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name -> rows, product of so many rows with a square matrix, by each library that has one."""
    one, onednn = ones[:1], find_onednn() if ones.device.type == "cpu" else None
    products: dict[str, tuple[int, Callable[[], object]]] = {
        "matrices": (len(ones), lambda: ones @ ones),
        "layer": (len(ones), lambda: F.linear(ones, ones)),
        "one row": (1, lambda: F.linear(one, ones)),
    }
    if onednn is not None and ones.dtype == torch.float32:
        products["layer, oneDNN"] = (len(ones), lambda: onednn(ones, ones, None))
    return products


def _once(work: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    work()
    _wait(device)
    return max(1e-9, time.perf_counter() - begun)


def _tiny(device: str) -> float:
    """Seconds of one addition of one number to another: what each operation costs before it does
    anything.
    """
    one = torch.ones(1, device=device)
    return rate(lambda: one + one, device)


def _noise(device: str) -> float:
    """The spread of a fixed piece of work over some seconds: interquartile range / median."""
    matrix = torch.ones(512, 512, device=device)
    times = []
    for _ in range(REPEATS):
        _wait(device)
        begun = time.perf_counter()
        for _ in range(8):
            matrix @ matrix
        _wait(device)
        times.append(time.perf_counter() - begun)
    return spread(times)


def spread(times: Sequence[float]) -> float:
    """(third quartile - first quartile) / median."""
    first, middle, third = np.percentile(np.asarray(times, dtype=np.float64), (25, 50, 75))
    return float((third - first) / middle)
