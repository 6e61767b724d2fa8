"""CORE's three kinds of questions by nanochat's protocol, written anew in a few lines: one question
at a time, plain forward passes, whole token sequences.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

Row = dict[str, Any]


def _shared(lines: Sequence[Sequence[int]]) -> int:
    """How many tokens all lines begin with."""
    count = 0
    while all(len(line) > count for line in lines) and len({line[count] for line in lines}) == 1:
        count += 1
    return count


class Reference:
    """A checkpoint of transformers, asked as nanochat's base_eval.py asks."""

    def __init__(self, model: Any, tokenizer: Any):
        self.model, self.tokenizer = model.eval(), tokenizer

    def encode(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return [self.tokenizer.bos_token_id, *ids]

    def read(self, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """For each place the loss of the token there, and which one would be written there."""
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0].double()
        losses = -logits.log_softmax(-1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        return torch.cat([torch.tensor([float("nan")]), losses]), logits.argmax(-1)

    def list_prompts(self, row: Row, before: Sequence[Row], join: str) -> list[str]:
        """All prompts with their candidates; of a continuation the prompt alone, and the whole."""

        def show(one: Row) -> str:
            if "choices" in one:
                return f"{one['query']}{join}{one['choices'][one['gold']]}"
            if "context_options" in one:
                return f"{one['context_options'][one['gold']]}{join}{one['continuation']}"
            return f"{one['context'].strip()}{join}{one['continuation']}"

        head = "".join(f"{show(one)}\n\n" for one in before)
        if "choices" in row:
            return [f"{head}{row['query']}{join}{choice}" for choice in row["choices"]]
        if "context_options" in row:
            end = f"{join}{row['continuation']}"
            return [f"{head}{context}{end}" for context in row["context_options"]]
        asked = f"{head}{row['context'].strip()}{join}"
        return [asked.strip(), asked + row["continuation"]]

    def judge(self, row: Row, before: Sequence[Row], join: str) -> bool:
        lines = [self.encode(prompt) for prompt in self.list_prompts(row, before, join)]
        if "context" in row:
            bare, whole = lines
            assert whole[: len(bare)] == bare
            _, likeliest = self.read(whole)
            return likeliest[len(bare) - 1 : -1].tolist() == whole[len(bare) :]
        if "choices" in row:
            starts = [_shared(lines)] * len(lines)
        else:
            end = _shared([line[::-1] for line in lines])
            starts = [len(line) - end for line in lines]
        costs = [
            self.read(line)[0][start:].mean().item()
            for line, start in zip(lines, starts, strict=True)
        ]
        return costs.index(min(costs)) == row["gold"]

    def list_examples(self, rows: Sequence[Row], shots: int) -> list[list[Row]]:
        """The examples before each row, by its place in the shuffled rows."""
        order = list(range(len(rows)))
        random.Random(1337).shuffle(order)
        found: dict[int, list[Row]] = {}
        for place, number in enumerate(order):
            others = [at for at in range(len(rows)) if at != place]
            drawn = random.Random(1234 + place).sample(others, shots)
            found[number] = [rows[order[at]] for at in drawn]
        return [found[number] for number in range(len(rows))]

    def run(self, rows: Sequence[Row], shots: int, join: str = " ") -> list[bool]:
        """Whether each row is answered rightly, in the order of the rows."""
        examples = self.list_examples(rows, shots)
        return [self.judge(row, before, join) for row, before in zip(rows, examples, strict=True)]
