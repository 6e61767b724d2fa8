"""What the same questions cost through llmbench's `multiple-choice` and through lm-eval: whole
processes in turns, medians of the rounds, as ratios.

python tests/benchmarks/choice_against_lm_eval.py --oracle-python ORACLE/bin/python [--rounds N]
[--limit N] [--checkpoint FOLDER]

ORACLE is an environment that has `lm-eval[hf]`. The sides are `llmbench run` of a suite with one
task, lm-eval's command line, and `lean`, its evaluator without its index of tasks. All are asked
the questions of arc_easy (FOLDER's model instead of stories260K), and must report the same accuracy
by all bits. By bits per byte llmbench divides by the bytes that were scored, lm-eval by characters
without the space.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import lm_eval_oracle as oracle
from against_lm_eval import SIDES, Cost, spend

SUITE = """name: questions
version: 1
texts:
  test: {source: questions.jsonl, fields: {given: query}}
tasks:
  - {task: multiple-choice, join: " ", bos: always}
"""


def prepare(folder: Path, data: Path, limit: int | None) -> None:
    lines = (data / "choice/arc_easy.jsonl").read_bytes().split(b"\n")[:limit]
    (folder / "questions.jsonl").write_bytes(b"\n".join(lines))
    (folder / "questions.yaml").write_text(SUITE, encoding="utf-8")
    oracle.write_task(folder / "questions.jsonl", folder / "task", oracle.CHOICE)


def command(side: str, folder: Path, given: argparse.Namespace, number: int) -> list[str]:
    checkpoint = given.checkpoint or given.data / "stories260K-hf"
    if side == "llmbench":
        return [
            *given.ours.split(),
            "run",
            str(folder / "questions.yaml"),
            "--model",
            f"hf:{checkpoint}",
            "--out",
            str(folder / f"run{number}"),
        ]
    if side == "lm-eval":
        return oracle.command_line(
            given.oracle_python,
            checkpoint,
            folder / "task",
            given.batch,
            folder / "results",
            bos=True,
        )
    return [
        str(given.oracle_python),
        oracle.__file__,
        "lean",
        str(checkpoint),
        str(folder / "task"),
        "--batch",
        str(given.batch),
        "--bos",
    ]


def accuracies(side: str, folder: Path) -> tuple[float, float]:
    """The share of right choices by all bits, and by bits per byte, in full digits."""
    if side == "llmbench":
        scores = json.loads((folder / "run0/run.json").read_bytes())["scores"]
        found = {score["norm"]: score["value"] for score in scores if score["metric"] == "accuracy"}
        return found["none"], found["byte"]
    if side == "lm-eval":
        latest = max(
            (folder / "results").rglob("results_*.json"), key=lambda path: path.stat().st_mtime
        )
        found = json.loads(latest.read_bytes())["results"][oracle.TASK]
        return found["acc,none"], found["acc_norm,none"]
    found = json.loads((folder / f"{side}.out").read_text(encoding="utf-8").strip().split("\n")[-1])
    return found["acc"], found["acc_norm"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--oracle-python",
        type=Path,
        required=True,
        help="the Python of an environment that has lm-eval",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="the first so many questions only")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of your own")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--batch", type=int, default=8, help="lm-eval's")
    parser.add_argument(
        "--ours", default=f"{sys.executable} -m llmbench.cli.main", help="how llmbench is called"
    )
    parser.add_argument("--data", type=Path, default=oracle.DATA, help="the folder of shared data")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, given.data.resolve(), given.limit)
        costs: dict[str, list[Cost]] = {side: [] for side in given.sides}
        for number in range(
            given.rounds + 1
        ):  # the first fills the caches of files and of lm-eval's data sets
            for side in given.sides:
                cost = spend(command(side, folder, given, number), folder / f"{side}.out")
                costs[side] += [cost] if number else []
        said = {side: accuracies(side, folder) for side in given.sides}
    for side in given.sides:
        wall, cpu, peak = (
            statistics.median(getattr(cost, field) for cost in costs[side])
            for field in ("wall", "cpu", "peak")
        )
        print(
            f"  {side:9} {wall:7.2f} s wall {cpu:8.2f} s CPU {peak / 2**20:8.0f} MiB   accuracy"
            f" {said[side][0]:.6f}, by bits/byte {said[side][1]:.6f}"
        )
    for other in given.sides[1:] if given.sides[0] == "llmbench" else []:
        ratio = statistics.median(
            a.wall / b.wall for a, b in zip(costs["llmbench"], costs[other], strict=True)
        )
        print(f"  llmbench / {other}: wall {ratio:.2f} (median of pairs)")


if __name__ == "__main__":
    main()
