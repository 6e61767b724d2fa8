"""Whether the measured rate of a checkpoint is the one that a user's own loop has, in another
process, at the same time.

pytest tests/benchmarks/test_speed_agrees.py --benchmark-only -n 0 -m "slow or not slow" -s
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

PAIRS = 41
LOOP = """
import json, sys, time, torch, transformers
folder, ids, count = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
for line in sys.stdin:
    took = []
    with torch.inference_mode():
        for _ in range(int(line)):
            out = model(torch.tensor([ids]), use_cache=True)
            begun = time.perf_counter()
            for _ in range(count - 1):
                last = out.logits[:, -1:].argmax(-1)
                out = model(last, past_key_values=out.past_key_values, use_cache=True)
                out.logits.argmax(-1).item()
            took.append((time.perf_counter() - begun) / (count - 1))
    print(json.dumps(sorted(took)[len(took) // 2]), flush=True)
"""
OURS = """
import gc, json, sys
from llmbench.adapter import BuildContext, Request
from llmbench.hardware import machine
from llmbench.plan.resolved_model import make_adapter, resolve_model
from llmbench.tasks.performance.timeline import listen
machine.keep_freed_memory()  # as the worker that is timed does
adapter = make_adapter(resolve_model("hf:" + sys.argv[1]), BuildContext())
gc.collect()
gc.freeze()
prompt, answer = json.loads(sys.argv[2])
for line in sys.stdin:
    lines = [listen(adapter, [Request(prompt, forced_text=answer)])[0] for _ in range(int(line))]
    took = [answered.time_per_output_token for answered in lines]
    print(json.dumps(sorted(took)[len(took) // 2]), flush=True)
"""


def started(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def asked(child, repeats):
    child.stdin.write(f"{repeats}\n")
    child.stdin.flush()
    return float(json.loads(child.stdout.readline()))


@pytest.mark.slow
def test_the_rate_of_a_checkpoint_is_that_of_ten_lines_of_its_own(benchmark):
    folder = Path(__file__).parents[3] / "shared" / "data" / "stories260K-hf"
    if not folder.is_dir():
        pytest.skip(f"the checkpoint is not here: {folder}")
    from llmbench.adapter import BuildContext
    from llmbench.plan.resolved_model import make_adapter, resolve_model

    adapter = make_adapter(resolve_model(f"hf:{folder}"), BuildContext())
    text = (
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the"
        " park. One day, she saw a big, red ball. " * 3
    )
    prompt, answer = text[:200], text[200:300]
    ids = [*adapter.bos_ids, *adapter.encode(prompt).ids.tolist()]
    count = len(adapter.encode(answer).ids)
    ours, theirs = (
        started(OURS, str(folder), json.dumps([prompt, answer])),
        started(LOOP, str(folder), json.dumps(ids), str(count)),
    )
    for child in (ours, theirs):
        asked(child, 10)
    ratios = []

    def pairs():
        for number in range(PAIRS):
            order = (ours, theirs) if number % 2 else (theirs, ours)
            took = {id(child): asked(child, 2) for child in order}
            ratios.append(took[id(ours)] / took[id(theirs)])

    benchmark.pedantic(pairs, rounds=1)
    for child in (ours, theirs):
        child.kill()
    benchmark.extra_info["ratios"] = ratios
    print(
        f"\nmeasured / own loop, seconds a token: median {statistics.median(ratios):.3f},"
        f" {min(ratios):.3f} to {max(ratios):.3f}"
    )
