"""What the same likelihood costs through llmbench and through lm-eval: whole processes, run in
turns, medians of the rounds, as ratios.

python tests/benchmarks/against_lm_eval.py --oracle-python ORACLE/bin/python [--work NAME]...
[--rounds N] [--checkpoint FOLDER]
python tests/benchmarks/against_lm_eval.py --bare

The first measures wall time, CPU time and peak memory against lm-eval's command line and against
`lean`, its evaluator called without its index of tasks (see lm_eval_oracle.py), and checks that all
report the same bits. ORACLE is an environment that has `lm-eval[hf]`. FOLDER is a checkpoint of a
few hundred million parameters, for the works `short` (the four shortest articles of WikiText),
`long` (the fifth longest) and `articles` (the twenty shortest). The second measures scoring against
the bare forward passes over the same windows, in one process.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lm_eval_oracle as oracle

SIDES = ("llmbench", "lm-eval", "lean")


@dataclass(frozen=True)
class Work:
    """A checkpoint, documents, and the batch size at which lm-eval is at its best on two cores, of
    1, 4 and 8.
    """

    checkpoint: Callable[[Path, Path], Path]  # (folder to make it in, shared data) -> its folder
    documents: Callable[[Path], Sequence[oracle.Cut]]
    batch: int


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time and of CPU, bytes of the largest process."""

    wall: float
    cpu: float
    peak: float


def _gpt2_5m(folder: Path, data: Path) -> Path:
    from support import checkpoints

    return checkpoints.gpt2_5m(folder, (data / "wikitext2-valid/valid.txt").read_bytes().decode())


def _real_vocabulary(folder: Path, data: Path) -> Path:
    from support import checkpoints

    return checkpoints.gpt2_shape(
        folder, data / "gpt2-tokenizer", context=1024, layers=4, width=256, heads=4, spread=0.08
    )


WORKS = {
    "gpt2-5m": Work(_gpt2_5m, lambda data: oracle.articles(data)[:15], batch=1),
    "stories260K": Work(lambda folder, data: data / "stories260K-hf", oracle.tales, batch=8),
    "real-vocabulary": Work(
        _real_vocabulary, lambda data: oracle.articles(data)[-12:], batch=4
    ),  # at 4, as in ordinary use
}
GIVEN = {  # articles, longest first
    "short": slice(-4, None),
    "long": slice(4, 5),
    "articles": slice(-20, None),
}


def add_given(checkpoint: Path) -> None:
    """Add the works for a checkpoint of the user's own."""
    for name, which in GIVEN.items():
        WORKS[name] = Work(
            lambda folder, data: checkpoint,
            lambda data, which=which: oracle.articles(data)[which],  # type: ignore[misc]
            batch=1,
        )


def prepare(name: str, folder: Path, data: Path) -> None:
    """Make the checkpoint, the documents and lm-eval's task. Needs torch: `measure` runs it as a
    child.
    """
    sys.path.insert(0, str(oracle.TESTS))
    work = WORKS[name]
    made = work.checkpoint(folder / "made", data)
    (folder / "checkpoint").symlink_to(made.resolve(), target_is_directory=True)
    oracle.write_jsonl(
        folder / "docs.jsonl",
        ((f"{cut.file}:{cut.start}-{cut.end}", cut.text(data)) for cut in work.documents(data)),
    )
    oracle.write_task(folder / "docs.jsonl", folder / "task")


def command(side: str, folder: Path, batch: int, ours: str, python: Path) -> list[str]:
    checkpoint, documents, task = folder / "checkpoint", folder / "docs.jsonl", folder / "task"
    if side == "llmbench":
        return [
            *ours.split(),
            "score",
            f"hf:{checkpoint}",
            str(documents),
            "--window",
            "rolling",
            "--json",
        ]
    if side == "lm-eval":
        return oracle.command_line(python, checkpoint, task, batch, folder / "results")
    return [str(python), oracle.__file__, "lean", str(checkpoint), str(task), "--batch", str(batch)]


