"""Runs of a text of which some models cannot hold some documents, as the suite odd.yaml in the
current folder.
"""

from __future__ import annotations

import json

import llmbench
from support import honest_tokenizers

ODD = {7: "the\x04 tap", 11: "the cafe\u0301 tap", 19: "the \u2581 tap"}  # gaps, nfc, gemma
SUITE = """\
name: odd
version: 1
texts:
  test: {source: test.jsonl}
tasks:
  - {task: likelihood, text: test, lossy: leave-out}
"""
Adapter = honest_tokenizers.adapter


def prepare(place):
    """Write the suite and a text of 60 documents into a folder; return it."""
    write_text(place / "test.jsonl", range(60))
    (place / "odd.yaml").write_text(SUITE)
    return place


def write_text(path, numbers, odd=ODD):
    texts = {i: odd.get(i, f"the tap and the {i} spoons") for i in numbers}
    rows = [json.dumps({"id": f"d{i}", "text": text}) + "\n" for i, text in texts.items()]
    path.write_text("".join(rows))


def run(names, **options):
    return llmbench.run("odd.yaml", {name: Adapter(name) for name in names}, **options)


def bits(run):
    """Model -> bits per byte of a run."""
    found = {s.model: s for s in run.record.scores if s.metric == "bits_per_byte"}
    return {name: (score.value, score.low, score.high) for name, score in found.items()}


def left_out(run):
    return list(run.record.notes.left_out["likelihood"].documents)
