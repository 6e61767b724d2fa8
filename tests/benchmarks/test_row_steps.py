"""How much faster one row is written by the steps of models/steps than by the networks' own.

pytest tests/benchmarks/test_row_steps.py --benchmark-only -n 0 -s -m "slow or not slow"

The networks have the sizes of their cards, over 71 characters. Both ways are timed as the task
`speed` times them, with an answer that is fed, in turns in one process and thread.
"""

from __future__ import annotations

import statistics

import pytest
import torch

from llmbench.adapter import Request
from llmbench.adapters import network as adapter_module
from llmbench.adapters.bpe_network import made
from llmbench.adapters.network import NetworkAdapter
from llmbench.data.loading import load
from llmbench.models.networks.network import Network
from llmbench.models.steps.begin import begin_step
from llmbench.models.tokenizers.vocabulary import Vocabulary
from llmbench.plan import registry
from llmbench.tasks.performance.timeline import listen

ROUNDS, ANSWERS = 15, 5
LEAST = {"transformer-decoder": 1.5, "lstm": 1.5, "rnn": 1.3, "char-ffn": 1.2}


def clock(model, request):
    """Bytes a second of one answer: the median of some."""
    lines = [listen(model, [request])[0] for _ in range(ANSWERS)]
    return statistics.median(line.decode_bytes_per_second for line in lines)


@pytest.mark.parametrize("name", LEAST)
def test_a_row_alone_is_written_faster(benchmark, monkeypatch, name):
    """Median over rounds in turns of bytes a second by the step / by the network's own."""
    text = load("test", "fables", select={"part": "tales", "split": "test"}).documents[0].text
    vocabulary = Vocabulary.learn([text], "characters")
    network = made(registry.resolve(name).network, Network, vocabulary.symbols, seed=0)
    model = NetworkAdapter(network, vocabulary)
    request = Request(text[:256], forced_text=text[256:320])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def measure():
        found = []
        for _ in range(ROUNDS + 1):
            monkeypatch.setattr(adapter_module, "begin_step", begin_step)
            fast = clock(model, request)
            monkeypatch.setattr(adapter_module, "begin_step", lambda *_: None)
            found.append((fast, clock(model, request)))
        return found[1:]

    try:
        rates = benchmark.pedantic(measure, rounds=1)
    finally:
        torch.set_num_threads(threads)
    ratios = [fast / plain for fast, plain in rates]
    ratio = benchmark.extra_info["ratio"] = statistics.median(ratios)
    fast, plain = (statistics.median(side) for side in zip(*rates, strict=True))
    print(
        f"\n{name}: {plain:,.0f} -> {fast:,.0f} bytes/s, ratio {ratio:.2f} ({min(ratios):.2f} to"
        f" {max(ratios):.2f} in {ROUNDS} rounds)"
    )
    assert ratio >= LEAST[name]
