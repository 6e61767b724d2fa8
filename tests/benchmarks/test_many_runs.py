"""What one board from many runs costs: 200 made-up records of 20 models, with samples. Left out of
the ordinary tests:

pytest tests/benchmarks/test_many_runs.py --benchmark-only -n 0 -s
"""

from __future__ import annotations

import random
import time

import pytest
from support.hand_record import model, score, speed
from support.many_runs_by_hand import SIZE, bits, quality, run, sample

from llmbench.leaderboard.merge.merge import merge

RUNS, MODELS, TASKS, ITEMS, SECONDS = 200, 20, 2, 60, 10.0
BESIDE = (
    "byte_perplexity",
    "word_perplexity",
    "token_perplexity",
    "spelling_share",
    "unknown_share",
)
RATES = (
    "decode_bytes_per_second",
    "decode_tokens_per_second",
    "time_to_first_token",
    "end_to_end_latency",
)


def made(folder, number, distinct):
    """One run, in which one of the models is missing. `distinct`: with weights that no other run
    has.
    """
    names = [f"model {n}" for n in range(MODELS) if n != number % MODELS]
    scores = []
    for task in range(TASKS):
        for name in names:
            found = bits(
                1
                + int(name.split()[1]) / 20
                + task
                + (random.Random(number).random() if distinct else 0),
                ITEMS,
            )
            sample(folder, name, found, f"text {task}", output="something that was said " * 10)
            scores.append(
                quality(
                    name,
                    found,
                    task=f"text {task}",
                    signature=f"text={task};protocol=likelihood/1;limit=none",
                )
            )
            scores += [score(name, metric, 1.0, task=f"text {task}") for metric in BESIDE]
    for name in names:
        scores += [speed(name, metric, 1000.0, 9.0, batch=1) for metric in RATES]
        scores += [
            score(
                name, "peak_ram", SIZE, task="memory", unit="bytes", signature="protocol=memory/1"
            )
        ]
    rows = [
        model(name, 1, fingerprint=f"{name[6:]}-{number if distinct else ''}") for name in names
    ]
    return run(
        folder, rows, scores, finished=f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}+00:00"
    )


@pytest.mark.benchmark(
    timer=time.process_time
)  # one thread works: what else the machine does is left out
@pytest.mark.parametrize(
    "distinct", [False, True], ids=["the same models in all", "other weights in each"]
)
def test_two_hundred_runs_of_twenty_models_are_one_board_in_ten_seconds(
    benchmark, tmp_path, distinct
):
    runs = [made(tmp_path / str(number), number, distinct) for number in range(RUNS)]
    board, warnings = benchmark.pedantic(merge, (runs,), rounds=2)
    best = benchmark.stats.stats.min
    print(f"{RUNS} runs of {MODELS - 1} models: {best:.2f} s of a processor")
    assert warnings == []
    assert {len(table.lines) for table in board.tables} == {
        RUNS * (MODELS - 1) if distinct else MODELS
    }
    ranked = {
        line.cells["rank"].text != "-" for table in board.tables[:TASKS] for line in table.lines
    }
    assert ranked == {not distinct}
    assert best < SECONDS
