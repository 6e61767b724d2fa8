"""Rows in the three layouts of llm-foundry's files, with what is awkward about tokens in them: all
candidates begin alike, one is the beginning of another, contexts end alike, white space at the end.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

NAMES = ["Ann", "Joann", "Bea", "the tap", "the new tap", "the kettle", "a kettle"]
WORDS = [
    "the",
    "kettle",
    "tap",
    "said",
    "nothing",
    "hum",
    "Tuesday",
    "unbelievable",
    "7",
    "o'clock",
]


def make_words(rng: random.Random, least: int = 1, most: int = 5) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))


def make_choice(rng: random.Random, at: int) -> dict[str, object]:
    """A question with candidates: texts, letters, texts that begin alike, or one within another."""
    choices: list[str] = []
    while len(set(choices)) < 3:
        choices = [make_words(rng) for _ in range(3)]
    if at % 4 == 1:
        choices = ["A", "B", "C"]
    elif at % 4 == 2:
        choices = [f"the kettle said {choice}" for choice in choices]
    elif at % 4 == 3:
        choices = [f"the tap{more}" for more in (f" {choices[0]}.", f" {choices[1]}, {at}", "")]
        rng.shuffle(choices)
    query = f"{make_words(rng)} {at}?" + rng.choice(["", " ", "\n"])
    return {"query": query, "choices": choices, "gold": rng.randrange(3)}


def make_schema(rng: random.Random, at: int) -> dict[str, object]:
    """Two contexts, one continuation."""
    before = f"{make_words(rng)} {at}, because"
    contexts = [f"{before} {name}" for name in rng.sample(NAMES, 2)]
    return {
        "context_options": contexts,
        "continuation": f"{make_words(rng)}.",
        "gold": rng.randrange(2),
    }


def make_continuation(rng: random.Random, at: int) -> dict[str, object]:
    """A text and how it goes on."""
    context = rng.choice(["", " "]) + f"{make_words(rng)} {at}:" + rng.choice(["", " ", " \n"])
    return {"context": context, "continuation": make_words(rng, 1, 2) + rng.choice(["", " "])}


MAKERS = {
    "multiple_choice": make_choice,
    "schema": make_schema,
    "language_modeling": make_continuation,
}


def make_rows(kind: str, count: int, seed: int = 0) -> list[dict[str, object]]:
    """So many rows of a kind, as llm-foundry calls it."""
    rng = random.Random(f"{kind} {seed}")
    return [MAKERS[kind](rng, at) for at in range(count)]


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    """The file, one row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
