"""Where the time of one `llmbench score` goes: start, loading, passes, head, and the rest.

python tests/benchmarks/parts.py SPEC TEXTFILE [--rounds N] [--threads N]
[more options of `llmbench score`]

A whole process for each round, the first one not counted; medians of wall time. The parts are
clocked from within and sum to the whole: `start` is the interpreter and the libraries, `loading`
making the adapter with its trials, `passes` the network without its head, `head` from its rows to
bits, `rest` tokenizing, the ledger, intervals, and the end of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS = ("start", "loading", "passes", "head", "rest")


def watch(arguments: list[str], out: Path, begun: float) -> None:
    """Run `llmbench score` in this process and write the seconds of its parts."""
    spent = dict.fromkeys(PARTS, 0.0)
    loading = False

    def clock(part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*given: Any, **more: Any) -> Any:
            if loading:  # what loading tries is its own
                return run(*given, **more)
            since = time.time()
            try:
                return run(*given, **more)
            finally:
                spent[part] += time.time() - since

        return clocked

    def load(*given: Any, **more: Any) -> Any:
        nonlocal loading
        since, loading = time.time(), True
        try:
            return make(*given, **more)
        finally:
            loading = False
            spent["loading"] += time.time() - since

    from llmbench.cli.main import main
    from llmbench.inference import scoring
    from llmbench.models.pretrained.fast_import import fast_import
    from llmbench.models.pretrained.lm_head import Parts
    from llmbench.runner import session

    with fast_import():
        import transformers.models.auto.modeling_auto  # noqa: F401
    make = session.make_adapter
    vars(session)["make_adapter"] = load
    Parts.body = clock("passes", Parts.body)  # type: ignore[method-assign]
    vars(scoring)["charge"] = clock("head", scoring.charge)
    spent["start"] = time.time() - begun
    try:
        sys.argv = ["llmbench", "score", *arguments]
        main()
    finally:
        out.write_text(json.dumps(spent), encoding="utf-8")


def measure(arguments: list[str], rounds: int, threads: int) -> None:
    """Print the median seconds of each part."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "parts.json"
        for number in range(rounds + 1):
            begun = time.time()
            command = [sys.executable, __file__, *arguments, "--begun", str(begun)]
            subprocess.run(
                [*command, "--write", str(out)],
                check=True,
                stdout=subprocess.DEVNULL,
                env=os.environ | counts,
            )
            whole = time.time() - begun
            parts = json.loads(out.read_bytes())
            parts["rest"] = whole - sum(parts.values())
            if number:
                found.append(parts | {"whole": whole})
    print(f"{' '.join(arguments)}: medians of {rounds}, {threads} threads")
    for part in (*PARTS, "whole"):
        seconds = sorted(parts[part] for parts in found)
        share = statistics.median(parts[part] / parts["whole"] for parts in found)
        print(
            f"  {part:8} {statistics.median(seconds):7.2f} s  {share:4.0%}"
            f"  ({seconds[0]:.2f} to {seconds[-1]:.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--begun", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given, arguments = parser.parse_known_args()
    if given.write:
        watch(arguments, given.write, given.begun)
    else:
        measure(arguments, given.rounds, given.threads)


if __name__ == "__main__":
    main()
