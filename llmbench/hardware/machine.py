"""What this machine is: facts for the record, read without torch. A fact that is unavailable is
absent.
"""

from __future__ import annotations

import importlib
import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from llmbench import system
from llmbench.errors import UsageError

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "safetensors",
    "sacrebleu",
    "rouge-score",
    "evaluate",
    "pyarrow",
)


class GpuFacts(TypedDict):
    """A GPU's name and bytes of memory."""

    name: str
    memory_bytes: int


class Facts(TypedDict):
    """What the record says about a machine. `packages`: name -> version. `threads`: in use."""

    cpu: str
    cores: int
    memory_bytes: int
    gpus: list[GpuFacts]
    os: str
    python: str
    packages: dict[str, str]
    threads: int


class LoadState(TypedDict):
    """What else a machine does; None if unknown.

    load: mean number of running processes in the last minute. steal: share of the time since the
    start that the hypervisor gave to others. governor: of the frequency. free_bytes: of memory.
    """

    cores: int
    load: float | None
    steal: float | None
    governor: str | None
    free_bytes: int


def facts(threads: int) -> Facts:
    """Return what this machine is."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_bytes": _memory(),
        "gpus": gpus(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "threads": threads,
    }


def name() -> str:
    """The processor and the GPUs, in words: what tells one kind of machine from another."""
    return ", ".join([f"{_cpu()}, {cores()} cores", *(str(gpu["name"]) for gpu in gpus())])


def cores() -> int:
    """Processors that this process may use."""
    return len(system.list_cores())


def thread_settings(count: int) -> dict[str, str]:
    """Environment variables that give a process `count` threads: torch's, those of its matrix
    products, and those of tokenizers.
    """
    return {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(count)),
        "TOKENIZERS_PARALLELISM": "true",
    }


def _cpu() -> str:
    return system.name_processor() or platform.processor() or platform.machine()


def describe_processor() -> str:
    """Return the processor's name, with what tells apart kinds of the same name, where it is known:
    a virtual machine may call all of a maker's servers the same.
    """
    lines = system.read_proc("cpuinfo").split("\n\n")[0].splitlines()
    values = {name.strip(): value.strip() for name, _, value in map(_cut, lines)}
    found = [f"{n} {values[n]}" for n in ("cpu family", "model") if n in values]
    return f"{_cpu()} ({', '.join(found)})" if found else _cpu()


def _cut(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def is_amd() -> bool:
    """Return whether the processor is one of AMD's."""
    return "AMD" in _cpu()


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/kfd")  # kfd: AMD's ROCm


def may_have_cuda() -> bool:
    """Whether torch might find a CUDA device here; asked without torch, which takes seconds."""
    return bool(gpus()) or any(Path(device).exists() for device in GPU_DEVICES)


def check_device(device: str) -> None:
    """Raise UsageError if torch cannot have this device here; asked without torch."""
    has_mps = platform.system() == "Darwin" and platform.machine() == "arm64"
    shows = {"cuda": may_have_cuda(), "mps": has_mps}
    kind = device.partition(":")[0]
    if not shows.get(kind, True):
        raise UsageError(
            f"--device {device}: this machine shows no GPU that torch could use as {kind}",
            hint="leave it out, or use --device cpu",
        )


def gpus() -> list[GpuFacts]:
    """Name and memory of each NVIDIA GPU; empty where there is no driver."""
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
    except Exception:  # no package, no driver, no device: there is no GPU to speak of
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [
            {
                "name": pynvml.nvmlDeviceGetName(h),
                "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(h).total),
            }
            for h in handles
        ]
    finally:
        pynvml.nvmlShutdown()


def nvml_device(device: str) -> tuple[Any, Any]:
    """The driver's library and its handle of a CUDA device as torch names it ("cuda", "cuda:1"),
    CUDA_VISIBLE_DEVICES heeded. Raises where there is no package, no driver or no such device.
    """
    pynvml = importlib.import_module("pynvml")
    pynvml.nvmlInit()
    index = int(device.rpartition(":")[2]) if ":" in device else 0
    visible = [
        word.strip()
        for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if word.strip()
    ]
    word = visible[index] if index < len(visible) else str(index)
    return pynvml, (
        pynvml.nvmlDeviceGetHandleByIndex(int(word))
        if word.isdigit()
        else pynvml.nvmlDeviceGetHandleByUUID(word)
    )


def free_gpu_memory(device: str = "cuda") -> int | None:
    """Bytes of a GPU that nobody holds; None where the driver does not say."""
    try:
        pynvml, handle = nvml_device(device)
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
    except Exception:  # no package, no driver, no device
        return None


def free_memory() -> int:
    """Bytes that a new process could have: what the system calls available, or what is left of the
    limit of this group of processes.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        cached = next(
            int(line.split()[1])
            for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()
            if line.startswith("file ")
        )
        return free if most == "max" else min(free, int(most) - used + cached)
    except (OSError, ValueError, StopIteration):
        return free


def measure_memory(pid: int) -> int:
    """Bytes of RAM that a process has to itself; 0 if it is gone."""
    import psutil

    try:
        held = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(held.rss) - int(held._asdict().get("shared", 0))  # which Linux alone tells


def load_state() -> LoadState:
    """Return what else this machine does now."""
    import psutil

    state: LoadState = {
        "cores": cores(),
        "load": None,
        "steal": None,
        "governor": None,
        "free_bytes": int(psutil.virtual_memory().available),
    }
    state["load"] = system.read_load()
    with suppress(OSError):
        state["governor"] = GOVERNOR.read_text(encoding="utf-8").strip()
    try:
        numbers = [int(word) for word in system.read_proc("stat").split("\n", 1)[0].split()[1:]]
        state["steal"] = round(numbers[7] / max(1, sum(numbers[:8])), 5)
    except (ValueError, IndexError):
        pass
    return state


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what a model frees between two layers, instead of giving it
    back to the system and asking for it again: 5 to 8 % of the time of scoring a small model.
    False, and nothing changed, with another allocator.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, 1 << 30))


def give_back_freed_memory() -> bool:
    """Have glibc's allocator return to the system what is freed, whatever it was told to keep.
    False with another allocator.
    """
    import ctypes

    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError, TypeError):
        return False


def oom_kills() -> int | None:
    """Return how many processes the kernel's OOM killer has killed; None if unknown."""
    for line in system.read_proc("vmstat").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None
