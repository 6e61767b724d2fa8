"""`last-word` on files in LAMBADA's layouts: planned by --dry-run, and measured as it said."""

from __future__ import annotations

import json

import pytest
from support.run_helpers import llmbench, run_json

from llmbench.plan.dry_run import estimate
from llmbench.plan.plan import Options, plan

ENDS = ("signs", "signs.", "the end .", '"signs"', "stones\n")
TEXTS = [f"he did not care about the\n{word}" for word in ENDS]
SUITE = """
name: lambada
version: 1
texts:
  plain: {source: lambada_test.jsonl}
  domains: {source: domains.jsonl}
tasks:
  - {task: last-word, name: plain, text: plain}
  - {task: last-word, name: domains, text: domains}
models: ["says.py:Says"]
"""
SAYS = '''
import numpy as np

from llmbench.adapter import Adapter, Chunk, ModelInfo
from llmbench.ledger import TOKEN, Ledger


class Says(Adapter):
    """Says "signs" after everything, and charges half a bit a byte."""

    needs_torch, learns_from_text = False, False

    @property
    def info(self):
        return ModelInfo("says", "", "bytes", None, None, None, "cpu", "says")

    def generate(self, requests):
        for row, request in enumerate(requests):
            yield Chunk(row, " signs, he said"[: request.max_bytes], 1, "stop")

    def score(self, passages, window=None):
        for passage in passages:
            n = len(passage.text.encode())
            at, kind = np.arange(n), np.full(n, TOKEN, dtype=np.uint8)
            yield Ledger(at, at + 1, np.full(n, 0.5), kind, n, passage.id)
'''
LAYOUTS = {
    "lambada_test.jsonl": [{"text": text} for text in TEXTS],
    "domains.jsonl": [
        {"text": text, "domain": domain, "category": {"pos": "N", "index": number}, "words": [1]}
        for number, (text, domain) in enumerate(
            zip(TEXTS, (None, "Adventure", None, "Romance", ""), strict=True)
        )
    ],
}


def test_both_layouts_are_planned_and_give_the_values_by_hand(tmp_path, monkeypatch):
    for name, rows in LAYOUTS.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    (tmp_path / "lambada.yaml").write_text(SUITE)
    (tmp_path / "says.py").write_text(SAYS)
    monkeypatch.chdir(tmp_path)
    *rows, _ = estimate(plan("lambada.yaml", Options(out=tmp_path / "planned")))
    assert [row[:3] for row in rows] == [("Says", name, "to run") for name in ("plain", "domains")]
    done = llmbench("run", "lambada.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = run_json(tmp_path / "out")
    assert record["failures"] == []
    scores = {(score["task"], score["metric"]): score["value"] for score in record["scores"]}
    assert len(scores) == 4
    for name in ("plain", "domains"):
        # right: signs, signs. and "signs"; the third's last word is a full stop
        assert scores[name, "accuracy"] == 3 / 5
        # the white space before a word is a part of it: 6, 7, 2, 8 and 7 bytes
        bits = 0.5 * (6 + 7 + 2 + 8 + 7) / 5
        assert scores[name, "word_perplexity"] == pytest.approx(2**bits)
        file = tmp_path / "out" / "samples" / "Says" / f"{name}.jsonl"
        samples = [json.loads(line) for line in file.read_text().splitlines()]
        words = [sample["reference"] for sample in samples]
        assert words == ["\nsigns", "\nsigns.", " .", '\n"signs"', "\nstones"]
        assert samples[2]["input"] == "he did not care about the\nthe end"
