"""A run on a Ray cluster that is killed at random instants, beside one that is not.

    python tests/benchmarks/kills.py [--nodes 20] [--drivers 20] [--heads 5] [--seed 1]

The reference is a run with one worker of this machine. Then, a round for each kill, the same
suite runs on a cluster of two nodes with a core each, and at an instant that is drawn over the
duration of an undisturbed run there, kill -9 ends

- a node: its raylet with all of the node's processes, or the raylet alone; another node comes at
  once, or not during the run;
- the driver: `llmbench run` itself;
- the head, or all nodes with it. A new cluster is started.

A run that ended is started again with the same --out, until it is done. Then the board (but for
its date and the seconds of checks) and all samples must have the reference's bytes, nothing may be
there or computed twice, and no process and no shard may be left. Prints a line a round; exit code
1 if there is a fault.

On a machine that does nothing else: Ray gives its workers the niceness 15, and with other work
beside them a run may seem to hang.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import drawn_suite
from support.ray_nodes import END_SECONDS, Nodes

SECONDS = 300.0  # that a run may take, many times what it does, before it is called a hang
STARTS = 5  # of one run, until it must be done
SAME = "no fault"
TRIES = 4  # of one round: a run may end before its instant
# what a board has of the run itself: its date, the number of its cores, and how long checks of a
# model took if they were made again, as those of a model that earns nothing are
OF_RUN = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d [A-Z]+|(?<=, )\d+ cores(?=,)|(?<=\| )\d+\.\d s(?= \|)"
)


@dataclass
class Stage:
    """Where all runs are, and what they must come to. `seconds`: of an undisturbed run."""

    place: Path
    suite: Path
    nodes: Nodes
    seconds: float = 0.0

    @property
    def reference(self) -> Path:
        """The folder of the run that was not disturbed."""
        return self.place / "reference"


@dataclass
class Round:
    """A run that is disturbed. `workers`: at work when it is; `what`: is done to it, in words;
    `starts`: how often it began.
    """

    out: Path
    at: float
    workers: int = 0
    what: str = ""
    starts: int = 0
    faults: list[str] = field(default_factory=list)


def start(suite: Path, out: Path, *engine: str) -> subprocess.Popen[bytes]:
    """Start a run with a thread a worker, or start it again; what it prints goes beside its
    folder.
    """
    command = [sys.executable, "-m", "llmbench", "run", str(suite), "--offline"]
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--threads", "1", "--out", str(out), *engine],
            cwd=suite.parent,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait(run: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait so long for a run; return whether it ended."""
    with suppress(subprocess.TimeoutExpired):
        run.wait(timeout=max(0.0, seconds))
    return run.poll() is not None


def finish(stage: Stage, run: subprocess.Popen[bytes], now: Round) -> None:
    """Wait for a run; start it again until it is done."""
    while True:
        if not wait(run, SECONDS):
            now.faults.append(f"no end within {SECONDS:.0f} s")
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        if run.returncode == 0:
            return
        if now.starts == STARTS:
            now.faults.append(f"not done after {STARTS} starts, exit code {run.returncode}")
            return
        now.starts += 1
        stage.nodes.fill()
        run = start(stage.suite, now.out, "--engine", stage.nodes.engine)


def kill_node(stage: Stage, run: subprocess.Popen[bytes], now: Round, draw: random.Random) -> None:
    whole, comes = draw.random() < 0.5, draw.random() < 0.5
    stage.nodes.kill(draw.choice(stage.nodes.living), whole)
    now.what = "node, whole" if whole else "node, raylet only"
    if comes:
        now.what += ", another comes"
        stage.nodes.fill()
    finish(stage, run, now)
    stage.nodes.fill()


def kill_driver(
    stage: Stage, run: subprocess.Popen[bytes], now: Round, draw: random.Random
) -> None:
    now.what = "driver"
    os.kill(run.pid, signal.SIGKILL)
    finish(stage, run, now)


def kill_head(stage: Stage, run: subprocess.Popen[bytes], now: Round, draw: random.Random) -> None:
    whole = draw.random() < 0.5
    stage.nodes.kill_head(whole)
    now.what = "head and all nodes" if whole else "head only"
    begun = time.monotonic()
    if not wait(run, SECONDS):
        now.faults.append(f"no end within {SECONDS:.0f} s of the head's death")
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    now.what += f", run ended {time.monotonic() - begun:.0f} s later with {run.returncode}"
    stage.nodes.shut_down()
    stage.nodes.start()
    finish(stage, run, now)


KINDS = {"node": kill_node, "driver": kill_driver, "head": kill_head}


def disturb(stage: Stage, kind: str, number: int, draw: random.Random) -> Round:
    """One round, again if the run ended before its instant."""
    for attempt in range(TRIES):
        now = Round(stage.place / f"{kind}-{number}-{attempt}", draw.uniform(0, stage.seconds))
        run = start(stage.suite, now.out, "--engine", stage.nodes.engine)
        now.starts = 1
        if wait(run, now.at):
            if run.returncode != 0:
                now.faults.append(f"exit code {run.returncode} before anything was killed")
                return now
            shutil.rmtree(now.out)
            continue
        now.workers = len(stage.nodes.list_workers())
        KINDS[kind](stage, run, now, draw)
        now.faults += [
            *compare(stage.reference, now.out),
            *find_twice(now.out),
            *find_left(stage, now.out),
        ]
        return now
    now.faults.append(f"{TRIES} runs ended before their instants")
    return now


