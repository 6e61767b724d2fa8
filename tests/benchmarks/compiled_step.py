"""How much faster a checkpoint writes by its compiled step, in turns with the plain one.

    python tests/benchmarks/compiled_step.py smollm2-135m --threads 2
    python tests/benchmarks/compiled_step.py "smollm2-135m?quantize=int8" --threads 2
    python tests/benchmarks/compiled_step.py "smollm2-135m?dtype=bfloat16" --threads 2

Both are in one process and write the same tokens, greedily, round after round; the ratio is the
median over rounds. With --cpu it is of processor time, for one thread of a busy machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

PROMPT = "The history of the lighthouse begins in the year"


def main() -> int:
    """Print the rates, their ratio, and whether the tokens are equal; 1 if they are not."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("spec")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu", action="store_true")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    import torch

    from llmbench.adapter import BuildContext
    from llmbench.cli.options import extend_spec
    from llmbench.plan.resolved_model import make_adapter, resolve_model

    torch.set_num_threads(chosen.threads)
    clock = time.process_time if chosen.cpu else time.perf_counter
    specs = (chosen.spec, extend_spec(chosen.spec, compile=True))
    models = [make_adapter(resolve_model(spec), BuildContext()) for spec in specs]
    print(f"compiled in {models[1].compile_ahead(1):.1f} s; load {os.getloadavg()[0]:.1f}")
    ids = torch.tensor([[*models[0].bos_ids, *models[0].encode(PROMPT).ids.tolist()]])
    took: list[list[float]] = [[], []]
    said: list[list[int]] = [[], []]
    for number in range(chosen.rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            with torch.inference_mode():
                state, logits = models[which].prefill(ids)
                said[which], seconds = [], []
                for _ in range(chosen.tokens):
                    token = logits.argmax(-1)
                    said[which].append(int(token))
                    begun = clock()
                    state, logits = models[which].step(state, token)
                    seconds.append(clock() - begun)
            if number:  # the first round warms up
                took[which].append(statistics.median(seconds))
    ratios = [plain / fast for plain, fast in zip(*took, strict=True)]
    rates = [1 / statistics.median(times) for times in took]
    print(f"tokens/s: {rates[0]:.2f} plain, {rates[1]:.2f} compiled")
    print(
        f"ratio: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f} in"
        f" {len(ratios)} rounds; load {os.getloadavg()[0]:.1f}"
    )
    print(f"equal tokens: {said[0] == said[1]}")
    return 0 if said[0] == said[1] else 1


if __name__ == "__main__":
    sys.exit(main())
