"""The bits of a checkpoint beside transformers' own model in float64, one pass a document.

python tests/benchmarks/against_float64.py FOLDER [--documents N] [--questions N]

The documents are the N shortest articles of WikiText-2's validation part (3). With questions: also
the log-likelihoods of the candidates of every tenth ARC-Easy question, N of them (0), by llmbench
and by transformers' float32 and its log-softmax, which is what lm-eval takes.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

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


def measure_candidates(checkpoint: Path, rows: list[dict[str, Any]]) -> None:
    """Print the largest relative errors of log-likelihoods, beside float64."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    models = [
        AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype).eval()
        for dtype in ("float64", "float32")
    ]
    passages = [
        Passage(f" {choice}", f"{row['query']}\nAnswer:", f"{row['query']} {number}", add_bos=False)
        for row in rows
        for number, choice in enumerate(row["choices"])
    ]
    adapter = make_adapter(resolve_model(f"hf:{checkpoint}"), BuildContext())
    ledgers = adapter.score(passages, Window("rolling"))
    errors = {"llmbench": 0.0, "transformers in float32": 0.0}
    for passage, ledger in zip(passages, ledgers, strict=True):
        ids = tokenizer.encode(passage.context + passage.text)
        begin = len(tokenizer.encode(passage.context))
        exact, plain = (
            float(
                torch.log_softmax(model(torch.tensor([ids])).logits[0, begin - 1 : -1], dim=-1)
                .gather(1, torch.tensor(ids[begin:])[:, None])
                .sum()
            )
            for model in models
        )
        for name, value in zip(errors, (-ledger.total() * math.log(2), plain), strict=True):
            errors[name] = max(errors[name], abs(value / exact - 1))
    for name, error in errors.items():
        print(f"{len(passages):6} candidates: {name} at most {error:.1e} from float64", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--documents", type=int, default=3)
    parser.add_argument("--questions", type=int, default=0)
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
    if given.questions:
        lines = (given.data / "choice" / "arc_easy.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines[::10][: given.questions]]
        with torch.inference_mode():
            measure_candidates(given.checkpoint, rows)


if __name__ == "__main__":
    main()
