"""How much faster two nodes of a Ray cluster are than one, and what one costs beside no cluster.

    python tests/benchmarks/nodes.py [--rounds 3] [--scale 1.0]

Each round runs the same suite four times, in turns: with one worker of this machine on all its
cores, and on one; on a cluster of one node, and of two, each with a core. A worker has one thread.
On a second core, the local run imports for the next model while one works; a node has no core for
that. The work is some minutes of one core: bits of a text by four drawn models, the cells of two of
them in many shards. Seconds are those of the whole process `llmbench run`; a cluster is started
before. Certificates are earned by a first run that is not counted.

On an idle machine with two cores or more: what others do on it is in the spread, and slows a node
more than the local worker, since Ray gives its workers the niceness 15.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from kills import compare, start
from support import checkpoints, drawn_suite
from support.ray_nodes import Nodes

DOCUMENTS = 1000  # of 900 bytes, at scale 1
BOUND = "local on one core"
COUNTS = {"local": 0, BOUND: 0, "one node": 1, "two nodes": 2}
SUITE = """\
name: nodes
version: 1
texts:
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test}
models: ["hf:gpt2-a", "hf:gpt2-b", drawn_models.py:Wide, drawn_models.py:Deep]
"""


def write(place: Path, documents: int) -> Path:
    """Write the suite, its text and its models into a folder; return the suite."""
    place.mkdir()
    drawn_suite.write(place, documents, width=192)
    for seed, name in enumerate(("gpt2-a", "gpt2-b")):
        checkpoints.gpt2_5m(place / name, " ".join(drawn_suite.WORDS), seed=seed)
    (place / "nodes.yaml").write_text(SUITE)
    return place / "nodes.yaml"


def measure(suite: Path, out: Path, count: int, is_bound: bool = False) -> float:
    """Return the seconds of a run on so many nodes; 0: with one worker of this machine. is_bound:
    to one core.
    """
    nodes = Nodes(count) if count else None
    try:
        begun = time.monotonic()
        run = start(suite, out, *(("--engine", nodes.engine) if nodes else ()))
        if is_bound:
            psutil.Process(run.pid).cpu_affinity(psutil.Process().cpu_affinity()[:1])
        code = run.wait()
        seconds = time.monotonic() - begun
    finally:
        if nodes:
            nodes.shut_down()
    if code != 0:
        raise SystemExit(out.with_suffix(".log").read_text())
    return seconds


def say_ratio(what: str, over: list[float], under: list[float]) -> None:
    """Print the median of a ratio over the rounds, and its spread."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    medians = statistics.median(over) / statistics.median(under)
    print(
        f"{what}: {medians:.3f} of medians; by round {statistics.median(ratios):.3f}"
        f" ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def main() -> int:
    """Print each run, medians and ratios; return 1 if boards or samples differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="times the work of some minutes")
    given = parser.parse_args()
    took: dict[str, list[float]] = {name: [] for name in COUNTS}
    faults, names = list[str](), list(COUNTS)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch).resolve()
        os.environ["LLMBENCH_CACHE"] = str(place / "cache")
        suite = write(place / "suite", max(4, int(DOCUMENTS * given.scale)))
        short = write(place / "short", 4)
        measure(short, place / "first", 0)
        for number in range(given.rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                out = place / f"{name}-{number}".replace(" ", "-")
                load = os.getloadavg()[0]
                took[name].append(measure(suite, out, COUNTS[name], name == BOUND))
                print(f"{name}: {took[name][-1]:.1f} s; load before it {load:.1f}", flush=True)
                if not (place / "reference").exists():
                    shutil.copytree(out, place / "reference")
                faults += [f"{out.name}: {what}" for what in compare(place / "reference", out)]
    for name, seconds in took.items():
        print(
            f"{name}: median {statistics.median(seconds):.1f} s"
            f" ({min(seconds):.1f} to {max(seconds):.1f})"
        )
    say_ratio("one node / local", took["one node"], took["local"])
    say_ratio(f"one node / {BOUND}", took["one node"], took[BOUND])
    say_ratio("one node / two nodes", took["one node"], took["two nodes"])
    print(
        "\n".join(faults)
        or "boards (but for dates and the seconds of checks) and samples are the same bytes"
    )
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
