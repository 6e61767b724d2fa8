"""Memory and time of whole commands: texts by size, and the peaks of a run and its workers."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

WORDS = ("the", "old", "woman", "said", "to", "her", "cat", "that", "a", "kettle", "is", "wet")
SUITE = """\
name: sizes
version: 1
about: One text, charged.
texts:
  train: {source: fables, select: {part: tales, split: train}}
  test: {source: TEXT}
tasks:
  - {task: likelihood, text: test}
models: [uniform-bytes, byte-ngram]
"""


@dataclass(frozen=True)
class Peaks:
    """Bytes of resident memory at most, of the command and of the largest process it started, and
    seconds.
    """

    parent: int
    worker: int
    seconds: float


def write_line(path: Path, size: int) -> Path:
    """A text of so many bytes, all of them in one line."""
    draw = random.Random(0)
    words = [draw.choice(WORDS) for _ in range(100_000)]
    block = " ".join(words) + " "
    path.write_text((block * (size // len(block) + 1))[:size])
    return path


def write_documents(path: Path, count: int, size: int = 55) -> Path:
    """JSON lines of so many documents, of `size` bytes each."""
    draw = random.Random(0)
    with path.open("w") as file:
        for number in range(count):
            text = " ".join(draw.choices(WORDS, k=size // 2))[:size]
            file.write(json.dumps({"id": f"doc-{number}", "text": text}) + "\n")
    return path


def write_suite(text: Path) -> Path:
    """A suite beside a text that charges it."""
    path = text.with_suffix(".yaml")
    path.write_text(SUITE.replace("TEXT", text.name))
    return path


def measure(*arguments: str) -> Peaks:
    """Run llmbench with these arguments to its end. Raises RuntimeError if it fails."""
    command, begun = [sys.executable, "-m", "llmbench", *arguments], time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for pid in (child.pid, *_children(child.pid)):
                peaks[pid] = max(peaks.get(pid, 0), _peak(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = child.communicate()
    ended.set()
    watcher.join()
    if child.returncode:
        raise RuntimeError(said)
    workers = [peak for pid, peak in peaks.items() if pid != child.pid]
    return Peaks(peaks[child.pid], max(workers, default=0), time.perf_counter() - begun)


def run_arguments(suite: Path, model: str, out: Path) -> Sequence[str]:
    """The arguments of a run of one model."""
    return ("run", str(suite), "--only", model, "--out", str(out))


def _children(pid: int) -> list[int]:
    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children()]
    return []


def _peak(pid: int) -> int:
    """VmHWM of a process, in bytes; 0 if it is gone."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc", str(pid), "status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return 0
