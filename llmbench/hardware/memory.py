"""How much memory a process holds at most, phase by phase, with its source.

On Linux the kernel keeps the peak (VmHWM), which writing 5 to /proc/self/clear_refs sets back;
elsewhere a thread samples, which gives a lower bound. Never getrusage: its peak is inherited from
the parent. What is anonymous and what is backed by files is read at a phase's end, since the
kernel's peak does not part them. On a GPU torch's allocator counts, and the driver knows the
process's total.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Protocol

from llmbench import system
from llmbench.hardware import machine

STATUS = system.PROC / "self" / "status"
CLEAR = system.PROC / "self" / "clear_refs"
SAMPLED_EVERY = 0.005  # seconds, where the kernel keeps no peak


@dataclass(frozen=True)
class Phase:
    """Bytes. `peak`: most held during the phase; the others at its end. `gpu`: see `Gpu`; absent
    figures have a reason in `absent`.
    """

    name: str
    peak: int
    resident: int
    anonymous: int | None
    file_backed: int | None
    source: str
    gpu: dict[str, int] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Where a process's figures come from. `begin` sets the peak back; `read` gives peak, resident,
    anonymous and file-backed bytes.
    """

    name: str

    def begin(self) -> None: ...
    def read(self) -> tuple[int, int, int | None, int | None]: ...


class Kernel:
    """Linux: exact peaks."""

    name = "VmHWM, set back by clear_refs"

    def begin(self) -> None:
        # what the phase before held and freed is not to be held against this one
        machine.give_back_freed_memory()
        CLEAR.write_text("5", encoding="ascii")

    def read(self) -> tuple[int, int, int | None, int | None]:
        found = dict(
            line.split(":", 1)
            for line in STATUS.read_text(encoding="ascii").splitlines()
            if line.startswith(("VmHWM", "VmRSS", "Rss"))
        )
        kilobytes = {key: int(value.split()[0]) * 1024 for key, value in found.items()}
        return (
            kilobytes["VmHWM"],
            kilobytes["VmRSS"],
            kilobytes.get("RssAnon"),
            kilobytes.get("RssFile"),
        )


class Sampled:
    """Elsewhere: what a thread saw, a lower bound."""

    name = "sampled every 5 ms: a lower bound"

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._most, self._stop, self._thread = 0, threading.Event(), threading.Thread()

    def begin(self) -> None:
        self._end()
        self._most, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(self._stop,), daemon=True)
        self._thread.start()

    def read(self) -> tuple[int, int, int | None, int | None]:
        self._end()
        now = int(self._process.memory_info().rss)
        return max(self._most, now), now, None, None

    def _end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(SAMPLED_EVERY):
            self._most = max(self._most, int(self._process.memory_info().rss))


def source() -> Source:
    """The best source that this system has, tried and not guessed."""
    kernel = Kernel()
    try:
        kernel.begin()
        kernel.read()
    except (OSError, KeyError, ValueError):
        return Sampled()
    return kernel


class Gpu:
    """Four figures of a CUDA device, each of its own: what torch handed out at most, what its
    allocator held at most, what the driver says that this process holds, and what the device held
    before this process used it.
    """

    def __init__(self, device: str):
        self.device, self.absent = device, dict[str, str]()
        self.idle = self._read_used()

    def begin(self) -> None:
        import torch

        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)

    def read(self) -> dict[str, int]:
        import torch

        torch.cuda.synchronize(self.device)
        found = {
            "allocated": int(torch.cuda.max_memory_allocated(self.device)),
            "reserved": int(torch.cuda.max_memory_reserved(self.device)),
        }
        process = self._process()
        if process is not None:
            found["process"] = process
        if self.idle is not None:
            found["idle"] = self.idle
        return found

    def _read_used(self) -> int | None:
        try:
            pynvml, handle = machine.nvml_device(self.device)
            return int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
        except Exception as error:  # no package, no driver, or a driver that does not say
            self.absent["idle"] = f"NVML: {error}"
            return None

    def _process(self) -> int | None:
        try:
            pynvml, handle = machine.nvml_device(self.device)
            own = [
                p.usedGpuMemory
                for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
                if p.pid == os.getpid()
            ]
        except Exception as error:  # as above
            self.absent["process"] = f"NVML: {error}"
            return None
        if not own or own[0] is None:
            self.absent["process"] = "NVML does not see this process (as in a container of its own)"
            return None
        return int(own[0])


class Gpus:
    """The same figures of several devices together, as of a model whose layers lie on all of them.

    The peaks of the devices need not fall at one time: their sum is an upper bound.
    """

    def __init__(self, devices: Sequence[str]):
        self._each = [Gpu(device) for device in devices]

    @property
    def absent(self) -> dict[str, str]:
        """Why a figure is missing, by its name: it is then missing on some device."""
        return {name: why for gpu in self._each for name, why in gpu.absent.items()}

    def begin(self) -> None:
        for gpu in self._each:
            gpu.begin()

    def read(self) -> dict[str, int]:
        found = [gpu.read() for gpu in self._each]
        return {
            name: sum(each[name] for each in found)
            for name in found[0]
            if all(name in each for each in found)
        }


def all_gpus() -> list[str]:
    """The names of the CUDA devices that torch sees."""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


class Meter:
    """Measures phases, one after another. `phases` holds them in order; the first that is called
    "imports" is the baseline.
    """

    def __init__(self, of: Source | None = None) -> None:
        self.source, self.phases = of or source(), list[Phase]()
        self.gpu: Gpu | Gpus | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.source.begin()
        if self.gpu is not None:
            self.gpu.begin()
        try:
            yield
        finally:
            gpu = self.gpu.read() if self.gpu is not None else {}
            peak, resident, anonymous, file_backed = self.source.read()
            absent = dict(self.gpu.absent) if self.gpu is not None else {}
            self.phases.append(
                Phase(name, peak, resident, anonymous, file_backed, self.source.name, gpu, absent)
            )

    @property
    def idle(self) -> int | None:
        """Resident bytes after the imports, before a model is loaded."""
        return next((phase.resident for phase in self.phases if phase.name == "imports"), None)

    @property
    def peak(self) -> int | None:
        """Most bytes held in any phase from the loading on."""
        return max((phase.peak for phase in self.phases if phase.name != "imports"), default=None)

    def rows(self) -> list[dict[str, object]]:
        """The figures of each phase, by the names that `Phase` has for them."""
        return [asdict(phase) for phase in self.phases]
