"""Forward passes over many jobs: batches of like lengths, longest first, so that memory's peak
comes at once; halved where memory does not suffice.

Where rows are so narrow that the cores wait for each other inside one pass more than they save,
each core has passes of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from llmbench.errors import OutOfMemory, is_out_of_memory
from llmbench.inference.cpu_kernels import CpuKernels
from llmbench.inference.pass_progress import Passes
from llmbench.inference.token_model import TokenModel

TOKEN_BUDGET = 4096  # ids in one pass, padding included; one window longer than that goes alone
# numbers in a pass's rows (ids x channels) on the CPU: what lies between layers should stay in a
# cache
ROWS_BUDGET = 1 << 18
LEAST_BUDGET = 1024
GPU_BUDGET = 16384
# channels of rows up to which passes run side by side; what it saves is in docs/decisions/0016
NARROW = 256


Job = TypeVar("Job")
Found = TypeVar("Found")
AnyModel = TypeVar("AnyModel", bound=TokenModel)
Forward = Callable[[AnyModel, Sequence[Job]], int]  # gives the width of the rows


def in_batches(
    model: AnyModel,
    jobs: Sequence[Job],
    size: Callable[[Job], int],
    forward: Forward[AnyModel, Job],
    budget: int | None,
) -> None:
    """`forward` over all jobs, about `budget` ids at a time; None: what suits the machine and the
    width of the rows, which the first pass tells.
    """
    ordered = sorted(jobs, key=size, reverse=True)
    if not ordered:
        return
    first = max(1, (budget or _budget(model, 0)) // size(ordered[0]))
    passes = Passes(sum(map(size, ordered)))

    def run(batch: Sequence[Job]) -> int:
        width = max(
            run_halving(
                batch, lambda some: forward(model, some), lambda job: f"window of {size(job)} ids"
            )
        )
        passes.advance(sum(map(size, batch)))
        return width

    width = run(ordered[:first])
    batches = deque(_cut(ordered[first:], size, budget or _budget(model, width)))
    if (
        len(batches) > 1
        and width <= NARROW
        and model.device.startswith("cpu")
        and torch.get_num_threads() > 1
        and model.thread_safe
    ):
        _run_in_threads(batches, run)
    else:
        for batch in batches:
            run(batch)


def _budget(model: TokenModel, width: int) -> int:
    """Ids in one pass, for rows of `width` numbers; 0 where that is not known yet."""
    if not model.device.startswith("cpu"):
        return GPU_BUDGET
    return max(LEAST_BUDGET, min(TOKEN_BUDGET, ROWS_BUDGET // width)) if width else LEAST_BUDGET


def _cut(
    ordered: Sequence[Job], size: Callable[[Job], int], budget: int
) -> Iterator[Sequence[Job]]:
    at = 0
    while at < len(ordered):
        count = max(1, budget // size(ordered[at]))
        yield ordered[at : at + count]
        at += count


def _run_in_threads(batches: deque[Sequence[Job]], run: Callable[[Sequence[Job]], object]) -> None:
    """Each of torch's threads takes the next batch until none is left. What one raises ends all,
    and so does Ctrl-C.
    """
    threads = torch.get_num_threads()

    def work() -> None:
        torch.set_num_threads(1)
        with torch.inference_mode(), CpuKernels():  # both are a thread's own
            while batches:
                try:
                    batch = batches.popleft()
                except IndexError:  # another was quicker
                    return
                try:
                    run(batch)
                except BaseException:
                    batches.clear()
                    raise

    try:
        with ThreadPoolExecutor(threads) as pool:  # whose end waits for the passes that have begun
            try:
                for one in [pool.submit(work) for _ in range(threads)]:
                    one.result()
            finally:
                batches.clear()
    finally:
        torch.set_num_threads(threads)


def run_halving(
    jobs: Sequence[Job], run: Callable[[Sequence[Job]], Found], said: Callable[[Job], str]
) -> list[Found]:
    """What one pass over `jobs` gives; where memory does not suffice, what two over half of them
    give, in order. OutOfMemory where there is none for a single one, which `said` describes.
    """
    try:
        return [run(jobs)]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(jobs) == 1:
            raise OutOfMemory(
                f"no memory for one {said(jobs[0])}", hint="a smaller context, or more memory"
            ) from None
    half = len(jobs) // 2
    return [*run_halving(jobs[:half], run, said), *run_halving(jobs[half:], run, said)]


def pad_rows(lines: Sequence[Sequence[int]], pad: int, device: str) -> tuple[Tensor, Tensor]:
    """(B, T) ids, padded on the right, and their (B, T) attention mask."""
    longest = max(len(line) for line in lines)
    ids = torch.tensor(
        [[*line, *([pad] * (longest - len(line)))] for line in lines],
        dtype=torch.long,
        device=device,
    )
    mask = torch.tensor(
        [[1] * len(line) + [0] * (longest - len(line)) for line in lines],
        dtype=torch.long,
        device=device,
    )
    return ids, mask