def read_samples(out: Path) -> dict[str, bytes]:
    """The bytes of all files of samples."""
    folder = out / "samples"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def compare(reference: Path, out: Path) -> list[str]:
    """Say where a run differs from the reference: in the board, or in samples."""
    faults, boards = list[str](), [folder / "leaderboard.md" for folder in (reference, out)]
    if not boards[1].is_file():
        return ["no board"]
    lines = [OF_RUN.sub("OF RUN", board.read_text()).splitlines() for board in boards]
    odd = [pair for pair in itertools.zip_longest(*lines, fillvalue="") if pair[0] != pair[1]]
    faults += [f"the board has {there[:300]!r} for {here[:300]!r}" for here, there in odd[:3]]
    wanted, found = read_samples(reference), read_samples(out)
    names = sorted({*found, *wanted})
    odd_names = [name for name in names if found.get(name) != wanted.get(name)]
    if odd_names:
        faults.append(f"other samples: {', '.join(odd_names)}")
    return faults


def find_twice(out: Path) -> list[str]:
    """Say which samples are there twice, and what was computed after it had been finished."""
    faults = []
    for file in sorted((out / "samples").rglob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            counts = Counter(json.loads(line)["id"] for line in lines)
        if twice := [id for id, count in counts.items() if count > 1]:
            faults.append(f"{file.relative_to(out)} has twice: {twice[:3]}")
    over, seen = set[tuple[str, str]](), set[tuple[str, str, str]]()
    for line in (out / "work.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        cell, part = (row["model"], row["task"]), row["part"]
        if cell in over or (*cell, part) in seen:
            faults.append(f"computed again: {' '.join((*cell, part))}")
        seen.add((*cell, part))
        if not part:
            over.add(cell)
    return faults


def find_left(stage: Stage, out: Path) -> list[str]:
    """Say which shards and processes are left behind."""
    shards = [str(file.relative_to(out)) for file in out.glob("shards/*/*/*")]
    faults = [f"shards left: {', '.join(shards)}"] if shards else []
    left = psutil.wait_procs(stage.nodes.list_workers(), timeout=END_SECONDS)[1]
    for process in left:
        with suppress(psutil.Error):
            faults.append(f"orphan: {process.pid} {' '.join(process.cmdline())[:200]}")
            process.kill()
    return faults


def prepare(place: Path, suite: Path | None) -> Stage:
    """Run the reference, and once on a cluster without a kill."""
    stage = Stage(place, suite or drawn_suite.write(place), Nodes())
    for out, words, engine in (
        (stage.reference, "one worker", ()),
        (place / "undisturbed", "two nodes", ("--engine", stage.nodes.engine)),
    ):
        begun = time.monotonic()
        if start(stage.suite, out, *engine).wait() != 0:
            raise SystemExit(out.with_suffix(".log").read_text())
        stage.seconds = time.monotonic() - begun
        found = [*compare(stage.reference, out), *find_twice(out), *find_left(stage, out)]
        print(f"{words}: {stage.seconds:.1f} s; {'; '.join(found) or SAME}", flush=True)
        if found:
            raise SystemExit(1)
    return stage


def main() -> int:
    """Print each round and a summary; return 1 if there is a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for kind, count in (("node", 20), ("driver", 20), ("head", 5)):
        parser.add_argument(f"--{kind}s", type=int, default=count, help="rounds")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed, and when")
    parser.add_argument("--suite", type=Path, help="another one than that of drawn models")
    parser.add_argument("--place", type=Path, help="keep all runs in this folder")
    given = parser.parse_args()
    draw, bad, workers = random.Random(given.seed), Counter[str](), 0
    rounds = [kind for kind in KINDS for _ in range(vars(given)[f"{kind}s"])]
    draw.shuffle(rounds)
    with tempfile.TemporaryDirectory() as scratch:
        place = (given.place or Path(scratch)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        os.environ["LLMBENCH_CACHE"] = str(place / "cache")
        stage = prepare(place, given.suite and given.suite.resolve())
        try:
            for number, kind in enumerate(rounds):
                begun = time.monotonic()
                now = disturb(stage, kind, number, draw)
                bad[kind] += bool(now.faults)
                workers += now.workers
                took = time.monotonic() - begun
                print(
                    f"{number + 1}/{len(rounds)} {now.what or kind} at {now.at:.2f} s,"
                    f" {now.workers} workers:"
                    f" {now.starts} starts, {took:.0f} s; {'; '.join(now.faults) or SAME}",
                    flush=True,
                )
        finally:
            stage.nodes.shut_down()
    for kind, count in Counter(rounds).items():
        print(f"{kind}: {count - bad[kind]} of {count} rounds without a fault")
    print(f"{workers} workers were at work at these instants")  # 0: none is found, nor is an orphan
    return int(bad.total() > 0 or workers == 0)


if __name__ == "__main__":
    sys.exit(main())
