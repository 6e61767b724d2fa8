"""The bits of a checkpoint beside transformers' own model in float64, one pass a document.

python tests/benchmarks/against_float64.py FOLDER [--documents N]

The documents are the N shortest articles of WikiText-2's validation part (3).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import lm_eval_oracle as oracle
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmbench.adapter import BuildContext, Passage, Window
from llmbench.plan.resolved_model import make_adapter, resolve_model


def measure_exactly(checkpoint: Path, texts: list[str]) -> list[tuple[int, float]]:
    """Tokens of each text, and its nats after the start symbol."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="float64").eval()
    found = []
    for text in texts:
        ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
        with torch.inference_mode():
            logs = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1], dim=-1)
        found.append((len(ids) - 1, -float(logs.gather(1, torch.tensor(ids[1:])[:, None]).sum())))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--documents", type=int, default=3)
    parser.add_argument("--data", type=Path, default=oracle.DATA, help="the folder of shared data")
    given = parser.parse_args()
    texts = [cut.text(given.data) for cut in oracle.articles(given.data)[-given.documents :]]
    right = measure_exactly(given.checkpoint, texts)
    adapter = make_adapter(resolve_model(f"hf:{given.checkpoint}"), BuildContext())
    passages = [Passage(text, id=str(number)) for number, text in enumerate(texts)]
    for (tokens, nats), ledger in zip(
        right, adapter.score(passages, Window("rolling")), strict=True
    ):
        ours = ledger.total() * math.log(2)
        print(
            f"{tokens:6} tokens: {nats:.6f} nats in float64, llmbench {ours:.6f},"
            f" {abs(ours / nats - 1):.0e} apart",
            flush=True,
        )


if __name__ == "__main__":
    main()
