"""A suite of five kinds of task and models that are drawn, not trained: under a minute of one core.

Cells of two of the models are cut into shards of a second or two. A network's float rounding
depends on what is computed beside a text, so a shard that was cut otherwise would show.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from support import small_checkpoints

SUITE = """\
name: drawn
version: 1
texts:
  test: {source: test.jsonl}
  pairs: {source: pairs.jsonl, fields: {text: answer, given: question}}
  questions: {source: questions.jsonl}
tasks:
  - {task: likelihood, text: test}
  - {task: conditional, text: pairs}
  - {task: multiple-choice, text: questions}
  - {task: last-word, text: test}
  - {task: continuation, prompts: PROMPTS, max_bytes: 40, temperature: 0.8}
models: [drawn_models.py:Wide, drawn_models.py:Deep, "hf:drawn-gpt2", zlib]
"""

MODELS = '''\
import torch
from llmbench.adapters.token import TokenAdapter, Tokens


class Wide(TokenAdapter):
    """Bytes, through a recurrent network that is drawn. It is kept where nobody counts its
    parameters: a shard of an unknown number has 64 KiB.
    """

    context = 128
    bos_ids, eos_ids = (256,), (256,)
    seed, width, layers = 1, WIDTH, 1

    def __init__(self):
        torch.manual_seed(self.seed)
        table = torch.nn.Embedding(257, self.width)
        body = torch.nn.GRU(self.width, self.width, self.layers, batch_first=True)
        self.parts = table, body, torch.nn.Linear(self.width, 257)

    def encode(self, text):
        data = text.encode()
        return Tokens.of(list(data), [bytes([b]) for b in data])

    def decode(self, ids):
        return bytes(i for i in ids if i < 256)

    def logits(self, ids):
        table, body, top = self.parts
        return 4 * top(body(table(ids))[0])


class Deep(Wide):
    seed, width, layers = 2, WIDTH // 2, 2
'''

WORDS = ("the", "tap", "dripped", "and", "every", "kettle", "counted", "its", "spoons", "again")


def write(place: Path, documents: int = 260, width: int = 64) -> Path:
    """Write the suite `drawn.yaml` with its texts and models into a folder; return the suite."""
    draw = random.Random(7)
    say = lambda count: " ".join(draw.choices(WORDS, k=count))  # noqa: E731
    prompts = [say(6) for _ in range(12)]
    (place / "drawn.yaml").write_text(SUITE.replace("PROMPTS", json.dumps(prompts)))
    (place / "drawn_models.py").write_text(MODELS.replace("WIDTH", str(width)))
    small_checkpoints.gpt2(place / "drawn-gpt2", context=128, width=64)
    rows = {
        "test": [{"id": f"d{n}", "text": say(draw.randint(60, 240))} for n in range(documents)],
        "pairs": [
            {"id": f"p{n}", "question": say(20), "answer": say(12)} for n in range(documents * 2)
        ],
        "questions": [
            {"id": f"q{n}", "given": say(20), "choices": [say(3) for _ in range(4)], "gold": n % 4}
            for n in range(documents * 2)
        ],
    }
    for name, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (place / f"{name}.jsonl").write_text(text)
    return place / "drawn.yaml"
