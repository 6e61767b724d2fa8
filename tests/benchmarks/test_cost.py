"""What the harness costs, as ratios measured in one run. Left out of the ordinary tests:

pytest tests/benchmarks --benchmark-only -n 0 -m "slow or not slow"
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

import pytest
import torch
from torch.nn import functional as F

from llmbench.adapter import Passage, Window
from llmbench.adapters.network import NetworkAdapter
from llmbench.data.loading import load
from llmbench.inference import batching as batches
from llmbench.inference import stateful, windows
from llmbench.inference.text.lines import encode_lines
from llmbench.models.networks.recurrent import LSTM
from llmbench.models.networks.transformer_decoder import TransformerDecoder
from llmbench.models.tokenizers.vocabulary import Vocabulary

PAIRS = 9


def _model(kind):
    text = load("test", "fables", select={"part": "tales", "split": "test"})
    vocabulary = Vocabulary.learn([d.text for d in text.documents], "characters")
    torch.manual_seed(0)
    made = {
        "lstm": lambda n: LSTM(n, width=384),
        "transformer": lambda n: TransformerDecoder(n, window=128, width=128, layers=4),
    }[kind]
    return NetworkAdapter(made(vocabulary.symbols), vocabulary), [
        Passage(d.text, id=d.id) for d in text.documents
    ]


def _bare_windows(model, passages):
    """The same windows in the same batches, through the bare network: what any scorer must pay.
    Built beforehand.
    """
    lines = encode_lines(model, passages)
    jobs = [
        (line, p)
        for line in lines
        for p in windows.windows(
            len(line.ids), line.first, model.context, Window().stride(model.context)
        )
    ]
    jobs.sort(key=lambda job: job[1].a - job[1].b)
    batches, width = [], 0  # the scorer learns how wide the rows are from its first pass
    while jobs:
        size = max(1, batches._budget(model, width) // (jobs[0][1].b - jobs[0][1].a))
        batch, jobs, width = (
            jobs[:size],
            jobs[size:],
            model.hidden(torch.tensor([model.bos_ids])).shape[-1],
        )
        longest = max(p.b - p.a for _, p in batch)
        ids = torch.full((len(batch), longest), model.bos_ids[0])
        for row, (line, p) in enumerate(batch):
            ids[row, : p.b - p.a] = torch.from_numpy(line.ids[p.a : p.b])
        batches.append(ids)

    def run():
        with torch.inference_mode():
            for ids in batches:
                F.log_softmax(model.network(ids), dim=-1)

    return run


def _bare_carried(model, passages):
    lines = sorted(encode_lines(model, passages), key=lambda line: -len(line.ids))
    longest = len(lines[0].ids) - 1
    ids = torch.full((len(lines), longest), model.bos_ids[0])
    for row, line in enumerate(lines):
        ids[row, : len(line.ids) - 1] = torch.from_numpy(line.ids[:-1])
    step = max(stateful.LEAST_PIECE, batches.TOKEN_BUDGET // len(lines))

    def run():
        state = None
        with torch.inference_mode():
            for piece in ids.split(step, dim=1):
                rows, state = model.network.hidden(piece, state)
                F.log_softmax(model.network.head(rows), dim=-1)

    return run


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_scoring_against_the_bare_forward_passes(benchmark, kind):
    """Median over interleaved pairs of scoring / bare forward passes over the same windows: at most
    1.10.
    """
    model, passages = _model(kind)
    bare = (_bare_windows if model.context else _bare_carried)(model, passages)

    def clock(work):
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    def pair():
        return clock(lambda: list(model.score(passages))) / clock(bare)

    pair()  # warm-up
    ratios = benchmark.pedantic(lambda: [pair() for _ in range(PAIRS)], rounds=1)
    ratio = statistics.median(ratios)
    benchmark.extra_info["ratio"] = ratio
    print(
        f"\n{kind}: scoring / bare = {ratio:.3f} (median of {PAIRS} pairs, {min(ratios):.3f} to"
        f" {max(ratios):.3f})"
    )
    assert ratio <= 1.10


def test_cpu_seconds_of_help(benchmark):
    """User and system time of `llmbench --help`, the median of five runs: under 0.2 s."""

    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "llmbench.cli.main", "--help"], check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    once()
    seconds = statistics.median(benchmark.pedantic(lambda: [once() for _ in range(5)], rounds=1))
    benchmark.extra_info["seconds"] = seconds
    print(f"\nllmbench --help: {seconds:.3f} s of CPU (median of 5)")
    assert seconds < 0.2
