"""What this machine is: facts for the record, read without torch. A fact that cannot be had is absent."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "numpy", "scipy", "safetensors", "sacrebleu", "rouge-score", "evaluate", "pyarrow")


def facts(threads: int) -> dict[str, Any]:
    """cpu, cores, memory_bytes, gpus, os, python, packages, threads."""
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


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def gpus() -> list[dict[str, Any]]:
    """Name and memory of each NVIDIA GPU; empty where there is no driver."""
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
    except Exception:  # no package, no driver, no device: there is no GPU to speak of
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [{"name": pynvml.nvmlDeviceGetName(h), "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(h).total)} for h in handles]
    finally:
        pynvml.nvmlShutdown()


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what a model frees between two layers, instead of giving it back to the system and asking for it again:
    5 to 8 % of the time of scoring a small model. False, and nothing changed, with another allocator.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, 1 << 30))


def give_back_freed_memory() -> bool:
    """Have glibc's allocator return to the system what is freed, whatever it was told to keep. False with another allocator."""
    import ctypes

    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError, TypeError):
        return False


def oom_kills() -> int | None:
    """How often this system's kernel killed a process for want of memory; None where it does not say."""
    try:
        for line in Path("/proc/vmstat").read_text(encoding="utf-8").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return None
