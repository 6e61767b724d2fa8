"""Times under load against what the server itself wrote down: no quantile is off by more than 2 %
or 1 ms. The server runs in a process of its own; both read one clock.
"""

from __future__ import annotations

import multiprocessing
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support.paced_server import PacedServer

from llmbench.adapter import Request
from llmbench.inference.serving.load import Level, Load
from llmbench.tasks.performance.serving.answers import check_sends, derive
from llmbench.tasks.performance.serving.schedule import draw_due

QUANTILES = (0.5, 0.9, 0.95, 0.99)
TOKENS = 16
BUSY = 0.0015  # seconds (p99) by which timers of 1 ms are late only if others take the processor


def serve(pipe):
    """Serve until told to stop; then tell when each token of each prompt was written."""
    with PacedServer(first=0.02, step=0.005) as server:
        pipe.send(server.url)
        pipe.recv()
    pipe.send({one.prompt: one.written for one in server.served})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="perf_counter is one clock of all processes")
@pytest.mark.parametrize(
    ("level", "count"),
    [
        (Level("closed", 1), 100),
        (Level("closed", 8), 400),
        (Level("closed", 64), 1000),
        (Level("poisson", 50), 500),
    ],
    ids=lambda value: getattr(value, "key", str(value)),
)
def test_quantiles_under_load_are_those_of_the_server(connect, level, count):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there,), daemon=True)
    process.start()
    adapter = connect(SimpleNamespace(url=here.recv()))
    due = draw_due(level, count, 1)
    requests = [Request(f"{number:06d} kettle", max_tokens=TOKENS) for number in range(count)]
    load = Load(requests, due, 1 if level.is_open else int(level.amount), 120.0)
    run = adapter.run_load(load, lambda ended: None)
    found, lag = run.exchanges, float(np.quantile(run.cost.lags, 0.99))
    here.send("stop")
    written = here.recv()
    process.join(20)
    assert check_sends(found, due).refusal == ""
    assert [one.error for one in found] == [""] * count
    said = [derive(one, level, TOKENS) for one in found]
    seen = {
        "first": [answer.first for answer in said],
        "per_token": [answer.per_token for answer in said],
        "latency": [answer.latency for answer in said],
    }
    truth = {"first": [], "per_token": [], "latency": []}
    for request, one in zip(requests, found, strict=True):
        times = [at / 1e9 for at in written[request.prompt]]
        asked = (one.scheduled if level.is_open else one.started) / 1e9
        truth["first"].append(times[0] - asked)
        truth["per_token"].append((times[-1] - times[0]) / (TOKENS - 1))
        truth["latency"].append(times[-1] - asked)
    for name, values in seen.items():
        mine, own = np.quantile(values, QUANTILES), np.quantile(truth[name], QUANTILES)
        is_near = (np.abs(mine - own) <= np.maximum(0.001, 0.02 * own)).all()
        if not is_near and lag > BUSY:
            pytest.skip(
                f"this machine is busy: the client's event loop was {1e3 * lag:.1f} ms late"
            )
        assert is_near, (name, mine, own, lag)