def spend(command: list[str], out: Path, threads: int | None = None) -> Cost:
    """Run a command to its end. What it waited for counts; so does, in the peak, the image of this
    process, which is why it stays small.
    """
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(out.parent / "huggingface"),
    }
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    errors = out.with_suffix(".err")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, number, str(path), flags, 0o644)
        for number, path in ((1, out), (2, errors))
    ]
    begun = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)}\n{errors.read_text(encoding='utf-8')[-3000:]}")
    return Cost(
        wall,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def bits_per_byte(side: str, folder: Path) -> float:
    """What the side reported, in full digits."""
    if side == "lm-eval":
        latest = max(
            (folder / "results").rglob("results_*.json"), key=lambda path: path.stat().st_mtime
        )
        return json.loads(latest.read_bytes())["results"][oracle.TASK]["bits_per_byte,none"]
    last = (folder / f"{side}.out").read_text(encoding="utf-8").strip().split("\n")[-1]
    return json.loads(last)["bits_per_byte"]


def measure(name: str, given: argparse.Namespace) -> None:
    """Rounds of one work; the first is not counted: it fills the caches of files and of lm-eval's
    data sets.
    """
    sides = [side for side in SIDES if side in given.sides]
    batch = given.batch or WORKS[name].batch
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        quiet = {"stderr": subprocess.DEVNULL, "check": True}
        subprocess.run(
            [sys.executable, __file__, "--prepare", name, scratch, "--data", str(given.data)]
            + (["--checkpoint", str(given.checkpoint)] if given.checkpoint else []),
            **quiet,
        )
        costs: dict[str, list[Cost]] = {side: [] for side in sides}
        for number in range(given.rounds + 1):
            for side in sides:
                cost = spend(
                    command(side, folder, batch, given.ours, given.oracle_python),
                    folder / f"{side}.out",
                    given.threads,
                )
                if number:
                    costs[side].append(cost)
        said = {side: bits_per_byte(side, folder) for side in sides}
    print(
        f"\n{name}: medians of {given.rounds}, lm-eval at batch {batch},"
        f" {given.threads or os.cpu_count()} threads"
    )
    for side in sides:
        wall, cpu, peak = (
            statistics.median(getattr(cost, field) for cost in costs[side])
            for field in ("wall", "cpu", "peak")
        )
        print(
            f"  {side:9} {wall:7.2f} s wall {cpu:8.2f} s CPU {peak / 2**20:8.0f} MiB  "
            f" {said[side]:.9f} bits/byte"
        )
    for other in sides[1:] if sides[0] == "llmbench" else []:
        ratios = [
            statistics.median(getattr(a, field) for a in costs["llmbench"])
            / statistics.median(getattr(b, field) for b in costs[other])
            for field in ("wall", "cpu", "peak")
        ]
        print(
            f"  llmbench / {other}: "
            + ", ".join(
                f"{what} {ratio:.2f}"
                for what, ratio in zip(("wall", "CPU", "peak"), ratios, strict=True)
            )
        )
    apart = max(said.values()) / min(said.values()) - 1
    if apart > (1e-5 if name in GIVEN else 1e-6):  # lm-eval's sums are of float32
        raise SystemExit(f"{name}: the sides do not report the same bits: {said}")
    print(f"  bits agree to {apart:.0e}", flush=True)


def bare(name: str, data: Path, pairs: int) -> None:
    """Scoring / bare forward passes (body, head and log-softmax) over the same windows, in pairs
    run in turns: should be at most 1.10.
    """
    sys.path.insert(0, str(oracle.TESTS))
    from transformers import AutoModelForCausalLM

    from llmbench.adapter import BuildContext, Passage, Window
    from llmbench.plan.resolved_model import make_adapter, resolve_model

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = WORKS[name].checkpoint(Path(scratch), data)
        adapter = make_adapter(resolve_model(f"hf:{checkpoint}"), BuildContext())
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float32").eval()
    passages = [
        Passage(cut.text(data), id=str(cut.start)) for cut in WORKS[name].documents(data)[-8:]
    ]
    print(f"\n{name}: scoring / bare passes over the same windows, medians of {pairs} pairs")
    for size, how in ((1, "one at a time"), (None, "in the same batches")):
        loop = _plain_loop(model, _batches(adapter, passages, size))
        ratios = []
        for number in range(pairs + 1):
            ratio = _clock(lambda: list(adapter.score(passages, Window("rolling")))) / _clock(loop)
            ratios += [ratio] if number else []
        print(
            f"  windows {how}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to"
            f" {max(ratios):.3f})",
            flush=True,
        )


def _batches(adapter, passages, size):
    """The windows of the passages as padded ids, longest first, `size` at a time or as many as the
    scorer takes.
    """
    import torch

    from llmbench.inference import windows
    from llmbench.inference.batching import _budget
    from llmbench.inference.text.lines import encode_lines

    lines = encode_lines(adapter, passages)
    context = adapter.context
    jobs = [
        (line, piece)
        for line in lines
        for piece in windows.windows(len(line.ids), line.first, context, context)
    ]
    jobs.sort(key=lambda job: job[1].a - job[1].b)
    batches, width = [], 0  # the scorer learns how wide the rows are from its first pass
    while jobs:
        longest = jobs[0][1].b - jobs[0][1].a
        count = size or max(1, _budget(adapter, width) // longest)
        width = adapter.hidden(torch.tensor([adapter.bos_ids])).shape[-1]
        ids = torch.zeros(len(jobs[:count]), longest, dtype=torch.long)
        for row, (line, piece) in enumerate(jobs[:count]):
            ids[row, : piece.b - piece.a] = torch.from_numpy(line.ids[piece.a : piece.b])
        batches.append(ids)
        jobs = jobs[count:]
    return batches


def _plain_loop(model, batches):
    import torch

    def run():
        with torch.inference_mode():
            for ids in batches:
                torch.log_softmax(model(ids, use_cache=False).logits, dim=-1)

    return run


def _clock(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--oracle-python", type=Path, help="the Python of an environment that has lm-eval"
    )
    parser.add_argument(
        "--work",
        action="append",
        choices=[*WORKS, *GIVEN],
        help="only this one; may be repeated",
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="a checkpoint of your own, for the works that name one"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=9, help="of --bare")
    parser.add_argument(
        "--batch", type=int, help="lm-eval's batch size (default: its best for each work)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        help=(
            "of torch (default: all cores); 1 where others keep the machine busy, and then read CPU"
            " time only"
        ),
    )
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument(
        "--ours", default=f"{sys.executable} -m llmbench.cli.main", help="how llmbench is called"
    )
    parser.add_argument("--data", type=Path, default=oracle.DATA, help="the folder of shared data")
    parser.add_argument(
        "--bare", action="store_true", help="against the bare forward passes instead"
    )
    parser.add_argument("--prepare", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.checkpoint:
        add_given(given.checkpoint.resolve())
    elif set(GIVEN) & set(given.work or ()):
        parser.error("--checkpoint is needed for `short` and `long`")
    if given.prepare:
        prepare(given.prepare[0], Path(given.prepare[1]), given.data)
        return
    if not given.bare and given.oracle_python is None and set(given.sides) != {"llmbench"}:
        parser.error("--oracle-python is needed")
    for name in given.work or WORKS:
        if given.bare:
            bare(name, given.data, given.pairs)
        else:
            measure(name, given)


if __name__ == "__main__":
    main()
