"""Workers on this machine, each on cores, and on a GPU, of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from llmbench import system
from llmbench.errors import UsageError
from llmbench.hardware import machine
from llmbench.plan.plan import Options
from llmbench.runner.engine.engine import Place
from llmbench.runner.process import Child


class LocalEngine:
    """Starts workers here. `count`: how many at once."""

    refused: Mapping[str, str] = MappingProxyType({})

    def __init__(self, count: int, options: Options):
        """UsageError if there are fewer cores than workers."""
        cores = share_cores(count, options)
        share = len(cores) // count
        gpus = machine.gpus() if options.device_kind == "cuda" else []
        self._children: dict[int, Child] = {}  # the last one of each place
        self._places = [
            Place(
                "here",
                number,
                tuple(cores[number * share : (number + 1) * share]),
                f"cuda:{number % len(gpus)}" if len(gpus) > 1 else "",
            )
            for number in range(count)
        ]

    @property
    def places(self) -> Sequence[Place]:
        """Where workers can be started. Their memory is what is free now and what workers hold, so
        that what other programs have taken since the run began is not counted on.
        """
        room = machine.free_memory() + sum(map(self.measure, self._places))
        return [replace(place, memory=room) for place in self._places]

    def measure(self, place: Place) -> int:
        """Return the bytes of RAM that the worker in a place holds now."""
        child = self._children.get(place.number)
        return 0 if child is None else machine.measure_memory(child.process.pid)

    def start(
        self, place: Place, log: Path, options: Options, modules: Sequence[str] = ()
    ) -> Child:
        """Start a worker on the place's cores."""
        child = Child(
            log,
            replace(options, threads=len(place.cores)),
            arguments=modules,
            environment=name_gpu(place),
        )
        system.bind(child.process.pid, place.cores)
        self._children[place.number] = child
        return child

    def refresh(self) -> None:
        """This machine stays as it is."""

    def close(self) -> None:
        """Nothing is held between two workers."""


def share_cores(count: int, options: Options) -> list[int]:
    """Return the numbers of the cores that `count` workers share. UsageError if there are fewer."""
    cores = system.list_cores()
    if options.threads:
        cores = cores[: max(options.threads, 1)]
    if count > len(cores):
        many = f"{len(cores)} core{'' if len(cores) == 1 else 's'}"
        raise UsageError(
            f"--workers {count} is more than the {many} that the run may use",
            hint="fewer workers: each has cores of its own, and --threads is the number that all"
            " share",
        )
    return cores


def name_gpu(place: Place) -> Mapping[str, str]:
    """Return the environment in which a worker sees the GPU of its place alone."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not place.gpu:
        return {}
    number = int(place.gpu.removeprefix("cuda:"))
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[number] if visible else str(number)}
