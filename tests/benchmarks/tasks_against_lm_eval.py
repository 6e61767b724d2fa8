"""What lm-eval's tasks cost in a suite of llmbench and in lm-eval's command line: whole processes
in turns, medians of the rounds, as ratios; and whether both say the same of every question.

python tests/benchmarks/tasks_against_lm_eval.py --oracle-python ORACLE/bin/python [--rounds N]
[--limit N] [--shots N ...] [--checkpoint FOLDER]

ORACLE is an environment that has `lm-eval[hf]`. The questions are those of arc_easy, with `--shots`
examples before each (FOLDER's model instead of stories260K). Questions whose two best candidates
are nearer than 1e-5 of their log-likelihood are listed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import lm_eval_oracle as oracle
from against_lm_eval import Cost, spend

NEAR = 1e-5
TASK = """task: questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
output_type: multiple_choice
test_split: test
fewshot_split: test
doc_to_text: "{{{{query}}}}\\nAnswer:"
doc_to_target: gold
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0}}
"""
SUITE = """name: questions
version: 1
tasks:
  - {{task: lm-eval, tasks: [questions], include_path: task, num_fewshot: {shots}}}
"""
Values = Mapping[str, tuple[list[float], float, float]]  # log-likelihoods, acc, acc_norm


def prepare(folder: Path, data: Path, limit: int | None) -> None:
    lines = (data / "choice/arc_easy.jsonl").read_bytes().split(b"\n")[:limit]
    (folder / "questions.jsonl").write_bytes(b"\n".join(lines))
    (folder / "task").mkdir()
    file = TASK.format(file=folder / "questions.jsonl")
    (folder / "task/questions.yaml").write_text(file, encoding="utf-8")


def command(side: str, folder: Path, given: argparse.Namespace, run: tuple[int, int]) -> list[str]:
    """What is run. run: the number of examples, and of the round."""
    checkpoint = (given.checkpoint or given.data / "stories260K-hf").resolve()
    shots, number = run
    if side == "llmbench":
        suite = folder / f"suite{shots}.yaml"
        suite.write_text(SUITE.format(shots=shots), encoding="utf-8")
        out = str(folder / f"run{shots}-{number}")
        model = ["--model", f"hf:{checkpoint}", "--offline", "--device", "cpu"]
        return [*given.ours.split(), "run", str(suite), *model, "--out", out]
    model = f"pretrained={checkpoint},dtype=float32"
    return [
        *(str(given.oracle_python), "-m", "lm_eval", "--model", "hf", "--model_args", model),
        *("--tasks", "questions", "--include_path", str(folder / "task")),
        *("--num_fewshot", str(shots), "--batch_size", str(given.batch), "--device", "cpu"),
        *("--log_samples", "--output_path", str(folder / f"theirs{shots}-{number}")),
    ]


def read_ours(folder: Path) -> Values:
    (file,) = (folder / "samples").glob("*/questions.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {
        row["id"]: (
            [-bits * math.log(2) for bits in row["bits"]],
            row["statistics"]["accuracy"][0],
            row["statistics"]["accuracy:char"][0],
        )
        for row in rows
    }


def read_theirs(folder: Path) -> Values:
    (file,) = folder.rglob("samples_questions_*.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {
        str(row["doc_id"]): (
            [float(reply[0][0]) for reply in row["resps"]],
            row["acc"],
            row["acc_norm"],
        )
        for row in rows
    }


def compare(ours: Values, theirs: Values) -> None:
    """Print how far apart the two are, and the questions that a rounding could decide."""
    assert ours.keys() == theirs.keys()
    worst, other, near = 0.0, 0, []
    for id, (nats, *own) in ours.items():
        wanted, *values = theirs[id]
        worst = max(worst, *(abs(a - b) / abs(b) for a, b in zip(nats, wanted, strict=True)))
        other += own != values
        first, second, *_ = sorted(wanted, reverse=True)
        if abs(first - second) <= NEAR * abs(first):
            near.append(id)
    print(
        f"    {len(ours)} questions, {other} with another acc or acc_norm; log-likelihoods differ"
        f" by at most {worst:.1e}; near ties: {', '.join(near) or 'none'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--oracle-python", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="the first so many questions only")
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 5])
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of your own")
    parser.add_argument("--batch", type=int, default=8, help="lm-eval's")
    parser.add_argument(
        "--ours", default=f"{sys.executable} -m llmbench", help="llmbench's command"
    )
    parser.add_argument("--data", type=Path, default=oracle.DATA, help="the folder of shared data")
    given = parser.parse_args()
    sides = ("llmbench", "lm-eval")
    for shots in given.shots:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            prepare(folder, given.data.resolve(), given.limit)
            costs: dict[str, list[Cost]] = {side: [] for side in sides}
            for number in range(given.rounds + 1):  # the first fills caches of files and data sets
                for side in sides:
                    own = command(side, folder, given, (shots, number))
                    cost = spend(own, folder / f"{side}.out")
                    costs[side] += [cost] if number or not given.rounds else []
            print(f"{shots} examples")
            for side, some in costs.items():
                wall = statistics.median(cost.wall for cost in some)
                peak = statistics.median(cost.peak for cost in some)
                print(f"    {side:9} {wall:7.2f} s wall {peak / 2**20:8.0f} MiB")
            pairs = zip(costs["llmbench"], costs["lm-eval"], strict=True)
            ratio = statistics.median(a.wall / b.wall for a, b in pairs)
            print(f"    llmbench / lm-eval: wall {ratio:.2f} (median of pairs)")
            compare(read_ours(folder / f"run{shots}-0"), read_theirs(folder / f"theirs{shots}-0"))


if __name__ == "__main__":
    main()
